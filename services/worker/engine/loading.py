"""Loads a base model's parts from its directory, in the numbers of the device."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from services.worker.engine import memory
from services.worker.engine.base import BaseModelFiles
from services.worker.engine.device_health import is_device_fault
from services.worker.engine.failures import BaseModelBroken, OutOfMemory
from services.worker.engine.families.port import Family

_VARIANT: Final = re.compile(r"\.(fp16|bf16|non_ema|ema_only)(?=[.-])")


def dtype_of(device: torch.device) -> torch.dtype:
    """What a device draws with: GPUs have bfloat16 at full speed, and CPUs have not."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def load_pipeline(base: BaseModelFiles, family: Family, device: torch.device) -> Any:
    """The stock pipeline with all its parts on the device.

    Raises:
        BaseModelBroken: if the directory does not load.
        OutOfMemory: if the device does not hold it beside the others.
    """
    try:
        # Notes on outdated configurations are for those who publish a model, not for those who serve it.
        with warnings.catch_warnings(action="ignore"):
            return _prepared(_pipeline_of(base, family, device), family, device)
    except Exception as problem:
        if memory.is_out_of_memory(problem):
            raise OutOfMemory(f"The device's memory does not hold the base model '{base.slug}'.") from problem
        if is_device_fault(problem):
            raise
        raise BaseModelBroken(f"The base model '{base.slug}' does not load: {problem}.") from problem


def _pipeline_of(base: BaseModelFiles, family: Family, device: torch.device) -> Any:
    index = json.loads((base.directory / "model_index.json").read_text(encoding="utf-8"))
    # A part that the directory says it is without, like a text encoder too large, must be said again.
    without = {name: None for name, part in index.items() if part == [None, None]}
    return family.pipeline_class.from_pretrained(
        base.directory,
        local_files_only=True,
        use_safetensors=True,
        dtype=dtype_of(device),
        variant=_variant_of(base.directory),
        **without | dict(family.pipeline_arguments),
    )


def _variant_of(directory: Path) -> str | None:
    """The precision that a part's files are named by, where the part has no others."""
    found: dict[Path, set[str]] = {}
    for path in directory.glob("*/*.safetensors"):
        match = _VARIANT.search(path.name)
        found.setdefault(path.parent, set()).add(match[1] if match else "")
    return next((min(variants) for _, variants in sorted(found.items()) if "" not in variants), None)


def _prepared(pipeline: Any, family: Family, device: torch.device) -> Any:
    for name in family.float32_parts:
        part = getattr(pipeline, name)
        if part.config.force_upcast:
            part.to(torch.float32)
    pipeline.to(device)
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            part.eval().requires_grad_(False)
    return pipeline
