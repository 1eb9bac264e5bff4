from __future__ import annotations

import pytest
import torch

from services.worker.engine.device_health import DeviceHealth, is_device_fault
from services.worker.engine.failures import DeviceBroken
from services.worker.engine.memory import is_out_of_memory

FAULTS = [
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasSgemm( handle)`"),
    RuntimeError("cuFFT error: CUFFT_EXEC_FAILED"),
]
FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]
OTHERS = [
    RuntimeError("The size of tensor a (4) must match the size of tensor b (5)"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear"),
    ValueError("CUDA error"),
]


@pytest.mark.parametrize("problem", [*FAULTS, *FULL, *OTHERS], ids=str)
def test_a_fault_of_the_device_a_full_memory_and_a_bug_are_told_apart(problem):
    assert is_device_fault(problem) == (problem in FAULTS)
    assert is_out_of_memory(problem) == (problem in FULL)


def test_the_first_fault_stays_and_nothing_begins_after_it():
    health = DeviceHealth()
    health.check()
    with pytest.raises(DeviceBroken) as met, health.guarding():
        raise FAULTS[0]
    assert met.value.is_suspect
    health.note(FAULTS[1])
    assert "assert" in health.fault
    with pytest.raises(DeviceBroken) as later, health.guarding():
        pytest.fail("the device is broken")
    assert not later.value.is_suspect


def test_what_is_no_fault_of_the_device_passes_and_leaves_it_whole():
    health = DeviceHealth()
    for problem in [*FULL, *OTHERS, DeviceBroken()]:
        with pytest.raises(type(problem)), health.guarding():
            raise problem
    health.check()
