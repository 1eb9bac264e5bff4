"""The three forms of a batch's body, and the places that its complaints name."""

from __future__ import annotations

import asyncio
import json

import pytest
from imagineo import errors

from services.gateway.batch_body import JSON_LINES, MAX_ITEMS, read_batch

ITEM = {"positive_prompt": "a mug", "model_id": "model_1"}


def read(document, media_type="application/json"):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return asyncio.run(read_batch(media_type, body))


def refused(document, media_type="application/json"):
    with pytest.raises(errors.Refused) as found:
        read(document, media_type)
    return found.value


def lines(*bodies):
    return b"\n".join(body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies)


def test_a_list_keeps_its_order_and_defaults_fill_what_an_item_leaves_out():
    document = {
        "items": [{"positive_prompt": "a", "seed": 1}, {"positive_prompt": "b", "guidance": 3}],
        "defaults": {"model_id": "model_1", "guidance": 7},
    }
    wanted = [item.wanted for item in read(document).items]
    assert [(one.positive_prompt, one.seed, one.guidance) for one in wanted] == [("a", 1, 7.0), ("b", None, 3.0)]


@pytest.mark.parametrize("form", [{"items": [ITEM] * 20}, {"sweep": {"seeds": list(range(20))}}])
@pytest.mark.parametrize("wrong", [{"width": 63}, {"height": 1020}, {"width": -64}])
def test_a_wrong_default_is_named_once_and_where_it_stands(form, wrong):
    problem = refused({**form, "defaults": {**ITEM, **wrong}})
    (name,) = wrong
    assert problem.metadata["param"] == f"defaults.{name}"
    assert "more" not in problem.message


def test_a_thousand_items_are_taken_and_one_more_is_not():
    assert len(read({"items": [ITEM] * MAX_ITEMS}).items) == MAX_ITEMS
    assert refused({"items": [ITEM] * (MAX_ITEMS + 1)}).metadata["param"] == "items"
    assert len(read(lines(*[ITEM] * MAX_ITEMS), JSON_LINES[0]).items) == MAX_ITEMS
    assert "1001" in refused(lines(*[ITEM] * (MAX_ITEMS + 1)), JSON_LINES[0]).message


def test_the_last_item_is_named_as_exactly_as_the_first():
    bad = [ITEM] * 999 + [{**ITEM, "loras": [{"model_id": "m", "weight": 3}]}]
    assert refused({"items": bad}).metadata["param"] == "items[999].loras[0].weight"
    assert refused(lines(*bad), JSON_LINES[0]).metadata["param"] == "line 1000: loras[0].weight"


def test_blank_lines_count_as_lines_but_not_as_items():
    batch = read(lines(b"", ITEM, b"  ", ITEM, b"\r"), "application/jsonl")
    assert [item.place for item in batch.items] == ["line 2: ", "line 4: "]


def test_a_line_that_is_no_object_is_named():
    problem = refused(lines(ITEM, b"[1]"), JSON_LINES[0])
    assert isinstance(problem, errors.InvalidJson)
    assert problem.metadata["line"] == "2"
    assert refused(b"", JSON_LINES[0]).metadata["param"] == "body"


def test_up_to_ten_wrong_items_are_named_at_once():
    wrong = {**ITEM, "seed": -1}
    two = refused(lines(ITEM, wrong, b"{", ITEM, {**ITEM, "colour": "red"}), JSON_LINES[0])
    assert two.metadata["param"] == "line 2: seed"
    assert "2 more are wrong:" in two.message
    assert "Line 3: " in two.message
    assert two.message.endswith("Unknown parameter 'line 5: colour'.")

    many = refused({"items": [ITEM, *[wrong] * 11]}).message
    assert "At least 9 more are wrong:" in many
    assert "items[10].seed" in many
    assert "items[11].seed" not in many


def test_a_sweep_is_the_product_of_its_lists_seeds_fastest():
    document = {"sweep": {"seeds": [1, 2], "positive_prompts": ["a", "b"], "guidances": [3]}, "defaults": ITEM}
    wanted = [item.wanted for item in read(document).items]
    assert [(one.positive_prompt, one.guidance, one.seed) for one in wanted] == [
        ("a", 3.0, 1),
        ("a", 3.0, 2),
        ("b", 3.0, 1),
        ("b", 3.0, 2),
    ]


def test_a_sweep_of_too_many_combinations_says_how_many_before_it_makes_them():
    problem = refused({"sweep": {"seeds": list(range(1000)), "guidances": list(range(1, 21))}, "defaults": ITEM})
    assert "20000" in problem.message


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"items": [ITEM], "sweep": {}}, "sweep"),
        ({"items": [{**ITEM, "dry_run": False}]}, "items[0].dry_run"),
        ({"items": [None]}, "items[0]"),
        ({"items": [ITEM], "defaults": []}, "defaults"),
        ({"items": [ITEM], "defaults": {"dry_run": True}}, "defaults.dry_run"),
        ({"items": [ITEM], "webhook_url": "ftp://x"}, "webhook_url"),
        ({"items": [ITEM], "metadata": {"a": 1}}, "metadata"),
        ({"sweep": {"seeds": {}}, "defaults": ITEM}, "sweep.seeds"),
        ({"sweep": {"seeds": [True]}, "defaults": ITEM}, "sweep.seeds[0]"),
        ({"sweep": {"seeds": [1]}, "defaults": {"model_id": "m"}}, "sweep.positive_prompts"),
        ({"sweep": {}, "defaults": ITEM}, "sweep"),
    ],
)
def test_what_is_wrong_is_named(document, param):
    assert refused(document).metadata["param"] == param


def test_texts_that_are_too_much_together_are_refused():
    document = {"sweep": {"seeds": list(range(1000))}, "defaults": {**ITEM, "positive_prompt": "\U0001f600" * 2000,
                "negative_prompt": "\U0001f600" * 2000}}  # fmt: skip
    assert isinstance(refused(document), errors.BodyTooLarge)


def test_another_content_type_is_refused():
    assert isinstance(refused({"items": [ITEM]}, "text/plain"), errors.UnsupportedMediaType)


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b'{"items": [', b"\xff", b"[" * 100_000, b'{"items": NaN}'])
def test_nothing_that_is_sent_is_more_than_refused(body):
    for media_type in ("application/json", *JSON_LINES):
        refused(body, media_type)
