"""Holds a LoRA's tensors against the modules of its base model, by name and by shape, as the worker will. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from imagineo.lora_names import Half, Key

from services.catalog.base_modules import BaseModules
from services.catalog.lora_family import Seen, family_of, uses_original_blocks
from services.catalog.lora_keys import key_of, misfit, target_of
from services.catalog.safetensors_header import ELEMENT_BYTES, Tensor

#: The engine's largest bucket.
RANK_MAX: Final = 256

Module = tuple[str, str]
"""Part, and name as the base model has it."""


@dataclass(frozen=True, slots=True)
class Match:
    """What of a file reaches the base model."""

    family: str
    """What the file seems to be made for; empty where nothing tells."""
    ranks: tuple[int, ...]
    target_modules: tuple[str, ...]
    matched_keys: int
    ignored_keys: int
    alphas: tuple[Tensor, ...]
    """The tensors that hold the alphas of the modules."""


def match(tensors: Sequence[Tensor], base: BaseModules) -> Match:
    """Match a file's tensors.

    Raises:
        LoraIncompatible: if nothing of it, or of its part for the denoiser, fits the base model; if a module's matrices
            are not a pair of the module's sizes; if a rank is too large; if it is no plain LoRA.
    """
    keyed = [(key, tensor) for tensor in tensors if (key := key_of(tensor.name)) is not None]
    family = family_of(seen := _seen(keyed))
    modules: dict[Module, dict[Half, Tensor]] = {}
    found_denoiser = False
    for key, tensor in keyed:
        name = _find(base, key)
        if name is None:
            continue
        found_denoiser = found_denoiser or key.part == "denoiser"
        halves = modules.setdefault((key.part, name), {})
        if key.half in halves:
            raise misfit(f"the module '{name}' has two '{key.half}' tensors")
        halves[key.half] = tensor
    modules = {place: halves for place, halves in modules.items() if halves.keys() != {"alpha"}}
    if not modules or (not found_denoiser and any(part == "denoiser" for part, _, _ in seen)):
        raise misfit(_no_match(tensors, seen, family, base))
    ranks = {_rank(base, place, halves, family) for place, halves in modules.items()}
    matched_keys = sum(len(halves) for halves in modules.values())
    return Match(
        family=family,
        ranks=tuple(sorted(ranks)),
        target_modules=tuple(sorted({target_of(name) for _, name in modules})),
        matched_keys=matched_keys,
        ignored_keys=len(tensors) - matched_keys,
        alphas=tuple(halves["alpha"] for halves in modules.values() if "alpha" in halves),
    )


def _seen(keyed: Sequence[tuple[Key, Tensor]]) -> list[Seen]:
    return [
        (key.part, key.flat, tensor.shape[1])
        for key, tensor in keyed
        if key.half == "down" and len(tensor.shape) in {2, 4}
    ]


def _find(base: BaseModules, key: Key) -> str | None:
    part = base[key.part]
    return part.find_spelled(key.module)


def _no_match(tensors: Sequence[Tensor], seen: Sequence[Seen], family: str, base: BaseModules) -> str:
    if not seen:
        return "it holds no LoRA matrices"
    parts = Counter(part for part, _, _ in seen)
    what = f"none of its {len(tensors)} tensors" if len(parts) == 1 else "nothing of its part for the denoiser"
    why = f"{what} fits the base model '{base.name}'"
    if uses_original_blocks(seen):
        why += ", as it names the blocks of an original checkpoint; convert it to the names of diffusers"
    return f"{why}; it seems to be made for {family}" if family else why


def _rank(base: BaseModules, place: Module, halves: dict[Half, Tensor], family: str) -> int:
    part, name = place
    if not {"down", "up"} <= halves.keys():
        raise misfit(f"the module '{name}' lacks one of its two matrices")
    weight = base[part].shapes[name]
    down, up = (_as_dimensions_of(weight, halves[half].shape) for half in ("down", "up"))
    rank = down[0]
    outputs = (weight[0], rank) if len(weight) == 2 else (weight[0], rank, 1, 1)
    if down[1:] != weight[1:] or up != outputs:
        hint = f"; it seems to be made for {family}" if family else ""
        raise misfit(
            f"its matrices of '{name}' are {list(down)} and {list(up)}, but the layer of '{base.name}' takes "
            f"{[rank, *weight[1:]]} and {list(outputs)}{hint}"
        )
    if rank > RANK_MAX:
        raise misfit(f"the rank {rank} of '{name}' is beyond {RANK_MAX}")
    alpha = halves.get("alpha")
    if alpha is not None and alpha.end - alpha.begin != ELEMENT_BYTES[alpha.dtype]:
        raise misfit(f"'{alpha.name}' is not one number")
    return rank


def _as_dimensions_of(weight: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Trainers write 1x1 convolutions as matrices and the other way round; both mean the same numbers."""
    if len(weight) == 2 and len(shape) == 4 and shape[2:] == (1, 1):
        return shape[:2]
    if len(weight) == 4 and len(shape) == 2:
        return (*shape, 1, 1)
    return shape
