"""The Engine port: what the worker asks of its device, and what it gets. Pure: no torch, no clock, no I/O.

Any number of `draw` calls may be awaited side by side; an engine takes `slots` of them into the device at once and
lets the rest wait. So an engine that draws one by one and one that batches steps look alike from here.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

#: The last of an engine's slots are for runs beyond those that a step carries, whose text is encoded or picture decoded
#: meanwhile: one more would wait for a step.
AHEAD_COUNT: Final = 2


class StopReason(enum.Enum):
    """Why a run that is being drawn should stop at its next step."""

    CANCELED = "canceled"
    """Its owner canceled it: say so."""
    LOST = "lost"
    """Another worker has it, or it is over: say nothing."""
    DRAINING = "draining"
    """This worker ends: hand the run back."""


class StopSignal:
    """Asks one run to stop. Any thread may set or read it; the first reason stays."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._listeners: list[Callable[[], object]] = []

    def set(self, reason: StopReason) -> None:
        """Ask to stop; a later reason changes nothing."""
        if self.reason is None:
            self.reason = reason
            for listener in tuple(self._listeners):
                listener()

    @contextlib.contextmanager
    def calling(self, listener: Callable[[], object]) -> Iterator[None]:
        """Have `listener` called, on whatever thread, when it is asked to stop while the block runs, or was before."""
        self._listeners.append(listener)
        try:
            if self.reason is not None:
                listener()
            yield
        finally:
            self._listeners.remove(listener)


class DrawStopped(Exception):
    """The run stopped at a step boundary because its stop signal was set; nothing was decoded."""

    def __init__(self, state: bytes | None = None) -> None:
        super().__init__()
        self.state = state
        """Of a run that is handed back: what another worker goes on from, as the next request's `resume`."""


@dataclass(frozen=True, slots=True)
class BaseModelFiles:
    """A base model in a local directory, with what its manifest says of sizes."""

    slug: str
    directory: Path
    family: str = "sd"
    native_px: int = 512
    upscales: bool = False
    """Whether it is drawn near its native size and then upscaled; otherwise at the size asked."""
    upscaler: str = ""
    """The upscaler's path inside the directory."""


@dataclass(frozen=True, slots=True)
class AdapterUse:
    """A LoRA file, verified and local, with its weight in one run."""

    model_id: str
    sha256: str
    path: Path
    weight: float


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A picture that a run starts from: rows of 8-bit red, green, blue, top to bottom."""

    width_px: int
    height_px: int
    rgb: bytes
    strength: float = 1.0
    """0 to 1: how much is drawn anew, as the share of the steps that are made. Where that is no step the source is the
    picture, untouched but for its size: for UNets below one step, for transformers at 0."""
    mask: bytes | None = None
    """For inpainting, of the source's size: a byte a pixel, 255 to draw it anew, 0 to keep it."""


@dataclass(frozen=True, slots=True)
class UpscaleRequest:
    """All that decides one enlarged picture."""

    run_id: str
    base_model_slug: str
    """Whose upscaler enlarges; without one it is Lanczos."""
    width_px: int
    height_px: int
    rgb: bytes
    """The picture: rows of 8-bit red, green, blue, top to bottom."""
    scale: int
    """2 or 4."""


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """All that decides one picture."""

    run_id: str
    base_model_slug: str
    positive_prompt: str
    negative_prompt: str
    adapters: tuple[AdapterUse, ...]
    guidance: float
    width_px: int
    height_px: int
    steps: int
    seed: int
    scheduler: str
    source: SourceImage | None = None
    """What it starts from; without one it starts from noise."""
    organization_id: str = ""
    """Who gets a fair share of the device beside the other organizations."""
    deadline_s: float | None = None
    """When it should have begun, in seconds since the epoch."""
    resume: bytes | None = field(default=None, repr=False)
    """Where a worker that ended left it; without it, or where it does not fit, it is drawn from its start."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A small picture of a run that is not done: rows of 8-bit red, green, blue, top to bottom."""

    width_px: int
    height_px: int
    rgb: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come."""

    step: int
    steps: int
    remaining_s: float
    sketch: Callable[[], Future[Sketch]] | None = field(default=None, compare=False, repr=False)
    """Has a sketch made on another thread. To be called within `on_progress`; None where there is none."""


@dataclass(frozen=True, slots=True)
class AdapterReport:
    """How many of a LoRA's tensors were applied, and how many were not."""

    model_id: str
    weight: float
    matched_keys: int
    ignored_keys: int


