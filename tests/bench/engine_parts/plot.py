"""The table of a benchmark as a picture: how far each bounded figure is from what it must reach."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.sax.saxutils import escape

_ROW_PX, _LEFT_PX, _WIDTH_PX = 26, 300, 860
_DECADE_PX = 220


def plot(lines: Path, picture: Path) -> None:
    """Write an SVG: a bar for each figure with a bound, its length the margin to the bound on a log scale."""
    figures = [json.loads(line) for line in lines.read_text().splitlines()]
    bounded = [one for one in figures if one.get("must")]
    height_px = _ROW_PX * (len(bounded) + 2)
    zero_px = _LEFT_PX + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH_PX}" height="{height_px}">',
        "<style>text { font: 12px sans-serif }</style>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<line x1="{zero_px}" x2="{zero_px}" y1="20" y2="{height_px - 10}" stroke="#888"/>',
        f'<text x="{zero_px}" y="15" text-anchor="middle" fill="#555">must</text>',
    ]
    for row, one in enumerate(bounded, start=1):
        margin = _margin(one)
        length_px = max(-50.0, min(_WIDTH_PX - zero_px - 90.0, math.log10(margin) * _DECADE_PX))
        start_px, top_px = min(zero_px, zero_px + length_px), row * _ROW_PX
        color = "#2a7" if one["holds"] else "#c33"
        text = f"{one['value']:g} {one['unit'] if one['unit'] != 'ratio' else ''} (must {one['must']})"
        parts += [
            f'<text x="{_LEFT_PX - 8}" y="{top_px + 14}" text-anchor="end">{escape(one["name"])}</text>',
            f'<rect x="{start_px:.0f}" y="{top_px + 3}" width="{abs(length_px):.0f}" height="15" fill="{color}"/>',
            f'<text x="{max(zero_px, zero_px + length_px) + 6:.0f}" y="{top_px + 15}">{escape(text)}</text>',
        ]
    picture.write_text("\n".join([*parts, "</svg>"]))


def _margin(figure: dict[str, object]) -> float:
    """How many times better than the bound; 1 is just there."""
    sign, bound = str(figure["must"]).split()
    value, limit = max(float(str(figure["value"])), 1e-3), float(bound)
    return value / limit if sign == ">=" else limit / value
