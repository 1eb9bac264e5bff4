"""The LoRAs inside one pipeline: loaded beside the base weights, never fused into them, a few kept warm.

A run activates its own with its weights; all others are switched off, so nothing of one run is left for the next.
Adapters are never hot-swapped: a swapped one would keep the alpha and rank of its forerunner. A load that fails is
taken out of every layer again. Called on the device's thread alone.
"""

from __future__ import annotations

import collections
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from diffusers.utils.peft_utils import set_weights_and_activate_adapters
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from services.worker.engine.adapter_file import LoraLayer, read_layers
from services.worker.engine.base import AdapterIncompatible, AdapterReport, AdapterUse

#: Loading one more takes longer the more are loaded, so few stay.
WARM_COUNT: Final = 6


class Adapters:
    """The LoRAs of one pipeline, by the digest of their files."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._loaded: collections.OrderedDict[str, tuple[int, int]] = collections.OrderedDict()

    @property
    def sha256s(self) -> frozenset[str]:
        """The digests of those that are loaded."""
        return frozenset(self._loaded)

    def activate(self, uses: Sequence[AdapterUse]) -> tuple[AdapterReport, ...]:
        """Load what is missing and switch on exactly these; a weight of 0 leaves the adapter out altogether.

        Raises:
            AdapterIncompatible: if a file does not fit; then all are switched off.
        """
        self._switch({})
        weights: dict[str, float] = {}
        for use in uses:
            if use.sha256 not in self._loaded:
                self._load(use)
            self._loaded.move_to_end(use.sha256)
            if use.weight != 0:
                weights[use.sha256] = weights.get(use.sha256, 0.0) + use.weight
        self._evict(keep={use.sha256 for use in uses})
        self._switch(weights)
        return tuple(AdapterReport(use.model_id, use.weight, *self._loaded[use.sha256]) for use in uses)

    def release(self) -> None:
        """Unload all, to free memory."""
        self._switch({})
        for sha256 in list(self._loaded):
            self._unload(sha256)

    def _load(self, use: AdapterUse) -> None:
        layers = read_layers(use.path, self._pipeline.unet, self._pipeline.text_encoder)
        name = _name(use.sha256)
        try:
            for model, part in self._parts(layers.unet, layers.text_encoder):
                if part:
                    _inject(model, part, name)
        except Exception as problem:
            self._remove(name)
            if isinstance(problem, MemoryError | torch.OutOfMemoryError):
                raise
            raise AdapterIncompatible(f"The LoRA could not be put into the base model: {problem}.") from problem
        self._loaded[use.sha256] = (layers.matched_keys, layers.ignored_keys)

    def _parts(
        self, unet: Mapping[str, LoraLayer], text_encoder: Mapping[str, LoraLayer]
    ) -> list[tuple[nn.Module, Mapping[str, LoraLayer]]]:
        return [(self._pipeline.unet, unet), (self._pipeline.text_encoder, text_encoder)]

    def _switch(self, weights: Mapping[str, float]) -> None:
        names = [_name(sha256) for sha256 in weights]
        for model in (self._pipeline.unet, self._pipeline.text_encoder):
            set_weights_and_activate_adapters(model, names, list(weights.values()))

    def _evict(self, keep: set[str]) -> None:
        for sha256 in [one for one in self._loaded if one not in keep]:
            if len(self._loaded) <= WARM_COUNT:
                return
            self._unload(sha256)

    def _unload(self, sha256: str) -> None:
        self._remove(_name(sha256))
        del self._loaded[sha256]

    def _remove(self, name: str) -> None:
        for model in (self._pipeline.unet, self._pipeline.text_encoder):
            for module in model.modules():
                if isinstance(module, BaseTunerLayer):
                    module.delete_adapter(name)
            getattr(model, "peft_config", {}).pop(name, None)


def _name(sha256: str) -> str:
    return f"lora_{sha256[:24]}"


def _inject(model: nn.Module, layers: Mapping[str, LoraLayer], name: str) -> None:
    state: dict[str, Tensor] = {}
    for module, layer in layers.items():
        state[f"{module}.lora_A.weight"] = layer.down
        state[f"{module}.lora_B.weight"] = layer.up
    # The layers keep their files' dtype, as the stock loader leaves them.
    with warnings.catch_warnings(action="ignore"):  # peft doubts that more than one adapter is meant
        inject_adapter_in_model(_config(layers), model, adapter_name=name, state_dict=state, low_cpu_mem_usage=True)
    outcome = set_peft_model_state_dict(model, state, name, low_cpu_mem_usage=True)
    if outcome is not None and outcome.unexpected_keys:
        raise AdapterIncompatible(f"The base model has no place for '{outcome.unexpected_keys[0]}'.")
    model.requires_grad_(False)


def _config(layers: Mapping[str, LoraLayer]) -> LoraConfig:
    """Ranks and alphas by exact module name; a layer without alpha has scale 1, that is alpha = rank."""
    ranks = {module: layer.rank for module, layer in layers.items()}
    alphas = {module: layer.rank if layer.alpha is None else layer.alpha for module, layer in layers.items()}
    return LoraConfig(
        r=max(ranks.values()),
        lora_alpha=max(alphas.values()),
        rank_pattern={f"^{module}": rank for module, rank in ranks.items()},
        alpha_pattern={f"^{module}": alpha for module, alpha in alphas.items()},
        target_modules=list(layers),
        use_dora=False,
    )
