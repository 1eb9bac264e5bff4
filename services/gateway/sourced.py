"""The bodies of requests that begin from a picture: variations and upscales, of a run or of an upload. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from imagineo import errors
from imagineo.egress import urls
from imagineo.v1 import generation_pb2

from services.gateway.beginning import wanted_like
from services.gateway.fields import Check, missing, number, text, whole
from services.gateway.submission import MAX_SEED, REQUIRED, Wanted, checked, decode_object, fields_within

MAX_COUNT: Final = 8
DEFAULT_STRENGTH: Final = 0.6
SCALES: Final = (2, 4)

#: As long as an upload's file as text, and its prefix.
_DATA_URL_CHARACTERS: Final = 26_700_000

DATA_URL: Final = "a data URL such as data:image/png;base64,…"


@dataclass(frozen=True, slots=True)
class Sourced:
    """What is asked for, as far as can be told without the picture."""

    values: Mapping[str, Any]
    """The given fields, checked."""
    run_id: str = ""
    upload_id: str = ""
    image: str = ""
    """A data URL; exactly one of the three is given."""
    count: int = 1
    strength: float = DEFAULT_STRENGTH
    scale: int = 0
    dry_run: bool = False

    @property
    def kind(self) -> generation_pb2.SourceKind.ValueType:
        """What is made of the picture."""
        return generation_pb2.SOURCE_KIND_UPSCALE if self.scale else generation_pb2.SOURCE_KIND_VARIATION


def _scale(param: str, value: object) -> int:
    if type(value) not in (int, float) or value not in SCALES:
        raise errors.InvalidParameter.of(param, "2 or 4")
    return SCALES[SCALES.index(value)]


def _source(param: str, value: object) -> dict[str, str]:
    allowed = "an object {run_id} or {upload_id}"
    if not isinstance(value, dict) or len(value) != 1:
        raise errors.InvalidParameter.of(param, allowed)
    return checked(value, {"run_id": text(1, 64), "upload_id": text(1, 64)}, {}, within=f"{param}.")


def _data_url(param: str, value: object) -> str:
    if type(value) is not str or not value.startswith("data:"):
        raise errors.InvalidParameter.of(param, DATA_URL)
    if len(value) > _DATA_URL_CHARACTERS:
        raise errors.BodyTooLarge("The picture's file is too large.", metadata={"param": param})
    return value


_TOLD: Final = ("output_format", "webhook_url", "metadata", "dry_run")
_PICTURE: Final[dict[str, Check]] = {"upload_id": text(1, 64), "image": _data_url, "source": _source}
_VARIED: Final[dict[str, Check]] = {"count": whole(1, MAX_COUNT), "strength": number(0, 1)}
_DRAWN: Final = ("positive_prompt", "negative_prompt", "guidance", "steps", "seed", "lora_weight")

#: The fields of the four routes, by what they are asked of.
VARIATIONS_OF_RUN: Final = (*_VARIED, *_DRAWN, *_TOLD)
VARIATIONS: Final = (*_PICTURE, *_VARIED, *_DRAWN, "model_id", "loras", "width", "height", "scheduler", *_TOLD)
UPSCALE_OF_RUN: Final = ("scale", *_TOLD)
UPSCALES: Final = (*_PICTURE, "scale", "model_id", *_TOLD)

_OWN: Final[dict[str, Check]] = {**_PICTURE, **_VARIED, "scale": _scale}


def checks_of(names: tuple[str, ...], reach: urls.Reach = urls.PUBLIC) -> dict[str, Check]:
    """The table of a route."""
    common = fields_within(reach)
    return {name: _OWN.get(name) or common[name] for name in names}


def read_sourced(body: bytes, names: tuple[str, ...], *, run_id: str = "", reach: urls.Reach = urls.PUBLIC) -> Sourced:
    """Decode and check a body; with `run_id` the path names the picture, else the body does.

    Raises:
        InvalidJson, UnknownField, InvalidParameter: as `read_submission`.
        BodyTooLarge: for a picture that is.
    """
    document = decode_object(body)
    required = {"scale": "2 or 4"} if "scale" in names else {}
    values = checked(document, checks_of(names, reach), required, within="")
    place = {"run_id": run_id} if run_id else _place(values)
    return Sourced(
        values={name: value for name, value in values.items() if name not in _OWN and name != "dry_run"},
        count=values.get("count", 1),
        strength=values.get("strength", DEFAULT_STRENGTH),
        scale=values.get("scale", 0),
        dry_run=values.get("dry_run", False),
        **place,
    )


def read_data_url(body: bytes) -> str:
    """The data URL of an upload's JSON body.

    Raises:
        InvalidJson, UnknownField, InvalidParameter, BodyTooLarge: as `read_sourced`.
    """
    document = decode_object(body)
    values = checked(document, {"file": _data_url}, {"file": DATA_URL}, within="")
    return str(values["file"])


def _place(values: Mapping[str, Any]) -> dict[str, str]:
    given = [name for name in _PICTURE if name in values]
    if not given:
        raise missing("upload_id", "the id of an upload, unless image or source is given")
    if len(given) > 1:
        raise errors.InvalidParameter.of(given[1], f"absent where '{given[0]}' is given")
    return dict(values["source"]) if given == ["source"] else {given[0]: values[given[0]]}


def variation(asked: Sourced, own: generation_pb2.Parameters | None, seed: int, index: int) -> Wanted:
    """Image `index` of a request, as it would be asked for alone; `own` are the parameters of the picture's run.

    Raises:
        InvalidParameter: where there is no prompt or model in the request, nor one with the picture.
    """
    model_id = asked.values.get("model_id")
    like = wanted_like(own) if own is not None else Wanted(positive_prompt="", model_id="")
    if model_id is not None and model_id != like.model_id:  # what was chosen for another model is not kept
        like = Wanted(like.positive_prompt, model_id, like.negative_prompt)
    given = {"output_format": _format_of(own), **asked.values, "seed": (seed + index) % (MAX_SEED + 1)}
    wanted = dataclasses.replace(like, **given)
    for name, allowed in REQUIRED.items():
        if not getattr(wanted, name):
            raise missing(name, allowed)
    return wanted


def upscale(asked: Sourced, own: generation_pb2.Parameters | None, base_model_id: str) -> Wanted:
    """An enlarged picture, as it would be asked for."""
    plain = Wanted(positive_prompt="", model_id=base_model_id, output_format=_format_of(own))
    return dataclasses.replace(plain, **asked.values)


_WORDS: Final = {
    generation_pb2.OUTPUT_FORMAT_WEBP: "webp",
    generation_pb2.OUTPUT_FORMAT_JPEG: "jpeg",
}


def _format_of(own: generation_pb2.Parameters | None) -> str:
    return _WORDS.get(own.output_format, "png") if own is not None else "png"
