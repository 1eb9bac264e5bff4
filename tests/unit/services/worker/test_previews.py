"""Who asks sees a running run, at most twice a second, one picture in the making, and never after it was drawn."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import Future

import numpy as np
import pytest
from imagineo.broker import subjects
from imagineo.broker.memory import MemoryBroker
from imagineo.v1 import event_pb2
from PIL import Image

from services.worker import previews
from services.worker.engine.base import Progress, Sketch
from services.worker.engine.failures import NotFinite
from services.worker.previews import Previews
from tests.support.deadlines import SURELY_S

SKETCH = Sketch(2, 1, bytes(6))


class Bench:
    """Previews on a clock of its own, and a run whose sketches are made when the test says so."""

    def __init__(self):
        self.now_s = 100.0
        self.broker = MemoryBroker()
        self.previews = Previews(self.broker, lambda: self.now_s)
        self.making = []
        self.sent = asyncio.Queue()

    async def hear(self, _subject, body):
        self.sent.put_nowait(event_pb2.Preview.FromString(body))

    async def ask(self, run_id="gen_1"):
        await self.previews.on_ask(subjects.preview_ask(run_id), b"")

    def step(self, show, step=1):
        def sketch():
            self.making.append(Future())
            return self.making[-1]

        show(Progress(step, 20, 1.0, sketch))
        return len(self.making)

    async def made(self):
        """Make the picture at hand, and see it sent."""
        self.making[-1].set_result(SKETCH)
        sent = await asyncio.wait_for(self.sent.get(), SURELY_S)
        await asyncio.sleep(0)
        return sent


@pytest.fixture
async def bench():
    bench = Bench()
    subscription = await bench.broker.subscribe(subjects.preview("gen_1"), bench.hear)
    yield bench
    await subscription.close()


async def test_a_run_is_shown_to_who_asks(bench):
    with bench.previews.of("gen_1", 2) as show:
        assert bench.step(show) == 0
        await bench.ask("gen_other")
        assert bench.step(show) == 0
        await bench.ask()
        assert bench.step(show, 7) == 1
        sent = await bench.made()
    assert (sent.run_id, sent.attempt, sent.step, sent.steps) == ("gen_1", 2, 7, 20)
    with Image.open(io.BytesIO(sent.webp)) as image:
        assert (image.format, image.size) == ("WEBP", (2, 1))
    await bench.ask()  # it is drawn: nobody minds


async def test_a_wish_lapses_unless_it_is_repeated(bench):
    with bench.previews.of("gen_1", 1) as show:
        await bench.ask()
        bench.now_s += previews.WISH_S - 0.1
        assert bench.step(show) == 1
        await bench.made()
        bench.now_s += previews.INTERVAL_S
        assert bench.step(show) == 1
        await bench.ask()
        assert bench.step(show) == 2


async def test_pictures_come_at_intervals_and_one_at_a_time(bench):
    with bench.previews.of("gen_1", 1) as show:
        await bench.ask()
        assert bench.step(show) == 1
        bench.now_s += previews.INTERVAL_S
        assert bench.step(show) == 1  # the one before is not made yet
        await bench.made()
        assert bench.step(show) == 2
        await bench.made()
        bench.now_s += previews.INTERVAL_S * 0.9
        assert bench.step(show) == 2
        bench.now_s += previews.INTERVAL_S * 0.1
        assert bench.step(show) == 3


async def test_what_is_not_made_when_the_run_is_drawn_is_dropped(bench):
    with bench.previews.of("gen_1", 1) as show:
        await bench.ask()
        bench.step(show)
    assert bench.making[0].cancelled()
    assert bench.sent.empty()


async def test_a_picture_that_cannot_be_made_costs_only_itself(bench):
    with bench.previews.of("gen_1", 1) as show:
        await bench.ask()
        bench.step(show)
        failed = show._sending
        while failed is None:
            await asyncio.sleep(0)
            failed = show._sending
        bench.making[0].set_exception(NotFinite())
        await asyncio.wait_for(failed, SURELY_S)
        bench.now_s += previews.INTERVAL_S
        assert bench.step(show, 2) == 2
        assert (await bench.made()).step == 2


async def test_a_step_without_a_sketch_shows_nothing(bench):
    with bench.previews.of("gen_1", 1) as show:
        await bench.ask()
        show(Progress(1, 20, 1.0))
    assert bench.sent.empty()


def test_a_picture_is_small_whatever_it_shows():
    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    content = previews.encode(Sketch(256, 256, noise.tobytes()))
    assert 0 < len(content) <= previews.MOST_BYTES
