"""Runs that are accepted together: all or none, once for each idempotency key, within the cap."""

from __future__ import annotations

import asyncio

import pytest
from imagineo import errors
from imagineo.v1 import generation_pb2
from imagineo.v1 import generation_service_pb2 as pb

from tests.integration.status.conftest import submission

pytestmark = pytest.mark.integration


def several(count=3, key="", **fields):
    return [submission(key=f"{key} {index}" if key else "", **fields) for index in range(count)]


async def together(status, submissions):
    return list((await status(pb.AcceptTogetherRequest(submissions=submissions))).acceptances)


async def unfinished(status, organization="org_1"):
    return (await status(pb.CountUnfinishedRequest(organization_id=organization))).unfinished_count


async def test_all_are_accepted_in_their_order_each_behind_the_one_before(status):
    wanted = several(8)
    for one in wanted:
        one.job.parameters.steps = 100
        one.job.parameters.width = one.job.parameters.height = 512
    answers = await together(status, wanted)
    assert [answer.run_id for answer in answers] == [one.job.run_id for one in wanted]
    estimates = [answer.estimated_time_s for answer in answers]
    assert estimates == sorted(set(estimates))
    assert await unfinished(status) == 8
    for one in wanted:
        assert (await status.get(one.job.run_id)).status == generation_pb2.STATUS_QUEUED


async def test_where_there_is_no_room_for_all_none_is_accepted(status):
    await together(status, several(3, limit=5))
    wanted = several(3, limit=5)
    with pytest.raises(errors.QueueFull, match="3 unfinished runs and 3 more") as refused:
        await together(status, wanted)
    assert refused.value.metadata == {"limit": "5"}
    assert await unfinished(status) == 3
    for one in wanted:
        with pytest.raises(errors.NotFound):
            await status.get(one.job.run_id)
    assert len(await together(status, several(2, limit=5))) == 2


async def test_a_key_answers_its_runs_again_and_makes_none(status):
    first = await together(status, several(3, "k"))
    again = await together(status, several(3, "k"))
    assert [answer.run_id for answer in again] == [answer.run_id for answer in first]
    assert [answer.estimated_time_s for answer in again] == [answer.estimated_time_s for answer in first]
    assert all(answer.replayed for answer in again)
    assert await unfinished(status) == 3
    with pytest.raises(errors.IdempotencyKeyReused):
        await together(status, several(3, "k", body=b"c" * 32))
    with pytest.raises(errors.IdempotencyKeyReused):
        await together(status, several(4, "k"))


async def test_the_same_key_at_once_makes_runs_once(status):
    answers = await asyncio.gather(*(together(status, several(4, "k")) for _ in range(6)))
    assert len({tuple(answer.run_id for answer in one) for one in answers}) == 1
    assert await unfinished(status) == 4


async def test_one_that_cannot_be_stored_spoils_all(status):
    wanted = several(2)
    wanted.append(submission(run_id="gen_1"))
    with pytest.raises(errors.InvalidParameter):
        await together(status, wanted)
    assert await unfinished(status) == 0


@pytest.mark.parametrize(
    "wanted",
    [
        [],
        [submission(), submission(organization="org_2")],
        [submission(), submission(key="k")],
        [submission() for _ in range(1001)],
    ],
    ids=["none", "two owners", "half keyed", "too many"],
)
async def test_what_does_not_belong_together_is_refused(status, wanted):
    with pytest.raises(errors.InvalidParameter):
        await together(status, wanted)


async def test_a_repeated_call_answers_the_same(status):
    wanted = several(2)
    first = await together(status, wanted)
    assert await together(status, wanted) == first
    assert await unfinished(status) == 2
    stranger = [submission(run_id=wanted[0].job.run_id, organization="org_2"), submission(organization="org_2")]
    with pytest.raises(errors.AlreadyExists):
        await together(status, stranger)
    assert await unfinished(status, "org_2") == 0
