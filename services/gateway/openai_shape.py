"""The body of `POST /v1/images/generations`: OpenAI's fields and ours beside them, as submissions. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from imagineo import errors

from services.gateway.fields import Check, choice, text, whole
from services.gateway.submission import FIELDS, MAX_SEED, Wanted, checked, decode_object

MAX_IMAGES: Final = 10

_SIZE: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class ImagesWanted:
    """What a client of the OpenAI shape asks for; one submission for each image."""

    submissions: tuple[Wanted, ...]
    is_base64: bool
    output_format: str


def _size(param: str, value: object) -> tuple[int, int] | None:
    if value == "auto":
        return None
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    try:
        if found is not None:
            return FIELDS["width"](param, int(found[1])), FIELDS["height"](param, int(found[2]))
    except errors.InvalidParameter:
        pass
    raise errors.InvalidParameter.of(param, "auto, or WxH with multiples of 8 from 64 to the base model's maximum")


#: Ours, under our own names; the official clients send them by `extra_body`.
_OWN: Final = ("negative_prompt", "lora_weight", "loras", "guidance", "steps", "seed", "scheduler")

TABLE: Final[dict[str, Check]] = {
    "prompt": FIELDS["positive_prompt"],
    "model": FIELDS["model_id"],
    "n": whole(1, MAX_IMAGES),
    "size": _size,
    "response_format": choice(("url", "b64_json")),
    "output_format": FIELDS["output_format"],
    "quality": choice(("auto", "standard")),
    "style": choice(("natural",)),
    "background": choice(("auto", "opaque")),
    "user": text(0, 512),
    **{name: FIELDS[name] for name in _OWN},
}
_REQUIRED: Final = {
    "prompt": "a string of 1 to 2000 characters",
    "model": "the id of a model of yours, a shared one, or a base model",
}


def read_images(body: bytes) -> ImagesWanted:
    """Decode and check a body; null is an absent field, as OpenAI's clients mean it.

    Raises:
        InvalidJson, UnknownField, InvalidParameter: as `read_submission`.
    """
    document = decode_object(body)
    given = {name: value for name, value in document.items() if value is not None or name not in TABLE}
    values = checked(given, TABLE, _REQUIRED, within="")
    return ImagesWanted(
        submissions=tuple(_wanted(values, index) for index in range(values.get("n", 1))),
        is_base64=values.get("response_format") == "b64_json",
        output_format=values.get("output_format", "png"),
    )


def _wanted(values: dict[str, Any], index: int) -> Wanted:
    """Image `index` of the request; each has the seed after the one before, so that it can be drawn alone."""
    own: dict[str, Any] = {name: values[name] for name in _OWN if name in values}
    if "seed" in own:
        own["seed"] = (own["seed"] + index) % (MAX_SEED + 1)
    if size := values.get("size"):
        own["width"], own["height"] = size
    return Wanted(
        positive_prompt=values["prompt"],
        model_id=values["model"],
        output_format=values.get("output_format", "png"),
        metadata={"user": values["user"]} if values.get("user") else {},
        **own,
    )
