from __future__ import annotations

import torch

from services.worker.engine.lora_layers import Layout, Place
from services.worker.engine.slots import SlotBank

SMALL = Layout((Place("a", 8, 4, 2),))
OTHER = Layout((Place("b", 16, 4, 2),))


def bank(limit_bytes=1 << 20):
    return SlotBank(torch.device("cpu"), torch.float32, limit_bytes)


def written(slots, layout, value):
    return slots.write(layout, torch.full((layout.down_size,), value), torch.full((layout.up_size,), -value))


def test_adapters_of_one_layout_lie_side_by_side_and_apart():
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
    assert slots.allocated_bytes == allocated


def test_thousands_that_come_and_go_take_no_more_memory():
    slots = bank()
    written(slots, SMALL, 1.0)
    allocated = slots.allocated_bytes
    for value in range(2_000):
        written(slots, SMALL, float(value))
    assert slots.allocated_bytes == allocated


def test_beyond_the_limit_empty_blocks_make_room_for_other_layouts():
    slots = bank(limit_bytes=(SMALL.down_size + SMALL.up_size) * 4)
    taken = written(slots, SMALL, 1.0)
    other = written(slots, OTHER, 2.0)
    both = slots.allocated_bytes
    del taken
    another = written(slots, OTHER, 3.0)
    assert (other.down == 2).all()
    assert (another.down == 3).all()
    assert slots.allocated_bytes == both - (SMALL.down_size + SMALL.up_size) * 4 + other.down.nbytes + other.up.nbytes
