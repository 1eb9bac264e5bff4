"""What clients say of a LoRA of theirs: the fields beside an uploaded file, and those of a change. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from imagineo import errors
from imagineo.ids import is_id
from imagineo.v1 import catalog_service_pb2 as pb
from imagineo.v1 import model_pb2

from services.gateway.fields import Check, choice, missing, text
from services.gateway.submission import checked

MAX_NAME_CHARACTERS: Final = 100
MAX_DESCRIPTION_CHARACTERS: Final = 2_000
MAX_TRIGGER_WORDS: Final = 16
MAX_TRIGGER_WORD_CHARACTERS: Final = 64
MAX_SHARED_WITH: Final = 100

SHARING_WORDS: Final[dict[model_pb2.Sharing.ValueType, str]] = {
    model_pb2.SHARING_PRIVATE: "private",
    model_pb2.SHARING_ORGANIZATIONS: "organizations",
    model_pb2.SHARING_PUBLIC: "public",
}
SHARINGS: Final = {word: sharing for sharing, word in SHARING_WORDS.items()}


def _name(param: str, value: object) -> str:
    found: str = text(1, MAX_NAME_CHARACTERS)(param, value)
    if not found.strip():
        raise errors.InvalidParameter.of(param, "a string with more than spaces")
    return found


def _texts(param: str, value: object, count: int, characters: int) -> list[str]:
    allowed = f"at most {count} strings of 1 to {characters} characters"
    if not isinstance(value, list) or len(value) > count:
        raise errors.InvalidParameter.of(param, allowed)
    try:
        found = [text(1, characters)(param, entry) for entry in value]
    except errors.InvalidParameter as problem:
        raise errors.InvalidParameter.of(param, allowed) from problem
    if not all(entry.strip() for entry in found):
        raise errors.InvalidParameter.of(param, allowed)
    return found


def _trigger_words(param: str, value: object) -> list[str]:
    return _texts(param, value, MAX_TRIGGER_WORDS, MAX_TRIGGER_WORD_CHARACTERS)


def _shared_with(param: str, value: object) -> list[str]:
    found = _texts(param, value, MAX_SHARED_WITH, 64)
    if not all(is_id(entry, "org") for entry in found):
        raise errors.InvalidParameter.of(param, f"1 to {MAX_SHARED_WITH} ids of organizations")
    return found


CHANGES: Final[dict[str, Check]] = {
    "name": _name,
    "description": text(0, MAX_DESCRIPTION_CHARACTERS),
    "trigger_words": _trigger_words,
    "sharing": choice(list(SHARINGS)),
    "shared_with": _shared_with,
}
_FIELDS: Final[dict[str, Check]] = {**CHANGES, "base_model_id": text(1, 64)}
#: What may stand in the form beside the file.
NAMES: Final = tuple(_FIELDS)
_LISTS: Final = ("trigger_words", "shared_with")


def read_draft(form: Mapping[str, Sequence[str]], *, sample_run_id: str) -> pb.LoraDraft:
    """Check the texts of a form; lists are repeated fields, or have commas between.

    Raises:
        InvalidParameter: for a missing or wrong one.
    """
    document: dict[str, Any] = {}
    for name, values in form.items():
        if name in _LISTS:
            document[name] = [word.strip() for value in values for word in value.split(",") if word.strip()]
        elif len(values) > 1:
            raise errors.InvalidParameter.of(name, "given once")
        else:
            document[name] = values[0]
    required = {"name": f"a string of 1 to {MAX_NAME_CHARACTERS} characters", "base_model_id": "a base model's id"}
    for name, allowed in required.items():
        if name not in document:
            raise missing(name, allowed)
    checked_values = checked(document, _FIELDS, {}, within="")
    sharing, shared_with = _sharing({"sharing": "private", **checked_values})
    return pb.LoraDraft(
        name=checked_values["name"],
        description=checked_values.get("description", ""),
        base_model_id=checked_values["base_model_id"],
        trigger_words=checked_values.get("trigger_words", ()),
        sharing=sharing,
        shared_organization_ids=shared_with,
        sample_run_id=sample_run_id,
    )


def read_change(document: dict[str, Any]) -> pb.UpdateLoraRequest:
    """Check a change; who asks and of which model is not in it.

    Raises:
        UnknownField, InvalidParameter: for what is wrong with it, or if it changes nothing.
    """
    values = checked(document, CHANGES, {}, within="")
    if not values:
        raise errors.InvalidParameter(f"The body changes nothing. Name one or more of {', '.join(CHANGES)}.")
    change = pb.UpdateLoraRequest(name=values.get("name"), description=values.get("description"))
    if "trigger_words" in values:
        change.trigger_words.CopyFrom(pb.TriggerWords(words=values["trigger_words"]))
    if "sharing" in values or "shared_with" in values:
        sharing, shared_with = _sharing(values)
        change.sharing.CopyFrom(pb.SharingChange(sharing=sharing, shared_organization_ids=shared_with))
    return change


def _sharing(values: Mapping[str, Any]) -> tuple[model_pb2.Sharing.ValueType, list[str]]:
    """Who may use it; whom it is shared with stands where, and only where, it is shared with some."""
    word, shared_with = values.get("sharing"), values.get("shared_with", [])
    if word != "organizations" and "shared_with" in values:
        raise errors.InvalidParameter.of("shared_with", "absent unless 'sharing' is 'organizations'")
    if word == "organizations" and not shared_with:
        raise errors.InvalidParameter.of("shared_with", f"1 to {MAX_SHARED_WITH} ids of organizations")
    return SHARINGS[str(word)], list(dict.fromkeys(shared_with))
