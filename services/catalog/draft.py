"""What a LoRA is called and who may use it: the rules of a draft and of a change. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imagineo.errors import InvalidParameter
from imagineo.ids import is_id
from imagineo.v1 import catalog_service_pb2 as pb
from imagineo.v1 import model_pb2

NAME_MAX_CHARACTERS: Final = 100
DESCRIPTION_MAX_CHARACTERS: Final = 2_000
TRIGGER_WORDS_MAX_COUNT: Final = 16
TRIGGER_WORD_MAX_CHARACTERS: Final = 64
SHARED_MAX_COUNT: Final = 100


def check_draft(draft: pb.LoraDraft) -> None:
    """Check a draft.

    Raises:
        InvalidParameter: naming the field.
    """
    check_name(draft.name)
    check_description(draft.description)
    check_trigger_words(draft.trigger_words)
    check_sharing(draft.sharing, draft.shared_organization_ids)
    if draft.sample_run_id and not is_id(draft.sample_run_id, "gen"):
        raise InvalidParameter.of("sample_run_id", "a run's id")


def check_change(change: pb.UpdateLoraRequest) -> None:
    """Check a change.

    Raises:
        InvalidParameter: naming the field.
    """
    if change.HasField("name"):
        check_name(change.name)
    check_description(change.description)
    check_trigger_words(change.trigger_words.words)
    if change.HasField("sharing"):
        check_sharing(change.sharing.sharing, change.sharing.shared_organization_ids)


def check_name(name: str) -> None:
    """Check a name."""
    if not name.strip() or len(name) > NAME_MAX_CHARACTERS or "\0" in name:
        raise InvalidParameter.of("name", f"a string of 1 to {NAME_MAX_CHARACTERS} characters")


def check_description(description: str) -> None:
    """Check a description."""
    if len(description) > DESCRIPTION_MAX_CHARACTERS or "\0" in description:
        raise InvalidParameter.of("description", f"a string of 0 to {DESCRIPTION_MAX_CHARACTERS} characters")


def check_trigger_words(words: Sequence[str]) -> None:
    """Check trigger words."""
    if len(words) > TRIGGER_WORDS_MAX_COUNT or not all(
        word.strip() and len(word) <= TRIGGER_WORD_MAX_CHARACTERS and "\0" not in word for word in words
    ):
        allowed = f"at most {TRIGGER_WORDS_MAX_COUNT} strings of 1 to {TRIGGER_WORD_MAX_CHARACTERS} characters"
        raise InvalidParameter.of("trigger_words", allowed)


def check_sharing(sharing: model_pb2.Sharing.ValueType, organization_ids: Sequence[str]) -> None:
    """Check who may use a LoRA."""
    if sharing not in (model_pb2.SHARING_PRIVATE, model_pb2.SHARING_ORGANIZATIONS, model_pb2.SHARING_PUBLIC):
        raise InvalidParameter.of("sharing", "one of private, organizations, public")
    if sharing != model_pb2.SHARING_ORGANIZATIONS:
        if organization_ids:
            raise InvalidParameter.of("shared_with", "absent unless sharing is organizations")
        return
    are_sound = all(is_id(organization_id, "org") for organization_id in organization_ids)
    if not 1 <= len(organization_ids) <= SHARED_MAX_COUNT or not are_sound:
        raise InvalidParameter.of("shared_with", f"1 to {SHARED_MAX_COUNT} ids of organizations")
