"""What differs between families of base models, by family: text encoding, latents, denoising, decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.worker.engine.families.port import Family
from services.worker.engine.families.sd import SD

FAMILIES: Final[Mapping[str, Family]] = {"sd": SD}
