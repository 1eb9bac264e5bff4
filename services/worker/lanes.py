"""Which queue to pull from next: stride scheduling over lanes, premium 4, basic 2, free 1. Pure.

A queue's pass grows by 1/weight with each run taken from it, and the smallest pass goes first: while all queues have
runs, each gets its share, and none starves. An idle queue gathers no credit.

Source: Waldspurger and Weihl, "Stride Scheduling", MIT/LCS/TM-528 (1995).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from imagineo.jobs.lanes import WEIGHTS, Lane

#: A pass is counted in such parts of 1, so that every queue's stride is whole.
_PARTS: Final = math.lcm(*WEIGHTS.values())


@dataclass(frozen=True, slots=True)
class Queue:
    """The jobs of one base model in one lane."""

    base_model_slug: str
    lane: Lane


class StrideScheduler:
    """Decides the order in which queues are tried."""

    def __init__(self) -> None:
        self._passes: dict[Queue, int] = {}
        self._now = 0

    def add(self, base_model_slug: str) -> None:
        """Let a base model's three queues take part from now."""
        for lane in WEIGHTS:
            self._passes.setdefault(Queue(base_model_slug, lane), self._now)

    def order(self) -> list[Queue]:
        """All queues, the one whose turn it is first; of equals the heavier lane."""
        return sorted(self._passes, key=lambda queue: (self._passes[queue], -WEIGHTS[queue.lane]))

    def taken(self, queue: Queue) -> None:
        """Note that a run was taken from `queue`: those before it in the order were empty and lose their credit."""
        self._now = max(self._now, self._passes[queue])
        for other, its_pass in self._passes.items():
            if its_pass < self._passes[queue]:
                self._passes[other] = self._now
        self._passes[queue] += _PARTS // WEIGHTS[queue.lane]
