"""Draws the training logs as one small picture: the loss of each stage over its steps."""

import json
import math
from pathlib import Path

from PIL import Image, ImageDraw

PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 300, 200, 36
INK, LINE, GRID = (60, 60, 60), (30, 110, 200), (225, 225, 225)


def points(log: Path) -> list[tuple[int, float]]:
    """(step, loss) of a stage's log; of a step logged twice, the later."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return sorted({line["step"]: line["loss"] for line in lines}.items())


def panel(title: str, curve: list[tuple[int, float]]) -> Image.Image:
    """One curve on a logarithmic scale, with its ends written out."""
    page = Image.new("RGB", (PANEL_WIDTH, PANEL_HEIGHT), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    low = math.log10(min(loss for _, loss in curve))
    high = math.log10(max(loss for _, loss in curve))
    last = curve[-1][0]
    left, right, top, bottom = MARGIN, PANEL_WIDTH - 12, MARGIN - 10, PANEL_HEIGHT - MARGIN

    def place(step: float, loss: float) -> tuple[float, float]:
        x = left + (right - left) * step / max(1, last)
        y = bottom - (bottom - top) * (math.log10(loss) - low) / max(1e-6, high - low)
        return x, y

    for part in range(5):
        value = 10 ** (low + (high - low) * part / 4)
        _, y = place(0, value)
        pen.line([(left, y), (right, y)], fill=GRID)
        pen.text((2, y - 6), f"{value:.3g}", fill=INK)
    pen.line([place(step, loss) for step, loss in curve], fill=LINE, width=2)
    pen.text((left, 6), title, fill=INK)
    pen.text((left, bottom + 8), "0", fill=INK)
    pen.text((right - 70, bottom + 8), f"{last} steps", fill=INK)
    return page


def draw(work: Path, target: Path, stages: tuple[str, ...] = ("autoencoder", "denoiser", "upscaler")) -> None:
    """Writes the curves of the stages that have a log, side by side."""
    logs = [work / f"{stage}.log" for stage in stages]
    panels = [panel(f"{log.stem}: loss", points(log)) for log in logs if log.exists()]
    if not panels:
        return
    page = Image.new("RGB", (PANEL_WIDTH * len(panels), PANEL_HEIGHT))
    for place, part in enumerate(panels):
        page.paste(part, (place * PANEL_WIDTH, 0))
    page.quantize(32).save(target, optimize=True)
