"""Schedules of runs: who joins when, beside whom, and what becomes of each; drawn by Hypothesis, held to the oracle."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from services.worker.engine.base import AdapterUse, DrawRequest, DrawResult, DrawStopped, StopReason, StopSignal
from services.worker.engine.failures import AdapterIncompatible, AdapterMissing, DrawFailed, NotFinite
from tests.support.judged_engine import JudgedEngine

#: How a run ends that has a LoRA of this kind.
ENDINGS = {"wild": NotFinite, "alien": AdapterIncompatible, "gone": AdapterMissing}


@dataclass
class Plan:
    """One run of a schedule: which request, after how many steps of all it joins, and what becomes of it."""

    request: DrawRequest
    joins_after: int
    fate: str
    at_step: int


def plans(
    data: st.DataObject, pool: Sequence[DrawRequest], bad: Mapping[str, AdapterUse], *, most_runs: int = 6
) -> list[Plan]:
    """Two runs or more out of a pool; some are cancelled, some carry one of the bad LoRAs."""
    most_steps = max(request.steps for request in pool)
    made = []
    for _ in range(data.draw(st.integers(2, most_runs), label="runs")):
        fate = data.draw(st.sampled_from(["drawn", "drawn", "drawn", "canceled", *bad]), label="fate")
        request = data.draw(st.sampled_from(pool), label="request")
        if fate in bad:
            request = replace(request, adapters=(bad[fate],), source=None)
        joins_after = data.draw(st.integers(0, 2 * most_steps), label="joins after")
        at_step = data.draw(st.integers(1, max(1, min(5, request.steps - 1))), label="cancel at")
        made.append(Plan(request, joins_after, fate, at_step))
    return made


def check(place: JudgedEngine, made: Sequence[Plan]) -> None:
    """Draw a schedule: each run ends as it would alone, and nothing is left of any."""

    async def drawn() -> list[tuple[Plan, StopSignal, DrawResult | Exception]]:
        endings = await _Drawing(place, made).run()
        await place.engine._steps.call(lambda: None)  # the last step is over, not only answered
        return endings

    for plan, stop, ending in asyncio.run(drawn()):
        if plan.fate == "drawn":
            assert isinstance(ending, DrawResult), ending
            place.check(plan.request, stop, ending)
        else:
            assert type(ending) is ENDINGS.get(plan.fate, DrawStopped), ending
    assert place.model.adapters.held_sha256s == frozenset()
    assert all(not layer.slices for layer in place.model.layers.values())


class _Drawing:
    """Lets the runs of a schedule join as it says and collects how they end."""

    def __init__(self, place: JudgedEngine, made: Sequence[Plan]) -> None:
        self._place = place
        self._waiting = sorted(made, key=lambda plan: plan.joins_after)
        self._steps = 0
        self._endings: list[tuple[Plan, StopSignal, DrawResult | Exception]] = []
        self._moved = asyncio.Event()

    async def run(self) -> list[tuple[Plan, StopSignal, DrawResult | Exception]]:
        """Draw all of them."""
        loop = asyncio.get_running_loop()
        active: set[asyncio.Task[None]] = set()
        while self._waiting or active:
            while self._waiting and (not active or self._waiting[0].joins_after <= self._steps):
                active.add(asyncio.create_task(self._draw(self._waiting.pop(0), loop)))
            self._moved.clear()
            await self._moved.wait()
            active = {task for task in active if not task.done()}
        return self._endings

    async def _draw(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        stop = StopSignal()

        def on_progress(progress: object) -> None:
            if plan.fate == "canceled" and progress.step == plan.at_step:
                stop.set(StopReason.CANCELED)
            loop.call_soon_threadsafe(self._stepped)

        try:
            ending = await self._place.engine.draw(plan.request, stop=stop, on_progress=on_progress)
        except (DrawFailed, DrawStopped) as problem:
            ending = problem
        self._endings.append((plan, stop, ending))
        loop.call_soon(self._moved.set)

    def _stepped(self) -> None:
        self._steps += 1
        self._moved.set()
