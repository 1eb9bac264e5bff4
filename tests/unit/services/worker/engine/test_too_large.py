from __future__ import annotations

from services.worker.engine.too_large import Demand, TooLarge


def demand(area_px=64, rows=2, adapter_bytes=10, kind="tiny"):
    return Demand(kind, area_px, rows, adapter_bytes)


def test_what_takes_no_less_than_what_failed_alone_is_known():
    known = TooLarge()
    known.note(demand())
    assert known.holds(demand())
    assert known.holds(demand(area_px=65, adapter_bytes=99))


def test_what_takes_less_of_anything_or_is_of_another_kind_is_not():
    known = TooLarge()
    known.note(demand())
    for other in (demand(area_px=63), demand(rows=1), demand(adapter_bytes=9), demand(kind="other")):
        assert not known.holds(other)


def test_what_is_drawn_after_all_is_forgotten_with_all_that_takes_no_more():
    known = TooLarge()
    known.note(demand())
    known.note(demand(kind="other"))
    known.forget(demand(area_px=128, rows=1))
    assert known.holds(demand())
    known.forget(demand(area_px=128))
    assert not known.holds(demand())
    assert known.holds(demand(kind="other"))


def test_of_demands_that_cover_each_other_the_least_is_kept():
    known = TooLarge()
    for area_px in (256, 64, 128):
        known.note(demand(area_px=area_px))
    assert known._known == {demand(area_px=64)}
