"""Knows when the device's memory is full, and gives back what can be given."""

from __future__ import annotations

import gc

import torch


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an operation failed for lack of memory."""
    if isinstance(problem, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU's allocator has no exception class of its own.
    text = str(problem)
    return isinstance(problem, RuntimeError) and ("allocate memory" in text or "Storage size calculation" in text)


def free(device: torch.device) -> None:
    """Collect what nobody holds."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
