"""The rules of one request's models: which ids may stand where, and which LoRAs go together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from imagineo.errors import InvalidParameter, LoraIncompatible, ModelNotFound
from imagineo.ids import is_id
from imagineo.v1 import model_pb2 as pb

EXTRA_LORAS_MAX_COUNT: Final = 5


def lora_ids(model_id: str, extra_model_ids: Sequence[str]) -> list[str]:
    """Name the LoRAs to look up, in the order asked.

    Raises:
        ModelNotFound: for an id that cannot be any model's.
        InvalidParameter: for too many extra LoRAs, or one asked for twice.
    """
    if len(extra_model_ids) > EXTRA_LORAS_MAX_COUNT:
        raise InvalidParameter.of("loras", f"a list of at most {EXTRA_LORAS_MAX_COUNT} LoRAs")
    if not is_id(model_id, "model") and not is_id(model_id, "base"):
        raise _absent(model_id, "model_id")
    wanted = [model_id] if is_id(model_id, "model") else []
    for index, extra in enumerate(extra_model_ids):
        if not is_id(extra, "model"):
            raise _absent(extra, _param(index))
        if extra in wanted:
            raise InvalidParameter.of(_param(index), "a LoRA that the request does not name already")
        wanted.append(extra)
    return wanted


def choose(model_id: str, extra_model_ids: Sequence[str], found: Mapping[str, pb.Lora]) -> tuple[str, list[pb.Lora]]:
    """Return the one base model's id and the LoRAs in the order asked; `found` holds those that the asker may use.

    Raises:
        ModelNotFound: if one is not among the found.
        LoraIncompatible: if one adapts another base model.
    """
    loras: list[pb.Lora] = []
    base_model_id = model_id
    if is_id(model_id, "model"):
        if model_id not in found:
            raise _absent(model_id, "model_id")
        loras.append(found[model_id])
        base_model_id = found[model_id].base_model_id
    for index, extra in enumerate(extra_model_ids):
        if extra not in found:
            raise _absent(extra, _param(index))
        if found[extra].base_model_id != base_model_id:
            raise LoraIncompatible(
                f"The LoRA '{extra}' adapts the base model '{found[extra].base_model_id}', "
                f"but this request draws with '{base_model_id}'.",
                metadata={"param": _param(index), "model_id": extra, "base_model_id": base_model_id},
            )
        loras.append(found[extra])
    return base_model_id, loras


def absent_base_model(model_id: str) -> ModelNotFound:
    """The refusal of a base model that is not there."""
    return _absent(model_id, "model_id")


def _param(index: int) -> str:
    return f"loras[{index}].model_id"


def _absent(model_id: str, param: str) -> ModelNotFound:
    return ModelNotFound(f"There is no model '{model_id[:64]}' that this account may use.", metadata={"param": param})
