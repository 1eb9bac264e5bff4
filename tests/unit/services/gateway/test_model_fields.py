"""What clients say of a LoRA: the texts of a form, and a change."""

from __future__ import annotations

from typing import Any

import pytest
from imagineo import errors
from imagineo.ids import new_id
from imagineo.v1 import model_pb2

from services.gateway.model_fields import read_change, read_draft

FRIEND, OTHER = new_id("org"), new_id("org")
FORM = {"name": ["Mug"], "base_model_id": ["base_1"]}


def test_a_form_of_what_is_needed_makes_a_private_lora():
    draft = read_draft(FORM, sample_run_id="gen_1")
    assert (draft.name, draft.base_model_id, draft.sample_run_id) == ("Mug", "base_1", "gen_1")
    assert (draft.description, list(draft.trigger_words), draft.sharing) == ("", [], model_pb2.SHARING_PRIVATE)


def test_lists_of_a_form_are_repeated_or_have_commas_between():
    draft = read_draft(
        {
            **FORM,
            "description": ["All\nof it."],
            "trigger_words": ["mug, blue cup", "steam,"],
            "sharing": ["organizations"],
            "shared_with": [f"{FRIEND},{OTHER}", FRIEND],
        },
        sample_run_id="",
    )
    assert list(draft.trigger_words) == ["mug", "blue cup", "steam"]
    assert list(draft.shared_organization_ids) == [FRIEND, OTHER]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"name": []}, "name"),
        ({"name": ["  "]}, "name"),
        ({"name": ["x" * 101]}, "name"),
        ({"name": ["a", "b"]}, "name"),
        ({"name": ["a\x00"]}, "name"),
        ({"base_model_id": []}, "base_model_id"),
        ({"description": ["x" * 2001]}, "description"),
        ({"trigger_words": ["x" * 65]}, "trigger_words"),
        ({"trigger_words": [",".join("abcdefghijklmnopq")]}, "trigger_words"),
        ({"sharing": ["all"]}, "sharing"),
        ({"sharing": ["organizations"]}, "shared_with"),
        ({"sharing": ["organizations"], "shared_with": [""]}, "shared_with"),
        ({"sharing": ["organizations"], "shared_with": ["org_1"]}, "shared_with"),
        ({"shared_with": [FRIEND]}, "shared_with"),
        ({"sharing": ["public"], "shared_with": [FRIEND]}, "shared_with"),
        ({"sharing": ["organizations"], "shared_with": [new_id("org") for _ in range(101)]}, "shared_with"),
    ],
)
def test_a_wrong_text_of_a_form_is_named(changes: dict[str, list[str]], param: str):
    form = {name: values for name, values in {**FORM, **changes}.items() if values}
    with pytest.raises(errors.InvalidParameter) as refusal:
        read_draft(form, sample_run_id="")
    assert refusal.value.metadata["param"] == param


def test_a_change_holds_what_it_names():
    change = read_change({"description": "", "trigger_words": []})
    assert (change.HasField("name"), change.HasField("description"), change.HasField("sharing")) == (False, True, False)
    assert change.HasField("trigger_words")
    shared = read_change({"sharing": "organizations", "shared_with": [FRIEND]})
    assert list(shared.sharing.shared_organization_ids) == [FRIEND]
    assert not shared.HasField("trigger_words")


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({}, errors.InvalidParameter),
        ({"nmae": "x"}, errors.UnknownField),
        ({"base_model_id": "base_1"}, errors.UnknownField),
        ({"name": None}, errors.InvalidParameter),
        ({"name": ""}, errors.InvalidParameter),
        ({"trigger_words": "mug"}, errors.InvalidParameter),
        ({"trigger_words": [" "]}, errors.InvalidParameter),
        ({"sharing": "organizations"}, errors.InvalidParameter),
        ({"shared_with": [FRIEND]}, errors.InvalidParameter),
        ({"shared_with": []}, errors.InvalidParameter),
        ({"sharing": "private", "shared_with": []}, errors.InvalidParameter),
    ],
)
def test_a_wrong_change_is_refused(document: dict[str, Any], kind: type[errors.Refused]):
    with pytest.raises(kind):
        read_change(document)
