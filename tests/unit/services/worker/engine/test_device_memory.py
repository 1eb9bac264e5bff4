"""Device memory is read without a device being started."""

import torch

from services.worker.engine.device_memory import read_device_memory


def test_without_a_started_device_it_is_the_hosts_and_grows_with_what_is_kept():
    before = read_device_memory()
    kept = bytearray(64 << 20)
    kept[::4096] = b"1" * len(kept[::4096])
    after = read_device_memory()
    assert after.allocated_bytes - before.allocated_bytes > 32 << 20
    assert after.allocated_bytes < after.total_bytes
    assert not torch.cuda.is_initialized()
