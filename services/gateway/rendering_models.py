"""LoRAs as REST shows them. Pure; time is an argument."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from imagineo.v1 import generation_pb2, model_pb2
from imagineo.wire.image_urls import UrlSigner

from services.gateway.model_fields import SHARING_WORDS
from services.gateway.rendering import image_name, moment


def model(
    lora: model_pb2.Lora,
    organization_id: str,
    *,
    is_warm: bool,
    sample: generation_pb2.Generation | None,
    public_url: str,
    signer: UrlSigner,
    now_s: float,
) -> dict[str, Any]:
    """One LoRA as an organization sees it, with a fresh link to its sample; the first four fields are documented."""
    is_owned = bool(lora.organization_id) and lora.organization_id == organization_id
    link = None
    if sample is not None:
        link = signer.sign(public_url, image_name(sample.run_id, sample.image.output_format), now_s)
    return {
        "id": lora.model_id,
        "name": lora.name,
        "description": lora.description,
        "created_at": moment(lora.created_at),
        "base_model_id": lora.base_model_id,
        "trigger_words": list(lora.trigger_words),
        "rank": lora.rank,
        "size_bytes": lora.file.size_bytes,
        "sha256": lora.file.sha256,
        "naming": lora.naming,
        "shared": not is_owned,
        "owned": is_owned,
        "sharing": SHARING_WORDS.get(lora.sharing, "public" if not lora.organization_id else "private"),
        "shared_with": list(lora.shared_organization_ids) if is_owned else None,
        "warm": is_warm,
        "check": _check(lora.check) if lora.HasField("check") else None,
        "sample_run_id": (lora.sample_run_id or None) if is_owned else None,
        "sample_image_url": link.url if link else None,
        "sample_image_url_expires_at": moment(Timestamp(seconds=link.expires_at_s)) if link else None,
    }


def _check(check: model_pb2.LoraCheck) -> dict[str, Any]:
    keys = check.matched_keys + check.ignored_keys
    return {
        "family": check.family or None,
        "ranks": list(check.ranks),
        "alphas": list(check.alphas),
        "target_modules": list(check.target_modules),
        "matched_keys": check.matched_keys,
        "ignored_keys": check.ignored_keys,
        "matched_ratio": round(check.matched_keys / keys, 4) if keys else 0.0,
    }
