from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.worker.engine.residency import Residency


def filled(*keys, limit_bytes=3):
    residency = Residency(limit_bytes)
    for key in keys:
        residency.put(key, key.upper(), 1)
    return residency


def test_of_the_popular_and_the_recent_the_popular_stays():
    residency = filled("a", "b", "c")
    residency.get("a")
    residency.put("d", "D", 1)
    residency.put("e", "E", 1)
    assert residency.keys == {"a", "d", "e"}


def test_what_was_popular_once_does_not_stay_for_ever():
    residency = filled("a", "b", "c")
    for _ in range(5):
        residency.get("a")
    for number in range(20):
        residency.put(str(number), "", 1)
        residency.get(str(number))
    assert "a" not in residency.keys


def test_the_least_recently_used_goes_first():
    residency = filled("a", "b", "c")
    assert residency.get("a") == "A"
    residency.put("d", "D", 1)
    assert residency.keys == {"a", "c", "d"}


def test_what_is_held_stays_though_the_bound_is_passed():
    residency = Residency(1)
    residency.hold("a")
    residency.put("a", "A", 5)
    residency.put("b", "B", 1)
    assert residency.keys == {"a"}
    residency.let_go("a")
    assert (residency.keys, residency.size_bytes) == (frozenset(), 0)


def test_a_value_put_again_counts_once():
    residency = filled("a", "a")
    assert residency.size_bytes == 1


def test_clear_leaves_what_is_held():
    residency = filled("a", "b")
    residency.hold("b")
    residency.clear()
    assert residency.keys == {"b"}


steps = st.tuples(st.sampled_from(["put", "hold", "let_go", "get"]), st.sampled_from("abcdef"), st.integers(1, 4))


@given(st.lists(steps, max_size=60))
def test_the_bound_holds_over_what_nobody_holds(moves):
    residency, holds, sizes = Residency(6), [], {}
    for move, key, size in moves:
        if move == "put":
            residency.put(key, key, size)
            sizes[key] = size
        elif move == "hold":
            residency.hold(key)
            holds.append(key)
        elif move == "let_go" and key in holds:
            residency.let_go(key)
            holds.remove(key)
        else:
            residency.get(key)
        assert residency.size_bytes == sum(sizes[one] for one in residency.keys)
        assert residency.size_bytes <= 6 or residency.keys <= set(holds)
    assert residency.held_keys == set(holds)
