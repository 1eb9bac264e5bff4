"""The seam between the engine and a family of base models: what differs from family to family, and nothing else.

A family is four modules of the same names in a folder of its own, each with the functions below, tied together in the
folder's `__init__.py`. The engine handles latents as (rows, channels, height, width) and conditions row by row; how a
family packs either for its denoiser is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from services.worker.engine.sizing import Size

#: What steers rows: tensors by name, each (rows, …). All rows of a base model have the same names and shapes.
Conditions = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says about how its rows are steered."""

    positive_prompt: str
    negative_prompt: str
    guidance: float
    size: Size
    """The size that is drawn."""


class TextEncoding(Protocol):
    """`text_encoding.py`: prompts to conditions."""

    def encode(self, pipeline: Any, prompt: str) -> Conditions:
        """What the text encoders make of one prompt: one row. It is kept and given again for the same prompt."""

    def rows(self, pipeline: Any, asked: Asked, encode: Callable[[str], Conditions]) -> tuple[Conditions, ...]:
        """The conditional row, and where there is guidance by a second pass, the unconditional one.

        `encode` is the function above, kept results first.
        """


class Latents(Protocol):
    """`latents.py`: the form of what is denoised."""

    def shape(self, pipeline: Any, size: Size) -> tuple[int, int, int, int]:
        """The latents' shape at a size: (1, channels, height, width)."""

    def schedule(self, pipeline: Any, size: Size, steps: int) -> Mapping[str, Any]:
        """What a scheduler's `set_timesteps` takes beside the number of steps; all values are hashable."""

    def first_step(self, steps: int, strength: float) -> int:
        """Which step is the first of a run from a picture, counted from 0; `steps` where none is made."""

    def scaled(self, vae: Any, sample: Tensor) -> Tensor:
        """The latents that an autoencoder makes of a picture, as large as the denoiser takes them."""


class Denoising(Protocol):
    """`denoising.py`: the denoiser for rows that differ in everything."""

    def forward(self, pipeline: Any, rows: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        """The denoiser's output for rows (rows, channels, height, width): the same shape.

        timesteps: (rows,) float32, as the schedulers count them.
        """


class Decoding(Protocol):
    """`decoding.py`: latents to pictures."""

    def decode(self, pipeline: Any, latents: Tensor) -> list[Image.Image | None]:
        """Decode (batch, channels, height, width) to RGB pictures; None for each whose numbers are not all finite."""


def _as_they_are(_pipeline: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors


@dataclass(frozen=True, slots=True)
class Family:
    """A family of base models."""

    pipeline_class: Any
    """The stock pipeline: it loads the parts, and is the oracle of the tests."""
    pipeline_arguments: Mapping[str, Any]
    """What `from_pretrained` is told beside the directory."""
    denoiser: str
    """The denoiser's name in the pipeline."""
    text_encoders: tuple[str, ...]
    """Names of the text encoders that LoRAs may change; a pipeline may lack some."""
    schedulers: Mapping[str, Any]
    """diffusers' scheduler classes by the names that requests have for them."""
    grid_px: int
    """Sides of pictures are multiples of it."""
    text_encoding: TextEncoding
    latents: Latents
    denoising: Denoising
    decoding: Decoding
    rename_lora: Callable[[Any, dict[str, Tensor]], dict[str, Tensor]] = _as_they_are
    """A LoRA file's tensors by the names of diffusers' or PEFT's, where the family has namings of its own."""
    float32_parts: tuple[str, ...] = ()
    """Parts that overflow in half precision where their configuration says `force_upcast`."""
    takes_masks: bool = False
    """Whether a run that starts from a picture may keep a part of it."""

    def denoiser_of(self, pipeline: Any) -> Any:
        """The denoiser in a pipeline."""
        return getattr(pipeline, self.denoiser)

    def text_encoders_of(self, pipeline: Any) -> dict[str, Any]:
        """The text encoders in a pipeline that LoRAs may change, by name."""
        found = {name: getattr(pipeline, name, None) for name in self.text_encoders}
        return {name: encoder for name, encoder in found.items() if encoder is not None}
