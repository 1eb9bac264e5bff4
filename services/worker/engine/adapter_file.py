"""Reads a LoRA file: safetensors alone, bounded, finite, its keys brought to one naming, each LoRA layer by its module.

Namings: `diffusers` (`unet.….lora.down.weight`, the older `….processor.to_q_lora.down.weight`), `peft`
(`unet.….lora_A.weight`, `base_model.model.….lora_A.weight`) and `kohya` (`lora_unet_…lora_down.weight` with `.alpha`).
What no layer of the base model takes is counted, never loaded. A file may carry the settings that peft trained it with
(`lora_adapter_metadata`): they decide the scales then, rank-stabilised ones included, as in the stock loader.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

from services.worker.engine.adapter_names import PartModules, located
from services.worker.engine.failures import AdapterIncompatible, AdapterMissing
from services.worker.engine.lora_layers import RANK_BUCKETS

_MAX_HEADER_BYTES: Final = 1 << 20
_MAX_TENSORS: Final = 5_000
_MAX_PATTERNS: Final = 1_000
#: What peft writes for modules; as a regular expression it cannot run away.
_PATTERN: Final = re.compile(r"\^?(?:[A-Za-z0-9_-]|\\?\.){1,300}")
_MAX_RANK: Final = RANK_BUCKETS[-1]
_METADATA_KEY: Final = "lora_adapter_metadata"
_DTYPES: Final = frozenset({torch.float16, torch.bfloat16, torch.float32})
_UNSUPPORTED: Final = ("dora_scale", "lora_magnitude_vector", "hada_", "lokr_", "lora_mid", "oft_", "lora_B.bias")


@dataclass(frozen=True, slots=True)
class LoraLayer:
    """One layer's pair of matrices: down (rank, …inputs), up (outputs, rank, …), in the file's dtype."""

    down: Tensor
    up: Tensor
    scale: float
    """What the product of the two is multiplied by: alpha / rank, or 1 where the file tells no alpha."""

    @property
    def rank(self) -> int:
        """The inner dimension."""
        return int(self.down.shape[0])


@dataclass(frozen=True, slots=True)
class LoraLayers:
    """A LoRA file against one base model: by part of the model, its layers by module name."""

    parts: Mapping[str, Mapping[str, LoraLayer]]
    matched_keys: int = 0
    ignored_keys: int = 0


_NUMPY_DTYPES: Final[dict[torch.dtype, np.dtype[Any]]] = {
    torch.float32: np.dtype(np.float32),
    torch.float16: np.dtype(np.float16),
}
#: Tensors by the names of a file to tensors by the names of diffusers or PEFT.
Rename = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def read_layers(path: Path, names: Mapping[str, PartModules], rename: Rename | None = None) -> LoraLayers:
    """Read a file and match it with the modules of the base model's parts, of which the denoiser is the first.

    `rename` brings namings that are the family's own to those above.

    Raises:
        AdapterMissing: if there is no such file.
        AdapterIncompatible: if it is not a sound safetensors file, or holds nothing that the base model takes.
    """
    tensors, settings = _read(path, tuple(names))
    unsupported = next((key for key in tensors if any(word in key for word in _UNSUPPORTED)), None)
    if unsupported:
        raise AdapterIncompatible(f"The LoRA is of a kind that is not supported (its tensor '{unsupported[:100]}').")
    tensors = _renamed(tensors, rename)
    halves: dict[tuple[str, str], dict[str, Tensor]] = {}
    alphas: dict[tuple[str, str], float] = {}
    used: dict[tuple[str, str], int] = {}
    for key, tensor in tensors.items():
        found = located(key, names)
        if found is None:
            continue
        part, module, half = found
        used[part, module] = used.get((part, module), 0) + 1
        if half == "alpha":
            alphas[part, module] = _alpha(key, tensor)
        else:
            halves.setdefault((part, module), {})[half] = tensor
    layers: dict[str, dict[str, LoraLayer]] = {part: {} for part in names}
    matched = 0
    for (part, module), pair in halves.items():
        down, up = _matrices(names[part].modules[module], module, pair)
        alpha = alphas.get((part, module))
        if part in settings:
            scale = settings[part].scale(module, down.shape[0])
        else:
            scale = 1.0 if alpha is None else alpha / down.shape[0]
        layers[part][module] = LoraLayer(down, up, scale)
        matched += used[part, module]
    if not matched:
        raise AdapterIncompatible("None of the LoRA's tensors fits the base model.")
    return LoraLayers(layers, matched, len(tensors) - matched)


def _renamed(tensors: dict[str, Tensor], rename: Rename | None) -> dict[str, Tensor]:
    if rename is None:
        return tensors
    try:
        return rename(tensors)
    except Exception as problem:
        raise AdapterIncompatible(f"The names of the LoRA's tensors are not understood: {problem}.") from problem


@dataclass(frozen=True, slots=True)
class _Settings:
    """What peft trained one part with."""

    alpha: float
    alphas: Sequence[tuple[re.Pattern[str], float]]
    is_rank_stabilized: bool

    def scale(self, module: str, rank: int) -> float:
        # Source: peft's get_pattern_key; the rank-stabilised scale is Kalajdzievski 2023 (arXiv 2312.03732).
        found = (alpha for pattern, alpha in self.alphas if pattern.match(module))
        alpha = next(found, self.alpha)
        return alpha / (math.sqrt(rank) if self.is_rank_stabilized else rank)


def _alpha(key: str, number: Tensor | float) -> float:
    try:
        alpha = float(number)
    except (RuntimeError, ValueError):  # a tensor of none, or of several
        alpha = math.nan
    if not math.isfinite(alpha):
        raise AdapterIncompatible(f"The LoRA's '{key[:100]}' is not one finite number.")
    return alpha


def _compiled(alphas: Mapping[str, float]) -> list[tuple[re.Pattern[str], float]]:
    """The alphas by module name, ready to be looked up once for each of hundreds of modules."""
    if len(alphas) > _MAX_PATTERNS or not all(_PATTERN.fullmatch(str(name)) for name in alphas):
        raise ValueError(f"its alpha_pattern is not at most {_MAX_PATTERNS} module names")
    return [(re.compile(rf"(.*\.)?({name})$"), _alpha(name, alpha)) for name, alpha in alphas.items()]


def _settings(content: bytes, header_bytes: int, parts: Sequence[str]) -> dict[str, _Settings]:
    written = json.loads(content[8 : 8 + header_bytes]).get("__metadata__", {}).get(_METADATA_KEY)
    if written is None:
        return {}
    flat = json.loads(written)
    found: dict[str, _Settings] = {}
    for part in parts:
        of_part = {key.removeprefix(f"{part}."): value for key, value in flat.items() if key.startswith(f"{part}.")}
        if of_part.get("use_dora"):
            raise ValueError("it is a DoRA, which is not supported")
        if "lora_alpha" in of_part:
            patterns = _compiled(of_part.get("alpha_pattern") or {})
            stabilized = bool(of_part.get("use_rslora"))
            found[part] = _Settings(_alpha("lora_alpha", of_part["lora_alpha"]), patterns, stabilized)
    return found


def _read(path: Path, parts: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, _Settings]]:
    try:
        # Read whole, not mapped: a mapped file that shrinks kills the process, and pages in on the step loop.
        content = _content(path)
        header_bytes = int.from_bytes(content[:8], "little")
        if not 2 <= header_bytes <= _MAX_HEADER_BYTES:
            raise ValueError("its header is not of 2 bytes to 1 MiB")  # noqa: TRY301 - told as the parser's errors are
        tensors = load(content)
        settings = _settings(content, header_bytes, parts)
    except (AdapterMissing, AdapterIncompatible):
        raise
    except Exception as problem:
        raise AdapterIncompatible(f"The LoRA's file is not a sound safetensors file: {problem}.") from problem
    if len(tensors) > _MAX_TENSORS:
        raise AdapterIncompatible(f"The LoRA has {len(tensors)} tensors; at most {_MAX_TENSORS} are taken.")
    if _is_finite(content, 8 + header_bytes, tensors):
        return tensors, settings
    for key, tensor in tensors.items():
        if not key.endswith("alpha") and (tensor.dtype not in _DTYPES or not bool(torch.isfinite(tensor).all())):
            raise AdapterIncompatible(f"The LoRA's tensor '{key[:100]}' is not of finite 16- or 32-bit floats.")
    return tensors, settings


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as problem:
        raise AdapterMissing from problem


def _is_finite(content: bytes, start: int, tensors: Mapping[str, Tensor]) -> bool:
    """Whether all numbers of a file are finite floats, looked at in one go; where in doubt, they are not."""
    dtypes = {tensor.dtype for tensor in tensors.values()}
    kind = _NUMPY_DTYPES.get(next(iter(dtypes))) if len(dtypes) == 1 else None
    if kind is None or (len(content) - start) % kind.itemsize:
        return False
    return bool(np.isfinite(np.frombuffer(content, kind, offset=start)).all())


def _matrices(base: nn.Module, module: str, pair: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    if set(pair) != {"down", "up"}:
        raise AdapterIncompatible(f"The LoRA has only one of the two matrices of '{module[:100]}'.")
    down, up = _as_dimensions_of(base, pair["down"]), _as_dimensions_of(base, pair["up"])
    rank = down.shape[0] if down.ndim else 0
    if isinstance(base, nn.Conv2d):
        inputs: tuple[int, ...] = (base.in_channels // base.groups, *base.kernel_size)
        outputs: tuple[int, ...] = (base.out_channels, rank, 1, 1)
    else:
        inputs, outputs = (int(base.in_features),), (int(base.out_features), rank)  # type: ignore[arg-type]
    if tuple(down.shape[1:]) != inputs or tuple(up.shape) != outputs:
        raise AdapterIncompatible(
            f"The LoRA's matrices of '{module[:100]}' are {tuple(down.shape)} and {tuple(up.shape)}; the base model's "
            f"layer takes {(rank, *inputs)} and {outputs}."
        )
    if not 1 <= rank <= _MAX_RANK:
        raise AdapterIncompatible(f"The LoRA's rank at '{module[:100]}' is {rank}; it may be 1 to {_MAX_RANK}.")
    return down, up


def _as_dimensions_of(base: nn.Module, matrix: Tensor) -> Tensor:
    """Trainers write 1x1 convolutions as matrices and the other way round; both mean the same numbers."""
    if isinstance(base, nn.Linear) and matrix.ndim == 4 and matrix.shape[2:] == (1, 1):
        return matrix[:, :, 0, 0]
    if isinstance(base, nn.Conv2d) and matrix.ndim == 2:
        return matrix[:, :, None, None]
    return matrix
