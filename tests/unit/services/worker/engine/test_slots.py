from __future__ import annotations

import pytest
import torch

from services.worker.engine.slots import SlotBank, SlotShape

SMALL = SlotShape(32, 16, torch.float32)
OTHER = SlotShape(64, 32, torch.float32)


def bank(limit_bytes=1 << 20, **options):
    return SlotBank(torch.device("cpu"), limit_bytes, **options)


def written(slots, shape, value):
    slot = slots.take(shape)
    slot.down.fill_(value)
    slot.up.fill_(-value)
    return slot


def test_slots_lie_apart():
    slots = bank()
    taken = [written(slots, SMALL, float(value)) for value in range(40)]
    for value, slot in enumerate(taken):
        assert (slot.down == value).all()
        assert (slot.up == -value).all()


def test_a_slot_is_written_again_once_nobody_refers_to_it():
    slots = bank()
    first, second = written(slots, SMALL, 1.0), written(slots, SMALL, 2.0)
    place, allocated = first.down.data_ptr(), slots.allocated_bytes
    del first
    third = written(slots, SMALL, 3.0)
    assert third.down.data_ptr() == place
    assert (second.down == 2).all()
    assert slots.allocated_bytes == allocated == 2 * SMALL.size_bytes


def test_thousands_that_come_and_go_take_no_more_memory():
    slots = bank()
    for value in range(2_000):
        written(slots, SMALL, float(value))
    assert slots.allocated_bytes == SMALL.size_bytes


def test_at_the_limit_free_slots_make_room_for_other_shapes_and_those_in_use_do_not():
    slots = bank(limit_bytes=OTHER.size_bytes + SMALL.size_bytes)
    taken = [written(slots, SMALL, 1.0) for _ in range(2)]
    assert slots.take(OTHER) is None
    del taken[0]
    assert slots.take(OTHER) is not None
    assert slots.allocated_bytes == OTHER.size_bytes + SMALL.size_bytes
    assert (taken[0].down == 1).all()


def test_word_of_a_slot_that_is_free_again_comes_at_once():
    free = []
    slots = bank(on_return=lambda: free.append(True))
    slot = slots.take(SMALL)
    assert not free
    del slot
    assert free


def test_a_slot_for_which_the_device_has_no_memory_counts_for_nothing(monkeypatch):
    slots = bank()

    def empty(size, **_):
        if size == SMALL.up_size:
            raise torch.OutOfMemoryError
        return torch.zeros(size)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", empty)
        with pytest.raises(torch.OutOfMemoryError):
            slots.take(SMALL)
    assert slots.allocated_bytes == 0
    assert slots.take(SMALL) is not None


def test_all_free_slots_can_be_given_up():
    slots = bank()
    kept, freed = slots.take(SMALL), slots.take(OTHER)
    del freed
    assert slots.give_up() == OTHER.size_bytes
    assert slots.allocated_bytes == SMALL.size_bytes
    del kept