@dataclass(frozen=True, slots=True)
class DrawResult:
    """A picture: rows of 8-bit red, green, blue, top to bottom."""

    width_px: int
    height_px: int
    rgb: bytes
    adapter_reports: tuple[AdapterReport, ...] = ()
    stage_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds on the device by stage: load, text, denoise, decode, upscale."""

    @property
    def device_s(self) -> float:
        """Seconds that the device worked on it."""
        return sum(self.stage_s.values())


@dataclass(frozen=True, slots=True)
class AdapterFigures:
    """The memory of LoRAs."""

    device_bytes: int
    """What they take of the device, used and free slots."""
    device_limit_bytes: int
    host_bytes: int
    """What they take of the host's memory beside that: read ahead of their run, or kept for the next."""
    found: Mapping[str, int] = field(default_factory=dict)
    """How many adapters runs have found on the `device`, in the `host`, on their way there (`reading`), on `disk`."""


class Engine(Protocol):
    """One device. All methods are called on the event loop and never block it."""

    @property
    def slots(self) -> int:
        """How many runs it draws at once."""

    @property
    def device_name(self) -> str:
        """What draws, such as `cpu` or the GPU's name."""

    @property
    def dtype_name(self) -> str:
        """The numbers that it draws with, such as `float32`."""

    @property
    def busy_s(self) -> float:
        """For how long the device has been at its current piece of work; 0 while it waits. From any thread."""

    @property
    def is_broken(self) -> bool:
        """Whether it can draw no more, ever. From any thread."""

    @property
    def adapter_figures(self) -> AdapterFigures:
        """The memory of LoRAs as it stands."""

    @property
    def warm_sha256s(self) -> frozenset[str]:
        """Digests of the LoRA files that it holds in memory."""

    async def open(self, base: BaseModelFiles) -> None:
        """Load a base model; a second call for a slug changes nothing.

        Raises:
            BaseModelBroken: if the directory does not load.
            OutOfMemory: if the device does not hold it beside the others.
            DeviceBroken: if the device is.
        """

    async def read_ahead(self, base_model_slug: str, adapter: AdapterUse) -> None:
        """Have a LoRA in memory that a run will hold soon; the last cancelled call for it ends the reading.

        Raises:
            DrawFailed: if it cannot be read.
        """

    async def draw(
        self, request: DrawRequest, *, stop: StopSignal, on_progress: Callable[[Progress], None]
    ) -> DrawResult:
        """Draw one picture. `on_progress` is called on the device's thread, once a step.

        A cancelled call sets `stop` for LOST and leaves nothing behind.

        Raises:
            DrawStopped: if `stop` was set before the last step.
            DrawFailed: if it cannot be drawn, be it alone on the device; the engine is as good as before.
            DeviceBroken: if the device is; the run is not at an end.
        """

    async def upscale(
        self, request: UpscaleRequest, *, stop: StopSignal, on_progress: Callable[[Progress], None]
    ) -> DrawResult:
        """Enlarge one picture; its steps are tiles, and `on_progress` is called after each, on the event loop.

        A cancelled call sets `stop` for LOST and leaves nothing behind.

        Raises:
            DrawStopped: if `stop` was set before the last tile.
            DrawFailed: if it cannot be enlarged; the engine is as good as before.
            DeviceBroken: if the device is; the run is not at an end.
        """

    async def close(self) -> None:
        """Let go of the device. Running draws must have ended."""
