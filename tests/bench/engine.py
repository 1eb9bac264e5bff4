"""The batching engine's table, in three parts that each take a few minutes."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from tests.bench.engine_parts import adapters, images, latency, steps
from tests.bench.engine_parts.place import Place
from tests.bench.engine_parts.plot import plot
from tests.bench.report import Report


def run(report: Report) -> None:
    """Steps, adapters and memory."""
    _measure(report, [steps.measure, adapters.measure])


def run_images(report: Report) -> None:
    """Throughput, and a run alone."""
    _measure(report, [images.measure])


def run_latency(report: Report) -> None:
    """Latency under load."""
    _measure(report, [latency.measure])


def _measure(report: Report, parts: list[Callable[[Report, Place], None]]) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        place = Place(Path(folder))
        for measure in parts:
            measure(report, place)
        place.close()
    plot(report.path, report.path.with_suffix(".svg"))
