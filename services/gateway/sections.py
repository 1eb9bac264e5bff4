"""The sections that `/docs` and generators group the routes into: OpenAPI's tags. Pure."""

from __future__ import annotations

from typing import Any, Final

#: Name, what it is for, and how the paths begin; the first that fits is taken.
_SECTIONS: Final = (
    ("Generate", "Ask for a picture.", ("/v1/generate", "/v1/images/")),
    ("Variations and upscales", "Begin from a picture.", ("/v1/uploads", "/v1/variations", "/v1/upscales")),
    ("Generations", "Follow, read, cancel and erase.", ("/v1/generations", "/images/")),
    ("Batches", "Up to 1,000 pictures in one request.", ("/v1/batches",)),
    ("Models", "LoRAs, and the base models that they change.", ("/v1/models", "/v1/base-models")),
    ("Keys and limits", "Who may ask, and how much.", ("/v1/keys", "/v1/limits", "/v1/usage")),
    ("Organization", "Members, invitations, the audit log.", ("/v1/organization",)),
    ("Webhooks", "Be told.", ("/v1/webhooks",)),
    ("Platform", "Health, and this description.", ("/",)),
)
_BEGINNINGS: Final = ("/upscale", "/variations")

TAGS: Final = [{"name": name, "description": description} for name, description, _ in _SECTIONS]


def tags_of(path: str) -> list[Any]:
    """The section of a route."""
    if path.startswith("/v1/generations/") and path.endswith(_BEGINNINGS):
        path = "/v1/variations"
    return [next(name for name, _, beginnings in _SECTIONS if path.startswith(beginnings))]
