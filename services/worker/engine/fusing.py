"""Fused weights: where all runs on a denoiser carry the same LoRAs at the same weights, its layers need add nothing.

W + sum of weight * B A is computed from the base model's own weights, which nothing ever writes to, into tensors beside
them; layers are pointed at these and back again. So going back is exact, however often. It is done while runs are in
company, where it is measured to save more than it takes; a run that is alone keeps its bits.
"""

from __future__ import annotations

import collections
import logging
import statistics
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

import torch
from torch import Tensor

from services.worker.engine import memory
from services.worker.engine.device_clock import DeviceClock
from services.worker.engine.lora_layers import BankLayer, RowLora

log = logging.getLogger(__name__)

#: A step's latent height and width and its rows: what decides how long it takes.
StepKind = tuple[int, int, int]

#: Steps that a kind is judged by, the middle one of them; fewer say nothing.
_KEPT: Final = 9
_FEWEST: Final = 3
#: What is not measured yet is tried where it lasts at least so many steps.
_TRIAL_STEPS: Final = 6
#: They may take so much of the memory that is left: decoding and LoRAs to come go before.
_MOST_OF_SPARE: Final = 0.25
#: For so many steps nothing is fused after memory ran out over it; twice as long after each time.
FIRST_REST: Final = 256
_LONGEST_REST: Final = 8192


class Gain:
    """Whether fusing pays, by what steps with and without it took, and by what the fusing took. Pure."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[StepKind, bool], collections.deque[float]] = {}
        self._fusing_s: float | None = None

    def note_step(self, kind: StepKind, seconds: float, *, is_fused: bool) -> None:
        """Take in how long a step took whose rows all carried the same LoRAs."""
        self._seconds.setdefault((kind, is_fused), collections.deque(maxlen=_KEPT)).append(seconds)

    def note_fusing(self, seconds: float) -> None:
        """Take in how long it took to fuse."""
        self._fusing_s = seconds

    def pays(self, ahead: Mapping[StepKind, int], *, is_made: bool) -> bool:
        """Whether the steps ahead, by kind, are made sooner with fused weights, which may be there already."""
        if any(self._middle(kind, is_fused=False) is None for kind in ahead):
            return is_made and all(self._middle(kind, is_fused=True) is not None for kind in ahead)
        ratios = [self._ratio(kind) for kind in ahead]
        if None in ratios:
            return is_made or all(steps >= _TRIAL_STEPS for steps in ahead.values())
        saved_s = sum(
            steps * (self._middle(kind, is_fused=False) or 0.0) * (1 - (ratio or 1.0))
            for (kind, steps), ratio in zip(ahead.items(), ratios, strict=True)
        )
        return saved_s > (0.0 if is_made else self._fusing_s or 0.0)

    def _ratio(self, kind: StepKind) -> float | None:
        """A fused step's time over one that is not."""
        fused_s, plain_s = self._middle(kind, is_fused=True), self._middle(kind, is_fused=False)
        return fused_s / plain_s if fused_s is not None and plain_s else None

    def _middle(self, kind: StepKind, *, is_fused: bool) -> float | None:
        seconds = self._seconds.get((kind, is_fused), ())
        return statistics.median(seconds) if len(seconds) >= _FEWEST else None


class Judge(Protocol):
    """What decides whether to fuse."""

    def note_step(self, kind: StepKind, seconds: float, *, is_fused: bool) -> None:
        """A step's seconds."""

    def note_fusing(self, seconds: float) -> None:
        """The fusing's seconds."""

    def pays(self, ahead: Mapping[StepKind, int], *, is_made: bool) -> bool:
        """Whether to."""


