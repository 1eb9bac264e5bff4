"""Upscaler files of other architectures, read by `spandrel` where the extra `upscalers` is installed.

How far such a network reaches is not known: a tile's halo is wide enough that no seam is seen, not that none is there.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from services.worker.engine.failures import BaseModelBroken

_HALO_PX = 32
_RGB_CHANNELS = 3


class ForeignUpscaler(nn.Module):
    """Any network that makes a picture larger by a whole factor.

    (batch, 3, height, width) float32 in 0..1 to (batch, 3, height * factor, width * factor).
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.network: nn.Module = descriptor.model
        self.factor = int(descriptor.scale)
        self.reach_px = _HALO_PX

    def forward(self, picture: Tensor) -> Tensor:
        """Enlarge once; the descriptor pads to the sizes that its network takes."""
        enlarged: Tensor = self._descriptor(picture)
        return enlarged


def load_foreign(path: Path, device: torch.device) -> ForeignUpscaler:
    """Read a file of whatever architecture it is.

    Raises:
        BaseModelBroken: if the extra is not installed, or the file is no upscaler that it knows.
    """
    try:
        spandrel = importlib.import_module("spandrel")
    except ImportError as problem:
        raise BaseModelBroken(
            f"The upscaler '{path.name}' is not of the compact architecture; others need the extra 'upscalers'."
        ) from problem
    try:
        descriptor = spandrel.ModelLoader(device=device).load_from_file(path)
    except Exception as problem:
        raise BaseModelBroken(f"The upscaler '{path.name}' does not load: {problem}.") from problem
    is_upscaler = isinstance(descriptor, spandrel.ImageModelDescriptor) and descriptor.scale > 1
    if not is_upscaler or descriptor.input_channels != _RGB_CHANNELS:
        raise BaseModelBroken(f"The file '{path.name}' holds no network that enlarges colour pictures.")
    upscaler = ForeignUpscaler(descriptor)
    upscaler.network.float().eval().requires_grad_(False).to(device)
    return upscaler
