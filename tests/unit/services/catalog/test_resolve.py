"""Which models one request may name together."""

from __future__ import annotations

import pytest
from imagineo.errors import InvalidParameter, LoraIncompatible, ModelNotFound
from imagineo.ids import new_id
from imagineo.v1 import model_pb2 as pb

from services.catalog.resolve import choose, lora_ids

BASE, OTHER_BASE = new_id("base"), new_id("base")
LORAS = [new_id("model") for _ in range(6)]
FOUND = {model_id: pb.Lora(model_id=model_id, base_model_id=BASE) for model_id in LORAS}


def test_a_base_model_needs_no_loras():
    assert lora_ids(BASE, []) == []
    assert choose(BASE, [], {}) == (BASE, [])


def test_the_main_lora_comes_first():
    assert lora_ids(LORAS[2], LORAS[:2]) == [LORAS[2], *LORAS[:2]]
    base_model_id, loras = choose(LORAS[2], LORAS[:2], FOUND)
    assert base_model_id == BASE
    assert [lora.model_id for lora in loras] == [LORAS[2], *LORAS[:2]]


@pytest.mark.parametrize("model_id", ["", "model_", "base_x", "gen_00000000000000000000000000", "' OR 1=1 --"])
def test_an_id_of_no_model_is_not_found(model_id: str):
    with pytest.raises(ModelNotFound) as refusal:
        lora_ids(model_id, [])
    assert refusal.value.metadata["param"] == "model_id"
    with pytest.raises(ModelNotFound) as refusal:
        lora_ids(BASE, [LORAS[0], model_id])
    assert refusal.value.metadata["param"] == "loras[1].model_id"


def test_a_base_model_is_no_extra_lora():
    with pytest.raises(ModelNotFound, match=OTHER_BASE):
        lora_ids(BASE, [OTHER_BASE])


def test_a_lora_is_named_once_and_five_extra_ones_are_the_most():
    with pytest.raises(InvalidParameter) as refusal:
        lora_ids(LORAS[0], [LORAS[1], LORAS[0]])
    assert refusal.value.metadata["param"] == "loras[1].model_id"
    assert len(lora_ids(BASE, LORAS[:5])) == 5
    with pytest.raises(InvalidParameter, match="at most 5"):
        lora_ids(BASE, LORAS)


def test_what_was_not_found_is_named():
    with pytest.raises(ModelNotFound, match=LORAS[0]):
        choose(LORAS[0], [], {})
    with pytest.raises(ModelNotFound, match=LORAS[1]):
        choose(LORAS[0], [LORAS[1]], {LORAS[0]: FOUND[LORAS[0]]})


def test_loras_of_another_base_are_incompatible():
    stranger = pb.Lora(model_id=LORAS[1], base_model_id=OTHER_BASE)
    for main in (LORAS[0], BASE):
        with pytest.raises(LoraIncompatible) as refusal:
            choose(main, [LORAS[2], LORAS[1]], {**FOUND, LORAS[1]: stranger})
        assert refusal.value.metadata == {
            "param": "loras[1].model_id",
            "model_id": LORAS[1],
            "base_model_id": BASE,
        }
