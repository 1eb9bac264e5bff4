"""A small fleet for an hour, from a fixed seed: the rules still do what they are there for."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tests.bench.fleet.device import Device
from tests.bench.fleet.traffic import Scale
from tests.bench.fleet.variants import RULES, USUAL, made, outcome_of, verdict

#: Two LoRAs of each device: an hour asks for nearly all of them, as a day of the whole fleet does.
SMALL = Scale(devices=50, loras=500, tenants=250, seconds=3_600, begins_s=15.5 * 3_600)


@functools.cache
def requests():
    return made(Device(), SMALL, 1)


@functools.cache
def outcome(name):
    return outcome_of(name, Device(), SMALL, requests(), 1)


@functools.cache
def judged(name):
    return verdict(outcome(name), requests())


@pytest.mark.parametrize("name", [*RULES, USUAL])
def test_every_run_is_drawn_once_and_after_it_came(name):
    found = outcome(name)
    at_s, began_s, ended_s = np.array(requests().at_s), np.array(found.began_s), np.array(found.ended_s)
    assert len(at_s) > 3_000
    assert (began_s >= at_s).all()
    assert (ended_s > began_s).all()
    assert np.isfinite(ended_s).all()
    assert min(found.found) >= 0


def test_no_device_works_faster_than_it_was_measured():
    device, steps = Device(), sum(requests().steps)
    best_s = steps * device.step_s(device.runs_cap) / device.runs_cap
    assert outcome("ours").busy_s >= best_s


def single_p99_s(name):
    alone = np.array(requests().batch) < 0
    return np.quantile((np.array(outcome(name).began_s) - np.array(requests().at_s))[alone], 0.99)


def test_a_single_run_waits_half_as_long_at_most_at_equal_devices():
    # One batch is half of so small a fleet's places: the longest waits of all are of its items, whatever the rules.
    assert single_p99_s(USUAL) > 2 * single_p99_s("ours")
    assert judged(USUAL).wait_p99_s > judged("ours").wait_p99_s
    assert judged(USUAL).wait_p50_s > 10 * judged("ours").wait_p50_s


def test_batches_in_turn_keep_single_runs_from_waiting_behind_them():
    assert single_p99_s("ours_without_fairness") > single_p99_s("ours")


def test_affinity_finds_loras_in_memory_that_chance_does_not():
    assert judged("ours").hit_rate > judged("ours_without_affinity").hit_rate + 0.2


def test_tenants_are_served_more_evenly_by_lanes_and_turns_than_first_come_first_served():
    for other in ("ours_without_fairness", USUAL):
        assert judged("ours").fairness.jain > judged(other).fairness.jain


def test_the_same_seed_gives_the_same_day():
    again = outcome_of("ours", Device(), SMALL, made(Device(), SMALL, 1), 1)
    assert again.began_s == outcome("ours").began_s
