"""Images a second of mixed traffic, all waiting at once, and one run alone; on one core."""

from __future__ import annotations

import asyncio

from services.worker.engine.base import DrawRequest
from tests.bench.engine_parts.place import Draw, Place, one_core, ratio, request_of, stock_image, traffic
from tests.bench.report import Report

LEARNING_ROUNDS = 2


def measure(report: Report, place: Place) -> None:
    """Ours against both usual ways, and alone."""
    with one_core():
        _mixed(report, place, 8, must=3.0, aim=6.0)
        _mixed(report, place, 16, must=1.7, aim=2.8)
        found = ratio(
            lambda requests: _each(requests, place.reload),
            place.together,
            lambda pair: traffic(place.files, 64, seed=pair),
        )
        report.figure("images_ours_over_reload_8x8", found, "ratio", at_least=4.0, aim=8.0)
        _single(report, place)


def _mixed(report: Report, place: Place, side: int, *, must: float, aim: float) -> None:
    # How many rows a size is worth is learnt from its steps: let it happen before.
    for turn in range(LEARNING_ROUNDS):
        place.together(traffic(place.files, side * 8, seed=-1 - turn))
    with place.usual(place.files) as usual:
        found = ratio(
            lambda requests: _each(requests, usual),
            place.together,
            lambda pair: traffic(place.files, side * 8, seed=side + pair),
        )
    report.figure(f"images_ours_over_usual_{side}x{side}", found, "ratio", at_least=must, aim=aim)
    report.figure(f"rows_per_step_{side}x{side}", place.model.row_cap(side, side).rows, "rows")


def _single(report: Report, place: Place) -> None:
    """One run after the other; the stock pipeline's LoRA was chosen before."""

    async def one_by_one(requests: list[DrawRequest]) -> None:
        for request in requests:
            await place.draw(request)

    with place.usual(place.files[:1]):
        place.pipeline.set_adapters("a0", 0.8)
        found = 1 / ratio(
            lambda requests: _each(requests, lambda request: stock_image(place.pipeline, request)),
            lambda requests: asyncio.run(one_by_one(requests)),
            lambda pair: [request_of(place.files[0], 0.8, 7.5, 20, 9000 + 10 * pair + run, 64) for run in range(3)],
        )
    report.figure("single_run_ours_over_stock", found, "ratio", at_most=1.10, aim=0.95)


def _each(requests: list[DrawRequest], draw: Draw) -> None:
    for request in requests:
        draw(request)