class FusedWeights:
    """The fused weights of one denoiser. Used on the step loop's thread alone."""

    def __init__(self, layers: Mapping[str, BankLayer]) -> None:
        self._layers = layers
        self._weights: dict[str, Tensor] = {}
        self.name: object = None
        """Of the LoRAs that the weights carry; None: there are none."""

    def bytes_for(self, lora: RowLora) -> int:
        """How much memory the weights take that carry a LoRA."""
        return sum(self._layers[place.module].weight.nbytes for place in lora.layout.places)

    def make(self, lora: RowLora) -> None:
        """Compute the weights that carry a LoRA; layers that are pointed at others must be pointed back before."""
        self.name = None
        modules = {place.module for place in lora.layout.places}
        self._weights = {module: weight for module, weight in self._weights.items() if module in modules}
        downs, ups = lora.layout.downs(lora.down[None]), lora.layout.ups(lora.up[None])
        for place, down, up in zip(lora.layout.places, downs, ups, strict=True):
            base = self._layers[place.module].weight
            if place.module not in self._weights:
                self._weights[place.module] = torch.empty_like(base)
            # In float32, so that where the weights are of less precision they are rounded once.
            delta = torch.mm(up[0].T.float() * lora.weight, down[0].float())
            self._weights[place.module].copy_(base.float() + delta.view_as(base))
        self.name = lora.name

    def point(self, is_on: bool) -> None:
        """Let the layers compute with these weights, or with their own again."""
        for module, layer in self._layers.items():
            layer.fused = self._weights.get(module) if is_on else None

    def drop(self) -> None:
        """Give their memory back."""
        self.point(False)
        self._weights.clear()
        self.name = None


class Fusing:
    """Decides between two steps whether the next ones are made with fused weights."""

    def __init__(
        self,
        weights: FusedWeights,
        clock: DeviceClock,
        spare_bytes: Callable[[], int],
        *,
        is_possible: bool = True,
    ) -> None:
        """`spare_bytes` tells how much memory the device has left."""
        self._weights = weights
        self._spare_bytes = spare_bytes
        self._clock = clock
        self.gain: Judge = Gain()
        self._wanted: object = None
        self._is_on = False
        self._is_possible = is_possible
        self._rest = 0
        self._next_rest = FIRST_REST

    def consider(self, loras: Collection[RowLora | None], ahead: Mapping[StepKind, int]) -> None:
        """Choose for the steps ahead, counted by kind; `loras` are those of all runs that step or wait."""
        self._wanted = None
        if self._rest:
            self._rest -= 1
            return
        sole = sole_lora(loras) if len(loras) > 1 else None
        if sole is None or not self._is_possible:
            return
        is_made = self._weights.name == sole.name
        if not self.gain.pays(ahead, is_made=is_made) or not (is_made or self._made(sole)):
            return
        self._wanted = sole.name

    def serves(self, lora: RowLora | None) -> bool:
        """Whether rows that all carry this are stepped with fused weights now."""
        return lora is not None and self._wanted is not None and lora.name == self._wanted

    def point(self, is_on: bool) -> None:
        """Let the layers compute with fused weights, or with their own."""
        if is_on != self._is_on:
            self._weights.point(is_on)
            self._is_on = is_on

    def note_step(self, kind: StepKind, seconds: float) -> None:
        """Take in how long the step that was just made took, whose rows all carried the same."""
        self.gain.note_step(kind, seconds, is_fused=self._is_on)

    def drop(self) -> None:
        """Give the memory back."""
        self._weights.drop()
        self._wanted, self._is_on = None, False

    def yield_memory(self) -> None:
        """Give the memory back, which ran out; where there was any, take none for a while."""
        if self._weights.name is not None:
            self._rest_a_while()
        self.drop()

    def _rest_a_while(self) -> None:
        self._rest = self._next_rest
        self._next_rest = min(_LONGEST_REST, 2 * self._next_rest)

    def _made(self, lora: RowLora) -> bool:
        self.point(False)
        if self._weights.bytes_for(lora) > self._spare_bytes() * _MOST_OF_SPARE:
            self.drop()
            return False
        try:
            seconds = self._clock.start()
            self._weights.make(lora)
            fusing_s = seconds()
        except Exception as problem:
            self.drop()
            if not memory.is_out_of_memory(problem):
                raise
            self._rest_a_while()
            log.warning("there is no memory for fused weights; %d steps are made without them", self._rest)
            return False
        self.gain.note_fusing(fusing_s)
        return True


def sole_lora(loras: Collection[RowLora | None]) -> RowLora | None:
    """What all of them carry, if it is the same."""
    first = next(iter(loras), None)
    if first is None or first.name is None:
        return None
    return first if all(one is not None and one.name == first.name for one in loras) else None
