"""The names that a request may ask a scheduler by, and the diffusers classes behind them.

A scheduler keeps state over a run's steps, so each run gets its own, built from the base model's configuration.
"""

from __future__ import annotations

from typing import Any, Final

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)

from services.worker.engine.base import SchedulerUnknown

CLASSES: Final[dict[str, Any]] = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler_ancestral": EulerAncestralDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
    "lcm": LCMScheduler,
}


def build(name: str, base_config: Any) -> Any:
    """Make a fresh scheduler of this name with the noise schedule of `base_config`.

    Raises:
        SchedulerUnknown: if there is none of this name.
    """
    if name not in CLASSES:
        raise SchedulerUnknown(f"There is no scheduler '{name}'; there are {', '.join(CLASSES)}.")
    return CLASSES[name].from_config(base_config)
