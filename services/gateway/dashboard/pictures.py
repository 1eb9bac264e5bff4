"""Which picture stands for a model: its sample, else the one that comes along, else the last one drawn with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from services.gateway.dashboard import static_files

_FOLDER: Final = "pictures"


def of_file(sha256: str) -> str:
    """The picture that comes along for a LoRA's file; empty: none does."""
    name = f"{_FOLDER}/{sha256[:12]}.webp"
    return static_files.address(name) if name in static_files.FILES else ""


def of_base(slug: str) -> str:
    """The same for a base model."""
    name = f"{_FOLDER}/{slug}.webp"
    return static_files.address(name) if name in static_files.FILES else ""


def of_door() -> list[str]:
    """What hangs beside the log-in."""
    names = [name for name in static_files.FILES if name.startswith(f"{_FOLDER}/door-")]
    return [static_files.address(name) for name in names]


def of_model(model: dict[str, Any], drawn: dict[str, str] | None = None) -> str:
    """The picture of a LoRA as REST shows it; `drawn` is the last picture by model_id."""
    return model["sample_image_url"] or of_file(model["sha256"]) or (drawn or {}).get(model["id"], "")


def last_drawn(runs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The newest picture of each model among runs, newest first."""
    found: dict[str, str] = {}
    for run in runs:
        if run["image_url"]:
            found.setdefault(run["model_id"], run["image_url"])
    return found


def choices(
    bases: Sequence[dict[str, Any]], models: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The models to draw with, LoRAs first, each with a picture."""
    drawn = last_drawn(runs)
    return [
        {
            "id": model["id"],
            "name": model["name"],
            "picture": of_model(model, drawn),
            "base_model_id": model["base_model_id"],
            "trigger_words": model["trigger_words"],
            "is_lora": True,
        }
        for model in models
    ] + [
        {
            "id": base["id"],
            "name": base["name"],
            "picture": of_base(base["slug"]) or drawn.get(base["id"], ""),
            "base_model_id": base["id"],
            "trigger_words": [],
            "is_lora": False,
        }
        for base in bases
    ]
