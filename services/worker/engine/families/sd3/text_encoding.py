"""Prompts to what steers the transformer, as the stock pipeline makes it: text states and pooled text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.worker.engine.families.port import Asked, Conditions


def encode(pipeline: Any, prompt: str) -> Conditions:
    """`text`: all encoders' states one after the other, (1, tokens, width); `pooled`: of both CLIPs, (1, width).

    Without T5 its part is zeros.
    """
    states, _, pooled, _ = pipeline.encode_prompt(
        prompt, None, None, device=pipeline.device, do_classifier_free_guidance=False
    )
    return {"text": states, "pooled": pooled}


def rows(pipeline: Any, asked: Asked, encode: Callable[[str], Conditions]) -> tuple[Conditions, ...]:  # noqa: ARG001 - the port's signature
    """The conditional row, and the unconditional one where there is guidance."""
    if asked.guidance <= 1:
        return (encode(asked.positive_prompt),)
    return (encode(asked.positive_prompt), encode(asked.negative_prompt))
