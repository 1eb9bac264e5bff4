"""Attention whose keys and values of the text are computed once a run, not once a step: they never change within one.

The projections of the text carry LoRAs too, which also stay the same for a run, so the result is the stock layer's.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional


class PlainAttention:
    """Scaled dot-product attention of one layer; `text` holds the keys and values of the batch at hand."""

    def __init__(self) -> None:
        self.text: tuple[Tensor, Tensor] | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,  # noqa: ARG002 - the UNet passes it; text-to-image has none
        **_: object,
    ) -> Tensor:
        """(rows, tokens, width) to the same."""
        rows, tokens, _width = hidden_states.shape
        query = _by_head(attn.to_q(hidden_states), attn.heads)
        if encoder_hidden_states is not None and self.text is not None:
            key, value = self.text
        else:
            source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
            key, value = _by_head(attn.to_k(source), attn.heads), _by_head(attn.to_v(source), attn.heads)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = attn.to_out[0](mixed.transpose(1, 2).reshape(rows, tokens, -1))
        return out


# diffusers asks for it at every call of every layer: found anew each time it is some percent of a small step.
PlainAttention.__call__.__signature__ = inspect.signature(PlainAttention.__call__)  # type: ignore[attr-defined]


class TextAttention:
    """The layers of a UNet that look at the text."""

    def __init__(self, unet: nn.Module) -> None:
        self._layers: list[Any] = []
        for name, module in unet.named_modules():
            if isinstance(module, Attention) and _is_plain(module):
                module.set_processor(PlainAttention())
                if name.endswith("attn2"):
                    self._layers.append(module)

    def project(self, text: Tensor) -> Tensor:
        """Keys and values of all layers for text (rows, tokens, width): (rows, numbers), under the LoRAs bound now."""
        parts = []
        for layer in self._layers:
            parts += [layer.to_k(text).flatten(1), layer.to_v(text).flatten(1)]
        return torch.cat(parts, dim=1) if parts else text.new_empty(text.shape[0], 0)

    def views(self, projected: Tensor, tokens: int) -> list[tuple[Tensor, Tensor]]:
        """The keys and values inside (rows, numbers), by layer: (rows, heads, tokens, width of a head) each."""
        sizes = [tokens * layer.to_k.out_features for layer in self._layers for _ in range(2)]
        parts = torch.split(projected, sizes, dim=1)
        pairs = zip(self._layers, parts[::2], parts[1::2], strict=True)
        return [
            (
                _by_head(keys.view(keys.shape[0], tokens, -1), layer.heads),
                _by_head(values.view(values.shape[0], tokens, -1), layer.heads),
            )
            for layer, keys, values in pairs
        ]

    def bind(self, views: Sequence[tuple[Tensor, Tensor]] | None) -> None:
        """Let the layers look at these; with None each projects the text that it is given."""
        for index, layer in enumerate(self._layers):
            layer.processor.text = None if views is None else views[index]


def _by_head(states: Tensor, heads: int) -> Tensor:
    rows, tokens, width = states.shape
    return states.view(rows, tokens, heads, width // heads).transpose(1, 2)


def _is_plain(attention: Any) -> bool:
    """Whether nothing but projections and the product belongs to the layer."""
    extras = (
        "group_norm",
        "spatial_norm",
        "norm_q",
        "norm_k",
        "norm_cross",
        "residual_connection",
        "added_kv_proj_dim",
    )
    return (
        type(attention.processor) is AttnProcessor2_0
        and not any(getattr(attention, name, None) for name in extras)
        and attention.rescale_output_factor == 1
    )
