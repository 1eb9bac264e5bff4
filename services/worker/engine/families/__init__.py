"""What differs between families of base models, by family: text encoding, latents, denoising, decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.worker.engine.families.flux import FLUX
from services.worker.engine.families.port import Family
from services.worker.engine.families.sd import SD
from services.worker.engine.families.sd3 import SD3
from services.worker.engine.families.sdxl import SDXL

FAMILIES: Final[Mapping[str, Family]] = {"sd": SD, "sdxl": SDXL, "sd3": SD3, "flux": FLUX}
