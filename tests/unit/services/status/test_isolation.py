"""A batch that fails is done item by item; a dependency that is away is nobody's own fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo.errors import InvalidParameter, Unavailable

from services.status.isolation import isolated


@given(items=st.lists(st.integers(-3, 3), min_size=1, max_size=20))
async def test_each_bad_item_fails_alone(items):
    async def work(batch):
        if any(item < 0 for item in batch):
            raise InvalidParameter
        return [item * 10 for item in batch]

    answers = await isolated(work, items)
    assert [None if isinstance(answer, InvalidParameter) else answer for answer in answers] == [
        None if item < 0 else item * 10 for item in items
    ]


async def test_a_good_batch_is_done_once():
    calls = []

    async def work(batch):
        calls.append(batch)
        return batch

    assert await isolated(work, [1, 2]) == [1, 2]
    assert calls == [[1, 2]]


async def test_nothing_is_tried_again_while_the_database_is_away():
    calls = []

    async def work(batch):
        calls.append(batch)
        raise Unavailable

    with pytest.raises(Unavailable):
        await isolated(work, [1, 2])
    assert calls == [[1, 2]]
