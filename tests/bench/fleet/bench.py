"""`make bench ARGS=fleet`: a day of 1,000 GPUs under the platform's rules and the usual ones, and what each brings."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Final

from tests.bench.fleet.autoscaler import Autoscaler
from tests.bench.fleet.device import Device
from tests.bench.fleet.plot import plot
from tests.bench.fleet.traffic import DAY_S, Scale, traffic
from tests.bench.fleet.variants import RULES, USUAL, Verdict, made, outcome_of, runs_per_s, verdict
from tests.bench.report import Report
from tests.support.chart import render

#: The evening before, which fills the memories.
WARM_S: Final = 6 * 3_600.0
FULL: Final = Scale(
    devices=1_000, loras=100_000, tenants=5_000, seconds=WARM_S + DAY_S, begins_s=DAY_S - WARM_S, warm_s=WARM_S
)
#: A tenth of it in every respect but the size of batches, which weigh ten times as much here.
TENTH: Final = Scale(
    devices=100, loras=10_000, tenants=500, seconds=WARM_S + DAY_S, begins_s=DAY_S - WARM_S, warm_s=WARM_S
)
SEEDS: Final = (1, 2, 3)


def run(report: Report) -> None:
    """The whole fleet for one seed, and every variant on a tenth of it for three."""
    device = Device()
    _whole(report, device, 1, draws=True)
    _tenth(report, device)
    _scaled(report, device)


def run_seeds(report: Report) -> None:
    """The whole fleet for the other seeds."""
    for seed in SEEDS[1:]:
        _whole(report, Device(), seed, draws=False)


def _whole(report: Report, device: Device, seed: int, *, draws: bool) -> None:
    requests = made(device, FULL, seed)
    outcomes = {name: outcome_of(name, device, FULL, requests, seed) for name in ("ours", USUAL)}
    found = {name: verdict(outcome, requests, WARM_S) for name, outcome in outcomes.items()}
    ours, other, of = found["ours"], found[USUAL], f"seed_{seed}"
    report.figure(f"fleet_runs_{of}", ours.runs_count, "runs")
    for name, one in found.items():
        _lines(report, f"fleet_{name}_{of}", one)
    report.figure(f"fleet_wait_p99_usual_over_ours_{of}", other.wait_p99_s / ours.wait_p99_s, "ratio", at_least=3)
    report.figure(f"fleet_hit_rate_{of}", ours.hit_rate, "ratio", at_least=0.9)
    report.figure(f"fleet_jain_{of}", ours.fairness.jain, "ratio", at_least=0.95)
    if draws:
        plot({name: (outcomes[name], one) for name, one in found.items()}, requests, report.path.with_suffix(".svg"))


def _tenth(report: Report, device: Device) -> None:
    found: dict[str, list[Verdict]] = {name: [] for name in (*RULES, USUAL)}
    for seed in SEEDS:
        requests = made(device, TENTH, seed)
        for name, verdicts in found.items():
            verdicts.append(verdict(outcome_of(name, device, TENTH, requests, seed), requests, WARM_S))
    for name, verdicts in found.items():
        for key in ("wait_p50_s", "wait_p99_s", "picture_p99_s", "hit_rate", "at_once_rate", "utilisation"):
            _range(report, f"tenth_{name}_{key}", [getattr(one, key) for one in verdicts])
        _range(report, f"tenth_{name}_jain", [one.fairness.jain for one in verdicts])


def _scaled(report: Report, device: Device) -> None:
    """The same day with as many pods as the chart's rule wants."""
    manifest = render("gpu-pools").one("ScaledObject", "worker-flux")
    scaler = Autoscaler.of(manifest)
    scaler = replace(scaler, minimum=1, maximum=TENTH.devices, target=device.slots)
    requests = traffic(TENTH, runs_per_s(device, TENTH), SEEDS[0])
    _lines(
        report, "tenth_autoscaled", verdict(outcome_of("ours", device, TENTH, requests, 1, scaler), requests, WARM_S)
    )


def _lines(report: Report, name: str, one: Verdict) -> None:
    report.figure(f"{name}_wait_p50", one.wait_p50_s, "s")
    report.figure(f"{name}_wait_p99", one.wait_p99_s, "s")
    report.figure(f"{name}_picture_p99", one.picture_p99_s, "s")
    report.figure(f"{name}_utilisation", one.utilisation, "ratio")
    report.figure(f"{name}_hit_rate", one.hit_rate, "ratio")
    report.figure(f"{name}_at_once_rate", one.at_once_rate, "ratio")
    report.figure(f"{name}_jain", one.fairness.jain, "ratio")
    report.figure(f"{name}_crowded_minutes", one.fairness.crowded_minutes, "minutes")
    report.figure(f"{name}_device_hours", one.device_hours, "h")


def _range(report: Report, name: str, values: list[float]) -> None:
    """The median over the seeds, the least and the most."""
    for word, value in (("median", statistics.median(values)), ("least", min(values)), ("most", max(values))):
        report.figure(f"{name}_{word}", value, "s" if name.endswith("_s") else "ratio")
