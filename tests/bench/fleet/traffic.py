"""A day of requests: who asks when, for which LoRA, alone or as a batch; from a seed, before the simulation.

Popularity of LoRAs is Zipf with exponent 1, as for words and, about, for web pages (0.6 to 0.9 at proxies, Breslau et
al. 1999); each run draws its LoRA independently, so that no locality in time helps a memory. Demand of tenants is Zipf
too. Single runs are bounded by the requests a minute of the tenant's plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from imagineo.jobs.lanes import lane_of
from imagineo.v1 import account_pb2
from numpy.typing import NDArray

from services.auth.plans import PLAN_LIMITS, Plan
from services.status.turns import spared

DAY_S: Final = 86_400.0
#: Share of the tenants, those with the most demand first.
_PLANS: Final = ((Plan.PREMIUM, 0.1), (Plan.BASIC, 0.3), (Plan.FREE, 0.6))
_WIRE: Final = {
    Plan.PREMIUM: account_pb2.PLAN_PREMIUM,
    Plan.BASIC: account_pb2.PLAN_BASIC,
    Plan.FREE: account_pb2.PLAN_FREE,
}
#: Of the runs, those that come in batches; any size from the least to the most on a logarithmic scale is as likely. A
#: batch is no larger than what its tenant's plan lets be unfinished beside single runs: what is beyond waits for the
#: tenant's own limit, whoever schedules.
_BATCHED_RATIO: Final = 0.25
_LEAST_BATCH: Final = 10
#: The demand of the quietest and the busiest hour over the mean's.
_SWING: Final = 0.6
#: Crowds: so many a day come at random, each for some minutes, and make demand so many times what it was.
_CROWDS: Final = 12
_CROWD_MINUTES: Final = (3, 12)
_CROWD_RATIO: Final = (1.3, 2.0)
_STEPS: Final = (20, 28, 30, 40)


@dataclass(frozen=True)
class Scale:
    """How large a world is."""

    devices: int
    loras: int
    tenants: int
    seconds: float
    begins_s: float = 0.0
    """The time of day."""
    zipf: float = 1.0
    warm_s: float = 0.0
    """Of the seconds, those at the start that fill the memories and count for nothing else."""


@dataclass(frozen=True)
class Traffic:
    """Runs in the order of coming."""

    at_s: list[float]
    tenant: list[int]
    lora: list[int]
    steps: list[int]
    batch: list[int]
    """Which batch it belongs to; -1: none."""
    plans: list[Plan]
    """By tenant."""
    lanes: list[int]
    """By tenant."""
    refused_count: int
    """Single runs beyond the requests a minute, which never came in."""


def demand_ratio(at_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Demand over the day's mean: least at 4, most at 16 o'clock."""
    return 1 - _SWING * np.cos((at_s / DAY_S - 4 / 24) * 2 * np.pi)


def traffic(scale: Scale, runs_per_s: float, seed: int) -> Traffic:
    """Draw requests at this mean rate over the day."""
    draw = np.random.default_rng(seed)
    minutes = int(scale.seconds // 60)
    ratio = demand_ratio(scale.begins_s + 60.0 * np.arange(minutes)) * _crowds(draw, minutes)
    weights = _zipf(scale.tenants, 0.9)
    plans = [plan for plan, share in _PLANS for _ in range(round(share * scale.tenants))][: scale.tenants]
    singles = _singles(draw, runs_per_s * (1 - _BATCHED_RATIO) * 60 * ratio, weights, plans)
    batches = _batches(draw, runs_per_s * _BATCHED_RATIO * 60 * ratio, weights, plans)
    at_s = np.concatenate([singles[0], batches[0]])
    tenant = np.concatenate([singles[1], batches[1]])
    batch = np.concatenate([np.full(len(singles[0]), -1), batches[2]])
    loras = _zipf(scale.loras, scale.zipf).cumsum()
    alone = np.minimum(np.searchsorted(loras, draw.random(len(singles[0]))), scale.loras - 1)
    of_batch = np.minimum(np.searchsorted(loras, draw.random(batches[3])), scale.loras - 1)
    lora = np.concatenate([alone, of_batch[batches[2]]])
    steps = draw.choice(_STEPS, len(at_s))
    order = np.argsort(at_s, kind="stable")
    return Traffic(
        *(column[order].tolist() for column in (at_s, tenant, lora, steps, batch)),
        plans=plans,
        lanes=[lane_of(_WIRE[plan]) for plan in plans],
        refused_count=singles[2],
    )


def _zipf(count: int, exponent: float) -> NDArray[np.float64]:
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


def _crowds(draw: np.random.Generator, minutes: int) -> NDArray[np.float64]:
    ratio = np.ones(minutes)
    for _ in range(draw.poisson(_CROWDS * minutes / 1440)):
        start, length = draw.integers(minutes), draw.integers(*_CROWD_MINUTES)
        ratio[start : start + length] *= draw.uniform(*_CROWD_RATIO)
    return ratio


def _singles(
    draw: np.random.Generator, per_minute: NDArray[np.float64], weights: NDArray[np.float64], plans: list[Plan]
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    most = np.array([PLAN_LIMITS[plan].requests_per_minute for plan in plans])
    at_s, tenants, refused = [], [], 0
    for minute, rate in enumerate(per_minute):
        asked = draw.poisson(rate * weights)
        counts = np.minimum(asked, most)
        refused += int((asked - counts).sum())
        tenants.append(np.repeat(np.arange(len(weights)), counts))
        at_s.append(60.0 * minute + 60.0 * draw.random(int(counts.sum())))
    return np.concatenate(at_s), np.concatenate(tenants), refused


def _batches(
    draw: np.random.Generator, per_minute: NDArray[np.float64], weights: NDArray[np.float64], plans: list[Plan]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], int]:
    limits = [PLAN_LIMITS[plan].queued_runs for plan in plans]
    most = np.array([limit - spared(limit) for limit in limits], dtype=float)
    # Half the skew of single runs: a batch is a habit of many, and its size is skewed already.
    habit = np.sqrt(weights) / np.sqrt(weights).sum()
    mean_size = float((habit * (most - _LEAST_BATCH) / np.log(most / _LEAST_BATCH)).sum())
    counts = draw.poisson(per_minute / mean_size)
    starts = 60.0 * np.repeat(np.arange(len(counts)), counts) + 60.0 * draw.random(int(counts.sum()))
    owners = draw.choice(len(weights), len(starts), p=habit)
    sizes = (_LEAST_BATCH * (most[owners] / _LEAST_BATCH) ** draw.random(len(starts))).astype(int)
    return np.repeat(starts, sizes), np.repeat(owners, sizes), np.repeat(np.arange(len(starts)), sizes), len(starts)
