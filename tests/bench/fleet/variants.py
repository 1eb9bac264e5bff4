"""What is compared: the platform's rules, the same without one or the other, and the usual servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.bench.fleet.autoscaler import Autoscaler
from tests.bench.fleet.device import Device
from tests.bench.fleet.fairness import Fairness, fairness
from tests.bench.fleet.fleet import Fleet, Outcome, Rules
from tests.bench.fleet.traffic import Scale, Traffic, demand_ratio, traffic
from tests.bench.fleet.usual import usual
from tests.bench.fleet.workers import HOST, READING

#: The busiest hour's mean demand over what the usual servers draw at most, without a wait for any LoRA.
LOAD_RATIO: Final = 0.85
#: The platform's rules, and what is left of them.
RULES: Final = {
    "ours": Rules(),
    "ours_without_affinity": Rules(affinity=False),
    "ours_without_fairness": Rules(fairness=False),
    "fifo_random_on_our_engine": Rules(affinity=False, fairness=False),
}
USUAL: Final = "fifo_random"
MEAN_STEPS: Final = 29.5


@dataclass(frozen=True)
class Verdict:
    """The figures of one variant."""

    wait_p50_s: float
    wait_p99_s: float
    picture_p99_s: float
    hit_rate: float
    """The runs for which no file was fetched or read: the LoRA was in memory, or on its way for another."""
    at_once_rate: float
    """Those whose LoRA was there."""
    utilisation: float
    fairness: Fairness
    device_hours: float
    runs_count: int


def runs_per_s(device: Device, scale: Scale) -> float:
    """The mean rate of a day whose busiest hour loads the usual servers as said."""
    alone_per_s = 1 / (MEAN_STEPS * device.step_s(1))
    return LOAD_RATIO * scale.devices * alone_per_s / float(demand_ratio(np.array([16 * 3600.0]))[0])


def made(device: Device, scale: Scale, seed: int, load: float = 1.0) -> Traffic:
    """The requests of one seed."""
    return traffic(scale, load * runs_per_s(device, scale), seed)


def outcome_of(
    name: str, device: Device, scale: Scale, requests: Traffic, seed: int, autoscaler: Autoscaler | None = None
) -> Outcome:
    """Simulate one variant."""
    if name == USUAL:
        return usual(device, scale.devices, requests, seed)
    rules = Rules(autoscaler=autoscaler) if autoscaler else RULES[name]
    return Fleet(device, scale.devices, requests, rules, seed).run()


def verdict(outcome: Outcome, requests: Traffic, warm_s: float = 0.0) -> Verdict:
    """Judge one variant by the runs that came after the memories were filled."""
    counted = np.array(requests.at_s) >= warm_s
    at_s, began_s, ended_s = (
        np.array(column)[counted] - warm_s for column in (requests.at_s, outcome.began_s, outcome.ended_s)
    )
    found = np.array(outcome.found)[counted]
    wait_s = began_s - at_s
    return Verdict(
        wait_p50_s=float(np.quantile(wait_s, 0.5)),
        wait_p99_s=float(np.quantile(wait_s, 0.99)),
        picture_p99_s=float(np.quantile(ended_s - at_s, 0.99)),
        hit_rate=float(np.mean(found <= READING)),
        at_once_rate=float(np.mean(found <= HOST)),
        utilisation=outcome.busy_s / outcome.alive_s,
        fairness=fairness(at_s, began_s, np.array(requests.tenant)[counted], np.array(requests.lanes)),
        device_hours=outcome.alive_s / 3600,
        runs_count=len(at_s),
    )
