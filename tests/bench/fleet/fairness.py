"""How evenly tenants are served, by Jain's index over what each got of what it was entitled to.

For each minute in which runs waited for room: the capacity is the runs that began; a tenant's demand is what it had
waiting and what came; its entitlement is the max-min fair share of the capacity, as the platform promises it: lanes by
their weights, tenants of a lane evenly, nobody more than he asked. A tenant's figure is the sum of what it got, counted
up to its entitlement, over the sum of its entitlements. So who floods the queue and waits for himself counts as well
served, and who asked for two runs and stood behind a thousand does not. Jain's index of n figures is
(sum x)^2 / (n sum x^2): 1 where all are equal, 1/n where one has all.
Source: Jain, Chiu and Hawe 1984, "A Quantitative Measure of Fairness", DEC-TR-301.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from imagineo.jobs.lanes import WEIGHTS
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

WINDOW_S: Final = 60.0
#: A run that begins so soon after it came counts as served when it came.
PROMPT_S: Final = 10.0
#: Tenants that were entitled to fewer runs than this in all crowded minutes are left out: their figures are chance.
_LEAST: Final = 10.0


@dataclass(frozen=True)
class Fairness:
    """What was found."""

    jain: float
    tenants_count: int
    crowded_minutes: int


def fairness(at_s: Numbers, began_s: Numbers, tenants: NDArray[np.int64], lanes: NDArray[np.int64]) -> Fairness:
    """Judge runs by when they came and began; `lanes` is by tenant, `began_s` is infinite for those that never did."""
    served_s = np.maximum(at_s, began_s - PROMPT_S)
    windows, count = int(at_s.max() // WINDOW_S) + 1, len(lanes)
    came = _grid(at_s, tenants, windows, count)
    got = _grid(np.where(np.isfinite(served_s), served_s, -1.0), tenants, windows, count)
    entitled, received, crowded = np.zeros(count), np.zeros(count), 0
    backlog = np.zeros(count)
    for window in range(windows):
        demand = backlog + came[window]
        backlog = demand - got[window]
        if backlog.sum() < 1:
            continue
        crowded += 1
        share = entitlement(demand, float(got[window].sum()), lanes)
        entitled += share
        received += np.minimum(got[window], share)
    counted = entitled >= _LEAST
    if not counted.any():
        return Fairness(1.0, 0, crowded)
    return Fairness(jain(received[counted] / entitled[counted]), int(counted.sum()), crowded)


def jain(figures: Numbers) -> float:
    """Jain's index."""
    return float(figures.sum() ** 2 / (len(figures) * (figures**2).sum())) if figures.any() else 0.0


def entitlement(demand: Numbers, capacity: float, lanes: NDArray[np.int64]) -> Numbers:
    """Share a capacity out: lanes by weight, tenants of a lane evenly, nobody more than the demand."""
    by_lane = {lane: lanes == lane for lane in WEIGHTS}
    asked = np.array([demand[of].sum() for of in by_lane.values()])
    given = _filled(asked, capacity, np.array(list(WEIGHTS.values()), dtype=float))
    share = np.zeros_like(demand)
    for of, capacity_of_lane in zip(by_lane.values(), given, strict=True):
        share[of] = _filled(demand[of], capacity_of_lane, np.ones(int(of.sum())))
    return share


def _filled(demand: Numbers, capacity: float, weights: Numbers) -> Numbers:
    """Water-filling: raise a level until the capacity is spent; whoever has his demand gets no more."""
    if demand.sum() <= capacity:
        return demand.copy()
    order = np.argsort(demand / weights)
    levels, left_weights = (demand / weights)[order], weights[order][::-1].cumsum()[::-1]
    spent = np.concatenate([[0.0], (demand[order]).cumsum()[:-1]]) + levels * left_weights
    full = int(np.searchsorted(spent, capacity))
    level = (capacity - demand[order][:full].sum()) / left_weights[full]
    return np.minimum(demand, level * weights)


def _grid(times_s: Numbers, tenants: NDArray[np.int64], windows: int, count: int) -> Numbers:
    index = (times_s // WINDOW_S).astype(np.int64)
    inside = (index >= 0) & (index < windows)
    flat = np.bincount(index[inside] * count + tenants[inside], minlength=windows * count)
    return flat.reshape(windows, count).astype(np.float64)
