"""The shapes of batches in `/openapi.json`, as data. `schemas` puts them beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.gateway.batch_body import AXES, MAX_ITEMS
from services.gateway.rendering_batch import COUNTS, STATUS_WORDS
from services.gateway.shapes import TEXT, TIME, WHOLE, Json, closed, nullable, page, ref, text

_URLS: Final = ("self", "cancel", "items", "results", "archive", "contact_sheet")


def batch_schemas(fields: Mapping[str, Json], metadata: Json, required: tuple[str, ...]) -> dict[str, Json]:
    """All of them.

    Args:
        fields: of a body of `POST /v1/generate`.
        metadata: of anything.
        required: the fields that an item may leave out only where `defaults` have them.
    """
    item_fields = {name: found for name, found in fields.items() if name != "dry_run"}
    axes = {
        name: {"type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "items": item_fields[of_items]}
        for name, of_items in AXES.items()
    }
    item = closed(item_fields, optional=tuple(item_fields))
    item["description"] = (
        f"As for POST /v1/generate, without dry_run; {' and '.join(required)} may stand in `defaults` instead."
    )
    return {
        "BatchItem": item,
        "BatchSweep": {
            **closed(axes, optional=tuple(axes)),
            "description": "Every combination, the last list fastest.",
        },
        "BatchSubmission": _submission(item_fields["webhook_url"], metadata),
        "BatchSubmitted": closed(
            {
                "batch_id": TEXT,
                "status": {"const": "running"},
                "total": WHOLE,
                "estimated_time": {"type": "integer", "description": "Whole seconds until all items should be done."},
                "created_at": TIME,
                "urls": ref("BatchUrls"),
            }
        ),
        "Batch": _batch(metadata),
        "Batches": page("batches", "Batch"),
        "BatchUrls": closed(dict.fromkeys(_URLS, TEXT)),
        "BatchResult": _result(),
    }


def _submission(webhook_url: Json, metadata: Json) -> Json:
    head = {
        "name": {**text(0, 200), "description": "For people."},
        "metadata": {**metadata, "description": "The batch's own, handed back untouched."},
        "webhook_url": {**webhook_url, "description": "Told of every item's end, where the item has no other."},
        "defaults": {**ref("BatchItem"), "description": "What items leave out."},
    }
    items = {"type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "items": ref("BatchItem")}
    return {
        "oneOf": [
            closed({**head, "items": items}, optional=tuple(head)),
            closed({**head, "sweep": ref("BatchSweep")}, optional=tuple(head)),
        ]
    }


def _batch(metadata: Json) -> Json:
    problem = closed({"index": WHOLE, "run_id": TEXT, "code": TEXT, "message": TEXT})
    return closed(
        {
            "batch_id": TEXT,
            "name": TEXT,
            "status": {
                "enum": list(STATUS_WORDS.values()),
                "description": "`running`: some items are not over; `canceling`: the same, after a cancel. Then "
                "`canceled`: a cancel stopped some, or all were canceled; `failed`: none completed and some failed or "
                "expired; else `completed`, which may hold failed items: see `items`.",
            },
            "progress": {"type": "integer", "minimum": 0, "maximum": 100},
            "items": {**closed(dict.fromkeys(COUNTS, WHOLE)), "description": "How many items stand where."},
            "estimated_time": {"type": "integer", "description": "Whole seconds left."},
            "created_at": TIME,
            "started_at": nullable(TIME),
            "finished_at": nullable(TIME),
            "errors": {"type": "array", "maxItems": 10, "items": problem, "description": "The first failed items."},
            "metadata": metadata,
            "urls": ref("BatchUrls"),
        }
    )


def _result() -> Json:
    return closed(
        {
            "index": WHOLE,
            "run_id": TEXT,
            "status": {**TEXT, "description": "The generation's, or `deleted`: then all below is null."},
            "image_url": nullable(TEXT),
            "image_url_expires_at": nullable(TIME),
            "seed": nullable(WHOLE),
            "model_id": nullable(TEXT),
            "image": nullable({"type": "object"}),
            "error": nullable(closed({"code": TEXT, "message": TEXT})),
            "parameters": nullable(ref("Submission")),
            "file": {**nullable(TEXT), "description": "In an archive: the image's name in it."},
            "missing": {"type": "boolean", "description": "In an archive: the image is gone from the store."},
        },
        optional=("file", "missing"),
    )
