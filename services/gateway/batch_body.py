"""The body of `POST /v1/batches` in its three forms: a list of items, JSON lines, a sweep. Pure.

Each item is a body of `POST /v1/generate`; `defaults` stand for what an item leaves out. Complaints name the place: the
item (`items[17].guidance`), the line (`line 18: guidance`), the list of a sweep (`sweep.seeds[3]`) or `defaults`; up to
ten wrong items or lines are named at once. It gives way now and then, so that a thousand items hold up no other request
of the event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from imagineo import errors
from imagineo.egress import urls

from services.gateway.body import JSON
from services.gateway.complaints import Complaints
from services.gateway.fields import Check, missing, pairs, text, unknown
from services.gateway.submission import REQUIRED, Wanted, checked, decode, decode_object, fields_within

MAX_ITEMS: Final = 1_000
#: The texts of all items together, once a sweep is spread out and defaults are filled in.
MAX_TEXT_BYTES: Final = 10 * 2**20

JSON_LINES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")

#: The lists of a sweep and the field of an item that each is for, the slowest first.
AXES: Final = {
    "positive_prompts": "positive_prompt",
    "model_ids": "model_id",
    "lora_weights": "lora_weight",
    "guidances": "guidance",
    "seeds": "seed",
}

#: Items checked between two turns of the event loop.
_TURN: Final = 50
_COUNT: Final = f"between 1 and {MAX_ITEMS} items"

_HEAD: Final[dict[str, Check]] = {"name": text(0, 200), "metadata": pairs(16, 64, 512)}
_FORMS: Final = ("items", "sweep")


@dataclass(frozen=True, slots=True)
class Placed:
    """An item and where it stood."""

    wanted: Wanted
    place: str
    """What a complaint about one of its fields begins with, such as `items[17].`."""


@dataclass(frozen=True, slots=True)
class BatchWanted:
    """A batch that is well-formed as far as can be told without knowing its models."""

    items: Sequence[Placed]
    name: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


async def read_batch(media_type: str, body: bytes, reach: urls.Reach = urls.PUBLIC) -> BatchWanted:
    """Decode and check a body; its webhook URLs must be within `reach`.

    Raises:
        UnsupportedMediaType: if it is neither JSON nor JSON lines.
        InvalidJson: if it, or one of its lines, is not one JSON object.
        UnknownField, InvalidParameter: naming the place.
        BodyTooLarge: if the items hold too much text together.
    """
    own = {name: check for name, check in fields_within(reach).items() if name != "dry_run"}
    if media_type in JSON_LINES:
        return _bounded(BatchWanted(await _lines(body, own)))
    if media_type != JSON:
        raise errors.UnsupportedMediaType(f"The body's content type must be {JSON} or {JSON_LINES[0]}.")
    document = decode_object(body)
    return _bounded(await _document(document, own))


async def _lines(body: bytes, fields: Mapping[str, Check]) -> list[Placed]:
    numbered = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    if not 1 <= len(numbered) <= MAX_ITEMS:
        raise errors.InvalidParameter.of("body", f"{_COUNT}, one on each line; it has {len(numbered)}")
    items, wrong = [], Complaints()
    for turn, (number, line) in enumerate(numbered):
        if turn % _TURN == 0:
            await asyncio.sleep(0)
        try:
            items.append(_line(number, line, fields))
        except errors.Refused as refusal:
            wrong.noted.append(refusal)
            if wrong.is_enough:
                break
    wrong.check()
    return items


def _line(number: int, line: bytes, fields: Mapping[str, Check]) -> Placed:
    try:
        document = decode(line)
    except errors.InvalidJson as problem:
        raise errors.InvalidJson(f"Line {number}: {problem.message}", metadata={"line": str(number)}) from problem
    if not isinstance(document, dict):
        raise errors.InvalidJson(f"Line {number}: it must be a JSON object.", metadata={"line": str(number)})
    place = f"line {number}: "
    return Placed(Wanted(**checked(document, fields, REQUIRED, within=place)), place)


async def _document(document: dict[str, Any], fields: Mapping[str, Check]) -> BatchWanted:
    known = (*_FORMS, "defaults", "webhook_url", *_HEAD)
    for name in document:
        if name not in known:
            raise unknown(name, known)
    form = next((name for name in _FORMS if name in document), None)
    if form is None:
        raise missing("items", f"a list of {_COUNT}; or give a sweep")
    if all(name in document for name in _FORMS):
        raise errors.InvalidParameter.of("sweep", "left out where there are items")
    head = {name: check(name, document[name]) for name, check in _HEAD.items() if name in document}
    defaults = _defaults(document.get("defaults", {}), fields)
    if "webhook_url" in document:
        defaults["webhook_url"] = fields["webhook_url"]("webhook_url", document["webhook_url"])
    make = _listed if form == "items" else _swept
    return BatchWanted(await make(document[form], defaults, fields), **head)


def _defaults(value: object, fields: Mapping[str, Check]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise errors.InvalidParameter.of("defaults", "an object of fields that items may leave out")
    return checked(value, fields, {}, within="defaults.")


async def _listed(value: object, defaults: dict[str, Any], fields: Mapping[str, Check]) -> list[Placed]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ITEMS:
        found = f"; there are {len(value)}" if isinstance(value, list) else ""
        raise errors.InvalidParameter.of("items", f"a list of {_COUNT}{found}")
    required = {name: allowed for name, allowed in REQUIRED.items() if name not in defaults}
    items, wrong = [], Complaints()
    for index, entry in enumerate(value):
        if index % _TURN == 0:
            await asyncio.sleep(0)
        try:
            items.append(_item(f"items[{index}]", entry, defaults, fields, required))
        except errors.Refused as refusal:
            wrong.noted.append(refusal)
            if wrong.is_enough:
                break
    wrong.check()
    return items


def _item(
    place: str, entry: object, defaults: dict[str, Any], fields: Mapping[str, Check], required: Mapping[str, str]
) -> Placed:
    if not isinstance(entry, dict):
        raise errors.InvalidParameter.of(place, "an object as for POST /v1/generate")
    values = checked(entry, fields, required, within=f"{place}.")
    return Placed(Wanted(**{**defaults, **values}), f"{place}.")


async def _swept(value: object, defaults: dict[str, Any], fields: Mapping[str, Check]) -> list[Placed]:
    if not isinstance(value, dict):
        raise errors.InvalidParameter.of("sweep", "an object of lists: " + ", ".join(AXES))
    for name in value:
        if name not in AXES:
            raise unknown(name, AXES, within="sweep.")
    axes = [_axis(name, value[name], fields) for name in AXES if name in value]
    for name, of_items in AXES.items():
        if of_items in REQUIRED and name not in value and of_items not in defaults:
            raise missing(f"sweep.{name}", f"a list, or defaults.{of_items} for all")
    count = math.prod(len(axis) for axis in axes)
    if not axes or count > MAX_ITEMS:
        raise errors.InvalidParameter.of("sweep", f"lists whose combinations are {_COUNT}; they are {count}")
    items = []
    for index, values in enumerate(itertools.product(*axes)):
        if index % _TURN == 0:
            await asyncio.sleep(0)
        items.append(Placed(Wanted(**{**defaults, **dict(values)}), f"sweep item {index}: "))
    return items


def _axis(name: str, value: object, fields: Mapping[str, Check]) -> list[tuple[str, Any]]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ITEMS:
        raise errors.InvalidParameter.of(f"sweep.{name}", f"a list of 1 to {MAX_ITEMS} values")
    of_items = AXES[name]
    check = fields[of_items]
    return [(of_items, check(f"sweep.{name}[{index}]", entry)) for index, entry in enumerate(value)]


def _bounded(batch: BatchWanted) -> BatchWanted:
    size_bytes = sum(_text_bytes(item.wanted) for item in batch.items)
    if size_bytes > MAX_TEXT_BYTES:
        message = f"The items' texts are {size_bytes} bytes together. At most {MAX_TEXT_BYTES} are taken."
        raise errors.BodyTooLarge(message, metadata={"allowed_bytes": str(MAX_TEXT_BYTES)})
    return batch


def _text_bytes(wanted: Wanted) -> int:
    own = sum(len(name.encode()) + len(value.encode()) for name, value in wanted.metadata.items())
    return own + len(wanted.positive_prompt.encode()) + len(wanted.negative_prompt.encode())
