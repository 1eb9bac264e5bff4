from __future__ import annotations

import gc
import weakref

from services.worker.engine import memory


class Cycle:
    def __init__(self):
        self.me = self


def test_later_collections_look_at_what_came_since_alone():
    try:
        memory.settle()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 1_000
        cycle = Cycle()
        is_there = weakref.ref(cycle)
        del cycle
        gc.collect()
        assert is_there() is None
    finally:
        gc.unfreeze()
