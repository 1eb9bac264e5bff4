"""Measures the shipped weights: `python -m libs.starter.evaluate`; prints one JSON object a line.

Reads only `weights/` and the reference pictures. Lines and contact sheets are kept under
`.imagineo/bench/`; `measures` holds what is measured.
"""

import argparse
import json
import os
import platform
from pathlib import Path

import diffusers
import torch
from PIL import Image

from .export import WEIGHTS
from .measures import MEASURES, Line, Studio
from .pictures import Pixels


def sheet(pictures: Pixels, columns: int) -> Image.Image:
    """Lays pictures (batch, side, side, 3) out in rows."""
    side = pictures.shape[1]
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * side, rows * side), (255, 255, 255))
    for place, picture in enumerate(pictures):
        page.paste(Image.fromarray(picture), (place % columns * side, place // columns * side))
    return page


def machine() -> dict[str, object]:
    """What the numbers were taken on."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Runs all measures, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measures", nargs="*", choices=[[], *MEASURES], help="default: all")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=Path(".imagineo/bench"))
    arguments = parser.parse_args()
    work = Path(os.environ.get("IMAGINEO_STARTER_WORK", ".imagineo/starter")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    studio = Studio(work, arguments.weights)
    with (arguments.out / "starter-eval.jsonl").open("w") as log:

        def say(line: dict[str, object]) -> None:
            print(json.dumps(line), flush=True)
            log.write(json.dumps(line) + "\n")

        say(machine())
        for name in arguments.measures or MEASURES:
            lines: list[Line] = MEASURES[name](studio)
            for line in lines:
                say(line.as_json())
            log.flush()
            while studio.sheets:
                title, (pictures, columns) = studio.sheets.popitem()
                sheet(pictures, columns).save(arguments.out / f"starter-{title}.png")


if __name__ == "__main__":
    main()
