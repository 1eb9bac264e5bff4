"""Whose items are released next."""

from __future__ import annotations

from imagineo.v1 import job_pb2

from services.status.turns import Feed, turns, window_of

FREE, PREMIUM = job_pb2.LANE_FREE, job_pb2.LANE_PREMIUM


def feed(batch_id, organization_id="org_1", lane=FREE, held=100, **fields):
    return Feed(batch_id, organization_id, lane, held, **{"room_count": 1000, "queued_runs_limit": 0, **fields})


def drawn_in_turn(feeds, window, rounds):
    """Release, end the oldest, release again: how many of each batch were released."""
    released = dict.fromkeys((one.batch_id for one in feeds), 0)
    flying: list[str] = []
    last: dict[str, float] = {}
    for moment in range(1, rounds + 1):
        now = [
            Feed(
                one.batch_id,
                one.organization_id,
                one.lane,
                one.held_count - released[one.batch_id],
                flying.count(one.batch_id),
                one.room_count,
                one.queued_runs_limit,
                last.get(one.batch_id, float("-inf")),
            )
            for one in feeds
        ]
        for batch_id, count in turns(window, now).items():
            released[batch_id] += count
            flying += [batch_id] * count
            last[batch_id] = float(moment)
        assert len(flying) <= window
        if flying:
            flying.pop(0)
    return released


def test_the_window_is_half_more_than_what_is_drawn_at_once_and_never_less_than_two():
    assert [window_of(slots) for slots in (0, 1, 2, 4, 7)] == [2, 2, 3, 6, 11]


def test_a_full_window_releases_nothing():
    assert turns(4, [feed("a", flying_count=3), feed("b", flying_count=1)]) == {}


def test_no_more_is_released_than_is_held():
    assert turns(10, [feed("a", held=3)]) == {"a": 3}


def test_a_batch_without_a_feed_counts_but_has_no_turn():
    assert turns(4, [feed("a", flying_count=2, held=0), feed("b")]) == {"b": 2}


def test_organizations_share_the_window_whatever_they_hold():
    feeds = [feed("a", "org_1", held=1000), feed("b", "org_2", held=8), feed("c", "org_3", held=8)]
    assert turns(6, feeds) == {"a": 2, "b": 2, "c": 2}


def test_an_organization_gains_nothing_by_many_batches():
    feeds = [*(feed(f"a{number}", "org_1") for number in range(9)), feed("b", "org_2")]
    released = drawn_in_turn(feeds, window=4, rounds=100)
    own = sum(count for batch_id, count in released.items() if batch_id != "b")
    assert abs(own - released["b"]) <= 4


def test_its_own_batches_take_turns():
    released = drawn_in_turn([feed("a"), feed("b"), feed("c")], window=2, rounds=90)
    assert max(released.values()) - min(released.values()) <= 1


def test_more_organizations_than_places_still_take_turns():
    feeds = [feed(f"b{number}", f"org_{number}") for number in range(7)]
    released = drawn_in_turn(feeds, window=2, rounds=140)
    assert max(released.values()) - min(released.values()) <= 2


def test_a_heavier_lane_has_more_of_a_wide_window_and_the_light_one_is_not_starved():
    due = turns(10, [feed("free", "org_1"), feed("premium", "org_2", PREMIUM)])
    assert due == {"free": 2, "premium": 8}


def test_an_organizations_cap_bounds_it_and_a_quarter_is_spared_for_single_submits():
    feeds = [
        feed("a", "org_1", room_count=8, queued_runs_limit=8),
        feed("b", "org_2", room_count=0, queued_runs_limit=8),
        feed("c", "org_3", room_count=1, queued_runs_limit=1),
    ]
    assert turns(50, feeds) == {"a": 6, "c": 1}
