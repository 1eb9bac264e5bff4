"""How a run, a base model or the device may fail. Pure.

ImagineoError
DrawFailed           of one picture or one base model; the engine is as good as before
DeviceBroken           of the device; no run is at an end by it
"""

from __future__ import annotations

from typing import ClassVar

from imagineo.errors import ImagineoError


class DrawFailed(ImagineoError):
    """The picture could not be drawn."""

    run_code: ClassVar[str] = "internal_error"


class AdapterIncompatible(DrawFailed):
    """The LoRA does not fit the base model."""

    run_code = "lora_incompatible"


class AdapterMissing(DrawFailed):
    """The LoRA's file is not in the store any more."""

    run_code = "adapter_missing"


class OutOfMemory(DrawFailed):
    """The device's memory does not hold this picture; ask for a smaller one."""

    run_code = "out_of_memory"

    def __init__(self, message: str | None = None, *, is_even_alone: bool = False) -> None:
        super().__init__(message)
        self.is_even_alone = is_even_alone
        """Whether nothing would change if there were no other run on the device."""


class NotFinite(DrawFailed):
    """The numbers ran away while drawing; a lower LoRA weight or guidance may help."""

    run_code = "not_finite"


class SchedulerUnknown(DrawFailed):
    """The base model is not drawn with this scheduler."""

    run_code = "scheduler_unknown"


class SourceMissing(DrawFailed):
    """The picture that the run starts from is not in the store any more."""

    run_code = "source_missing"


class SourceUnsupported(DrawFailed):
    """The base model does not draw from such a source: only UNets keep what a mask says."""

    run_code = "source_unsupported"


class BaseModelBroken(DrawFailed):
    """The base model's files cannot be loaded."""

    run_code = "base_model_broken"


class DeviceBroken(Exception):
    """The device does not compute any more; its process ends, and another worker draws the run."""

    def __init__(self, *, is_suspect: bool = False) -> None:
        super().__init__()
        self.is_suspect = is_suspect
        """Whether the run was at work when it broke, and so may be what breaks devices."""
