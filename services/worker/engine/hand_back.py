"""A run's state as bytes: what a worker that ends leaves of a run, so that another goes on with it, not from its start.

Its latents, the prediction that its scheduler remembers, its random generator and its step; all else follows from the
request. The bytes are a safetensors file, and nothing in them is executed. A run that steps by a scheduler object of
its own is not packed: it is drawn anew.
"""

from __future__ import annotations

import logging
from typing import Final

import torch
from safetensors.torch import load, save
from torch import Tensor

from services.worker.engine.run import Run

log = logging.getLogger(__name__)

_NAMES: Final = ("latents", "predicted", "generator", "steps")


def packed(run: Run) -> bytes | None:
    """The state of a run between two steps; None where there is nothing to save."""
    if run.table is None or run.step == 0:
        return None
    predicted = torch.zeros_like(run.latents) if run.predicted is None else run.predicted
    tensors = {
        "latents": run.latents.contiguous().cpu(),
        "predicted": predicted.contiguous().cpu(),
        "generator": run.generator.get_state(),
        "steps": torch.tensor([run.step, run.steps]),
    }
    return save(tensors)


def restore(run: Run, state: bytes) -> bool:
    """Bring a run that has not begun to where another worker left it; False, and no change, where it does not fit."""
    try:
        tensors = load(state)
        latents, predicted, generator, steps = (tensors[name] for name in _NAMES)
        step, count = steps.tolist()
    except Exception:
        log.warning("what was left of a run cannot be read; it is drawn anew", exc_info=True)
        return False
    fits = latents.shape == predicted.shape == run.latents.shape and count == run.steps and 0 < step < count
    if not fits or not _is_finite(latents) or not _is_finite(predicted) or run.table is None:
        log.warning("what was left of a run does not fit it; it is drawn anew")
        return False
    try:
        run.generator.set_state(generator)
    except Exception:
        log.warning("the random numbers that were left of a run are not its own; it is drawn anew", exc_info=True)
        return False
    run.latents = latents.to(run.latents)
    # Some schedulers remember it in float32, whatever the latents are in.
    run.predicted = predicted.to(run.latents.device)
    run.step = step
    return True


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
