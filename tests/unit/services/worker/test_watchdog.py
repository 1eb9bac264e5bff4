from __future__ import annotations

import asyncio
import threading

import pytest

from services.worker.engine.device_thread import DeviceThread
from services.worker.watchdog import watch
from tests.support.deadlines import SURELY_S


class Device:
    """A device thread as an engine shows it."""

    def __init__(self):
        self.thread = DeviceThread(lambda: None)
        self.is_broken = False

    @property
    def busy_s(self):
        return self.thread.busy_s


@pytest.fixture
async def device():
    device = Device()
    yield device
    await device.thread.close()


async def test_a_device_that_hangs_ends_the_watch(device):
    hung, release = asyncio.Event(), threading.Event()
    working = asyncio.create_task(device.thread.run(lambda: release.wait(30)))
    await asyncio.wait_for(watch(device, 0.05, on_hang=hung.set, on_broken=pytest.fail, look_s=0.01), SURELY_S)
    assert hung.is_set()
    release.set()
    await working
    assert device.busy_s == 0


async def test_much_work_that_goes_on_is_no_hang(device):
    hung = asyncio.Event()
    watching = asyncio.create_task(watch(device, 5.0, on_hang=hung.set, on_broken=pytest.fail, look_s=0.001))
    for _ in range(200):
        await device.thread.run(lambda: None)
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert not hung.is_set()


async def test_a_broken_device_is_seen_at_once(device):
    broken = asyncio.Event()
    watching = asyncio.create_task(watch(device, 5.0, on_hang=pytest.fail, on_broken=broken.set, look_s=0.001))
    device.is_broken = True
    await asyncio.wait_for(broken.wait(), SURELY_S)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
