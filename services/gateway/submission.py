"""The body of `POST /v1/generate`: decoding, the field table and what a valid one holds. Pure.

Owns everything that can be told without knowing the model; `completion` does the rest. Where a JSON object repeats a
name, the last one counts. The order of complaints is: JSON, unknown fields, missing fields, then values as tabled.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from imagineo import errors
from imagineo.egress import urls

from services.gateway.fields import Check, choice, missing, number, pairs, side, text, truth, unknown, whole

MAX_SEED: Final = 2**53 - 1
MAX_EXTRA_LORAS: Final = 5
OUTPUT_FORMATS: Final = ("png", "webp", "jpeg")
SIDE_STEP_PX: Final = 8
MIN_SIDE_PX: Final = 64
MAX_STEPS: Final = 100

_MODEL_ID: Final = text(1, 64)


@dataclass(frozen=True, slots=True)
class ExtraLora:
    """One more LoRA with its strength."""

    model_id: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks for; None where the base model's default is to be taken."""

    positive_prompt: str
    model_id: str
    negative_prompt: str = ""
    lora_weight: float = 1.0
    loras: tuple[ExtraLora, ...] = ()
    guidance: float | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    seed: int | None = None
    scheduler: str | None = None
    output_format: str = "png"
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str = ""
    dry_run: bool = False


_LORA_FIELDS: Final[dict[str, Check]] = {"model_id": _MODEL_ID, "weight": number(0, 2)}


def _loras(param: str, value: object) -> tuple[ExtraLora, ...]:
    if not isinstance(value, list) or len(value) > MAX_EXTRA_LORAS:
        raise errors.InvalidParameter.of(param, f"a list of at most {MAX_EXTRA_LORAS} objects {{model_id, weight}}")
    return tuple(_lora(f"{param}[{index}]", entry) for index, entry in enumerate(value))


def _lora(param: str, value: object) -> ExtraLora:
    if not isinstance(value, dict):
        raise errors.InvalidParameter.of(param, "an object {model_id, weight}")
    values = checked(value, _LORA_FIELDS, {"model_id": "a model's id"}, within=f"{param}.")
    return ExtraLora(**values)


def receiver(reach: urls.Reach) -> Check:
    """Take the URL of somebody who is to be told."""
    length = text(1, urls.MAX_CHARACTERS)

    def check(param: str, value: object) -> str:
        url: str = length(param, value)
        urls.read(param, url, reach)
        return url

    return check


FIELDS: Final[dict[str, Check]] = {
    "positive_prompt": text(1, 2000),
    "negative_prompt": text(0, 2000),
    "model_id": _MODEL_ID,
    "lora_weight": number(0, 2),
    "loras": _loras,
    "guidance": number(1, 20),
    "width": side(SIDE_STEP_PX, MIN_SIDE_PX),
    "height": side(SIDE_STEP_PX, MIN_SIDE_PX),
    "steps": whole(1, MAX_STEPS),
    "seed": whole(0, MAX_SEED),
    "scheduler": text(1, 64),
    "output_format": choice(OUTPUT_FORMATS),
    "metadata": pairs(16, 64, 512),
    "webhook_url": receiver(urls.PUBLIC),
    "dry_run": truth,
}


@functools.cache
def fields_within(reach: urls.Reach) -> Mapping[str, Check]:
    """The same where the operator says how far webhooks may go."""
    return FIELDS | {"webhook_url": receiver(reach)}


#: What no body may leave out, and what it must be.
REQUIRED: Final = {
    "positive_prompt": "a string of 1 to 2000 characters",
    "model_id": "the id of a model of yours, a shared one, or a base model",
}


def read_submission(body: bytes, reach: urls.Reach = urls.PUBLIC) -> Wanted:
    """Decode and check a body; its webhook_url must be within `reach`.

    Raises:
        InvalidJson: if it is not one JSON object.
        UnknownField: if it has a field that is not in the table.
        InvalidParameter: if a required field is absent or a value is out of its type or range.
    """
    return Wanted(**checked(decode_object(body), fields_within(reach), REQUIRED, within=""))


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode JSON that is one object.

    Raises:
        InvalidJson: if it is not.
    """
    document = decode(body)
    if not isinstance(document, dict):
        raise errors.InvalidJson("The body must be a JSON object.")
    return document


def decode(body: bytes) -> Any:
    """Decode JSON. NaN, Infinity, 1e400 and lone surrogates come through, for the checks to name the field they are in.

    Raises:
        InvalidJson: if it is nothing that resembles JSON, or nested too deep.
    """
    if not body.strip():
        raise errors.InvalidJson("The body is empty. It must be a JSON object.")
    try:
        return msgspec.json.decode(body)
    except RecursionError as problem:
        raise errors.InvalidJson("The body is nested too deep.") from problem
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decode_leniently(body)


def _decode_leniently(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as problem:
        raise errors.InvalidJson("The body is not UTF-8.") from problem
    except RecursionError as problem:
        raise errors.InvalidJson("The body is nested too deep.") from problem
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise errors.InvalidJson(f"The body is not valid JSON: {problem.msg} at {where}.") from problem
    except ValueError as problem:  # an integer of thousands of digits
        raise errors.InvalidJson("The body holds a number that is too long.") from problem


def checked(
    document: dict[str, Any], checks: Mapping[str, Check], required: Mapping[str, str], *, within: str
) -> dict[str, Any]:
    """The values of a JSON object by a table of checks.

    Raises:
        UnknownField: for a field that the table does not have.
        InvalidParameter: for a missing or wrong one.
    """
    for name in document:
        if name not in checks:
            raise unknown(name, checks, within=within)
    for name, allowed in required.items():
        if name not in document:
            raise missing(within + name, allowed)
    return {name: check(within + name, document[name]) for name, check in checks.items() if name in document}
