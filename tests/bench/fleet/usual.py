"""What ours is judged against: first in, first out, to any idle server, each a stock pipeline with one LoRA at a time.

The hardware is the same, and so are the memory for LoRAs, the rule by which it keeps them, and the time to fetch and
load one. Requests for one LoRA that stand one behind the other are drawn together, as many as the knee allows.
"""

from __future__ import annotations

import heapq
import random

from tests.bench.fleet.device import Device
from tests.bench.fleet.fleet import Outcome
from tests.bench.fleet.queues import Queues
from tests.bench.fleet.traffic import Traffic
from tests.bench.fleet.workers import Run, UsualWorker


def usual(device: Device, devices: int, traffic: Traffic, seed: int) -> Outcome:
    """Simulate until every run has ended."""
    draw = random.Random(seed)  # noqa: S311 - it picks the server that happens to ask first
    idle = [UsualWorker(number, device) for number in range(devices)]
    workers, queue, count = list(idle), Queues(), len(traffic.at_s)
    outcome = Outcome([0.0] * count, [0.0] * count, [0] * count)
    ends: list[tuple[float, int]] = []
    index, now_s = 0, 0.0
    while index < count or queue.count or ends:
        if index < count and (not ends or traffic.at_s[index] <= ends[0][0]):
            now_s = traffic.at_s[index]
            queue.put(Run(index, 0, 0, traffic.lora[index], traffic.steps[index], -1, now_s))
            index += 1
        else:
            now_s, number = heapq.heappop(ends)
            idle.append(workers[number])
        if idle and queue.count:
            place = draw.randrange(len(idle))
            idle[place], idle[-1] = idle[-1], idle[place]
            worker, runs = idle.pop(), _together(queue, device.runs_cap)
            found, began_s, ended_s = worker.draw_s(runs, now_s)
            for position, run in enumerate(runs):
                outcome.began_s[run.number], outcome.ended_s[run.number] = began_s, ended_s
                outcome.found[run.number] = found if position == 0 else 0
            heapq.heappush(ends, (ended_s, worker.number))
    outcome.ends_s = max(outcome.ended_s)
    outcome.busy_s = sum(worker.busy_s for worker in workers)
    outcome.alive_s = outcome.ends_s * devices
    return outcome


def _together(queue: Queues, most: int) -> list[Run]:
    first = queue.take(0)
    assert first is not None
    runs = [first]
    while len(runs) < most and (follower := queue.head(0)) is not None and follower.lora == first.lora:
        queue.take(0)
        runs.append(follower)
    return runs
