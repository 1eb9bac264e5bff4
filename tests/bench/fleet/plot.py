"""The day as a picture: demand, how long 99 of 100 runs waited in each quarter of an hour, and who was well served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np

from tests.bench.fleet.fleet import Outcome
from tests.bench.fleet.traffic import Traffic
from tests.bench.fleet.variants import Verdict

mpl.use("svg")
from matplotlib import pyplot as plt

_QUARTER_S: Final = 900.0


def plot(found: Mapping[str, tuple[Outcome, Verdict]], requests: Traffic, path: Path) -> None:
    """Draw an SVG."""
    at_s = np.array(requests.at_s)
    quarters = (at_s // _QUARTER_S).astype(int)
    hours = np.arange(quarters.max() + 1) * _QUARTER_S / 3600
    figure, (demand, waits, shares) = plt.subplots(3, 1, figsize=(9, 9), layout="constrained")
    demand.plot(hours, np.bincount(quarters) / _QUARTER_S)
    demand.set(ylabel="runs asked for a second", ylim=(0, None))
    order = np.argsort(quarters, kind="stable")
    bounds = np.searchsorted(quarters[order], np.arange(1, len(hours)))
    for name, (outcome, one) in found.items():
        wait_s = (np.array(outcome.began_s) - at_s)[order]
        p99 = [np.quantile(part, 0.99) if len(part) else np.nan for part in np.split(wait_s, bounds)]
        waits.plot(hours, np.maximum(p99, 1e-3), label=f"{name} (p99 of the day {one.wait_p99_s:.2f} s)")
        wait_s.sort()
        shares.plot(
            np.maximum(wait_s[:: max(1, len(wait_s) // 2000)], 1e-3),
            np.linspace(0, 1, len(wait_s[:: max(1, len(wait_s) // 2000)])),
            label=name,
        )
    waits.set(
        yscale="log", xlabel="hours since the evening before, which fills the memories", ylabel="p99 of the wait, s"
    )
    shares.set(xscale="log", xlabel="wait until the first step, s", ylabel="share of all runs")
    for axes in (demand, waits, shares):
        axes.grid(visible=True, alpha=0.3)
    waits.legend()
    shares.legend()
    figure.savefig(path)
    plt.close(figure)
