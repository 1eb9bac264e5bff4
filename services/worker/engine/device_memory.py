"""How much memory the device has and how much of it this process uses; cheap enough to read with every beat."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes of one device's memory, as this process sees it."""

    allocated_bytes: int
    """In use by tensors; on the CPU all that the process keeps in memory."""
    reserved_bytes: int
    """Taken from the device, the allocator's free blocks included."""
    total_bytes: int
    """What the device has; 0: not known yet."""


def read_device_memory() -> DeviceMemory:
    """Read the current CUDA device once something is on it, else the host. Starts no CUDA context. From any thread."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # untyped in torch
        total_bytes = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        return DeviceMemory(torch.cuda.memory_allocated(), torch.cuda.memory_reserved(), total_bytes)
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    resident_bytes = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * page_bytes
    return DeviceMemory(resident_bytes, resident_bytes, os.sysconf("SC_PHYS_PAGES") * page_bytes)
