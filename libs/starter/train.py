"""Runs the training recipe stage by stage: `python -m libs.starter.train [stage …]`."""

import argparse
import os
import signal
from pathlib import Path

from . import autoencoder
from .parallel import train

STAGES = ("autoencoder",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", default=STAGES)
    stages = parser.parse_args().stages
    work = Path(os.environ.get("IMAGINEO_STARTER_WORK", ".imagineo/starter"))
    work.mkdir(parents=True, exist_ok=True)
    if "autoencoder" in stages:
        train(autoencoder.BuildAutoencoder(work), autoencoder.PLAN, work / "autoencoder.pt")


if __name__ == "__main__":
    main()
