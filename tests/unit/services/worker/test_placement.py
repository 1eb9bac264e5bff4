from __future__ import annotations

from collections import Counter

import pytest

from services.worker.placement import Demand, Ring, Standing, better_place, homes_count

WORKERS = [f"worker-{number}" for number in range(40)]
LORAS = [f"model_{number}" for number in range(4000)]


@pytest.fixture(scope="module")
def ring():
    made = Ring()
    for name in WORKERS:
        made.add(name)
    return made


def place(homes, counts, *, count=1, own="other", others=2, slots=6):
    standings = {name: Standing(running, slots) for name, running in counts.items()}
    return better_place(
        iter(homes),
        count,
        own,
        total_count=others + sum(counts.values()),
        workers_count=len(counts) + 2,
        standing_of=standings.get,
    )


def test_the_loras_are_spread_over_all_workers(ring):
    counts = Counter(next(ring.homes(key)) for key in LORAS)
    assert set(counts) == set(WORKERS)
    assert max(counts.values()) < 1.6 * len(LORAS) / len(WORKERS)


def test_every_worker_comes_once_in_a_loras_order(ring):
    assert sorted(ring.homes("model_1")) == sorted(WORKERS)


def test_a_worker_that_goes_moves_its_own_loras_alone(ring):
    before = {key: next(ring.homes(key)) for key in LORAS}
    ring.remove("worker-7")
    after = {key: next(ring.homes(key)) for key in LORAS}
    ring.add("worker-7")
    assert {key for key in LORAS if before[key] != after[key]} == {key for key in LORAS if before[key] == "worker-7"}
    assert {key: next(ring.homes(key)) for key in LORAS} == before


def test_adding_and_removing_twice_changes_nothing():
    ring = Ring()
    for _ in range(2):
        ring.add("a")
    assert (len(ring), list(ring.homes("x"))) == (1, ["a"])
    for _ in range(2):
        ring.remove("a")
    assert (len(ring), list(ring.homes("x"))) == (0, [])


def test_a_run_goes_to_the_home_that_has_room():
    assert place(["a", "b"], {"a": 1, "b": 0}) == "a"


@pytest.mark.parametrize("counts", [{"b": 0}, {"a": 4, "b": 0}, {"a": 3, "b": 0}], ids=["unheard", "full", "too busy"])
def test_where_the_home_cannot_take_it_the_next_on_the_ring_does(counts):
    assert place(["a", "b"], counts) == "b"


def test_among_idle_workers_a_second_and_a_third_run_find_their_lora_at_its_home():
    assert [place(["a", "b"], {"a": count, "b": 0}, others=0) for count in (1, 2, 3)] == ["a", "a", "b"]


def test_a_run_stays_with_a_worker_that_is_the_home_itself():
    assert place(["other", "b"], {"b": 0}) is None


def test_a_run_stays_where_nobody_has_room():
    assert place(["a", "b"], {"a": 4, "b": 4}) is None


def test_a_large_batch_of_one_lora_lies_with_the_same_neighbours_each_time():
    neighbours = [f"neighbour-{number}" for number in range(300)]
    assert place(neighbours, dict.fromkeys(neighbours, 4) | {"neighbour-200": 0}) == "neighbour-200"
    assert place(neighbours, dict.fromkeys(neighbours, 4) | {"neighbour-299": 0}) is None


def test_of_several_homes_the_least_busy_draws():
    assert place(["a", "b", "c", "d"], {"a": 2, "b": 1, "c": 3, "d": 0}, count=3, others=6) == "b"


def test_a_lora_that_fills_several_homes_leaves_room_in_all_but_the_first():
    counts = {"a": 10, "b": 8, "c": 9}
    assert place(["a", "b", "c"], counts, count=3, others=0, slots=12) is None
    assert place(["a", "b", "c"], counts, count=1, others=0, slots=12) == "b"


def test_a_lora_has_four_times_the_homes_that_its_share_of_all_runs_fills():
    assert [homes_count(share, 100) for share in (0.0, 0.001, 0.125, 1.0)] == [1, 1, 50, 400]


def test_demand_is_a_share_of_what_was_asked_of_late():
    demand = Demand()
    assert demand.share("a") == 0
    for _ in range(6):
        demand.note("a", 0.0)
    demand.note("b", 0.0)
    demand.note("b", 1.0)
    assert demand.share("a") == pytest.approx(0.75)
    for _ in range(3):
        demand.note("b", 3_601.0)
    assert demand.share("a") == pytest.approx(3 / 7)


def test_what_nobody_asks_for_any_more_is_forgotten():
    demand = Demand()
    demand.note("a", 0.0)
    demand.note("b", 90_000.0)
    assert (demand.share("a"), demand.share("b")) == (0.0, 1.0)
    assert len(demand._counts) == 1
