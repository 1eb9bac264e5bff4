"""Whether the device still computes: a fault that outlives the operation which met it, and who must know of it.

After such a fault nothing that the process computes can be trusted and no memory comes back; a new process is the cure.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Final

import torch

from services.worker.engine.failures import DeviceBroken
from services.worker.engine.memory import is_out_of_memory

log = logging.getLogger(__name__)

#: What libraries on the device say that have no exception class of their own.
_FAULTS: Final = re.compile(
    r"CUDA error|CUDA driver error|NCCL error|device-side assert"
    r"|(?:CUDNN|CUBLAS|CUSOLVER|CUSPARSE|CUFFT)_(?:STATUS_)?"
    r"(?:EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR|NOT_INITIALIZED|EXEC_FAILED)"
)


def is_device_fault(problem: BaseException) -> bool:
    """Whether the device itself failed, not only this operation."""
    if is_out_of_memory(problem):
        return False
    if isinstance(problem, torch.AcceleratorError):
        return True
    return isinstance(problem, RuntimeError) and _FAULTS.search(str(problem)) is not None


class DeviceHealth:
    """The first fault stays. From any thread."""

    def __init__(self) -> None:
        self.fault = ""

    def note(self, problem: BaseException) -> None:
        """Take the device for broken from now on."""
        if not self.fault:
            self.fault = f"{type(problem).__name__}: {problem}"
            log.critical("the device is broken", exc_info=problem)

    def check(self) -> None:
        """Let nothing begin on a broken device.

        Raises:
            DeviceBroken: if it is.
        """
        if self.fault:
            raise DeviceBroken

    @contextlib.contextmanager
    def guarding(self) -> Iterator[None]:
        """Watch over work on the device.

        Raises:
            DeviceBroken: if it was broken before, or the work met a fault of it.
        """
        self.check()
        try:
            yield
        except Exception as problem:
            if not is_device_fault(problem):
                raise
            self.note(problem)
            raise DeviceBroken(is_suspect=True) from problem
