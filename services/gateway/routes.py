"""The routes, one a line: method, path, handler, what `/openapi.json` says, what the key or the role needs."""

from __future__ import annotations

from typing import Final

from imagineo.v1.account_pb2 import PERMISSION_AUDIT_READ as AUDIT_READ
from imagineo.v1.account_pb2 import PERMISSION_GENERATIONS_READ as READ
from imagineo.v1.account_pb2 import PERMISSION_GENERATIONS_WRITE as WRITE
from imagineo.v1.account_pb2 import PERMISSION_KEYS_READ as KEYS_READ
from imagineo.v1.account_pb2 import PERMISSION_KEYS_WRITE as KEYS_WRITE
from imagineo.v1.account_pb2 import PERMISSION_MEMBERS_READ as MEMBERS_READ
from imagineo.v1.account_pb2 import PERMISSION_MEMBERS_WRITE as MEMBERS_WRITE
from imagineo.v1.account_pb2 import PERMISSION_MODELS_READ as MODELS
from imagineo.v1.account_pb2 import PERMISSION_MODELS_WRITE as MODELS_WRITE
from imagineo.v1.account_pb2 import PERMISSION_ORGANIZATION_READ as ORGANIZATION_READ
from imagineo.v1.account_pb2 import PERMISSION_ORGANIZATION_WRITE as ORGANIZATION_WRITE
from imagineo.v1.account_pb2 import PERMISSION_USAGE_READ as USAGE
from imagineo.v1.account_pb2 import PERMISSION_WEBHOOKS_READ as WEBHOOKS_READ
from imagineo.v1.account_pb2 import PERMISSION_WEBHOOKS_WRITE as WEBHOOKS_WRITE

from services.gateway.dispatch import Row
from services.gateway.endpoints import (
    audit_log,
    base_models,
    batch_results,
    batches,
    docs,
    events,
    generate,
    generations,
    health,
    images,
    invitations,
    keys,
    limits,
    members,
    models,
    openai_images,
    openapi,
    organization,
    provenance,
    uploads,
    upscales,
    usage,
    variations,
    webhooks,
)
from services.gateway.settings import GatewaySettings


def _UPLOAD(settings: GatewaySettings) -> int:  # noqa: N802 - it reads as a word of the table
    """A picture's file as text in JSON, and what stands around it."""
    return max(uploads.BODY_LIMIT_BYTES, settings.body_limit_bytes)


_BATCH: Final = batches.limit


# fmt: off
ROUTES: Final = (
    Row("POST", "/v1/generate", generate.submit, generate.SUBMIT, WRITE, admits_itself=True),
    Row("POST", "/v1/images/generations", openai_images.create, openai_images.CREATE, WRITE, admits_itself=True),
    Row("GET", "/v1/generations/{run_id}", generations.read, generations.READ, READ),
    Row("DELETE", "/v1/generations/{run_id}", generations.delete, generations.DELETE, WRITE),
    Row("GET", "/v1/generations/{run_id}/manifest", provenance.read, provenance.READ, READ),
    Row("POST", "/v1/generations/{run_id}/replay", provenance.replay, provenance.REPLAY, WRITE, admits_itself=True),
    Row("POST", "/v1/generations/{run_id}/cancel", generations.cancel, generations.CANCEL, WRITE),
    Row("POST", "/v1/generations/{run_id}/upscale", upscales.of_run, upscales.OF_RUN, WRITE, admits_itself=True),
    Row("POST", "/v1/generations/{run_id}/variations", variations.of_run, variations.OF_RUN, WRITE, admits_itself=True),
    Row("GET", "/v1/generations/{run_id}/events", events.read, events.READ, READ, is_page=True),
    Row("GET", "/v1/generations", generations.list_all, generations.LIST, READ),
    Row("POST", "/v1/uploads", uploads.create, uploads.CREATE, WRITE, body_limit_bytes=_UPLOAD),
    Row("GET", "/v1/uploads/{upload_id}", uploads.read, uploads.READ, READ),
    Row("DELETE", "/v1/uploads/{upload_id}", uploads.delete, uploads.DELETE, WRITE),
    Row("POST", "/v1/variations", variations.of_picture, variations.OF_PICTURE, WRITE, admits_itself=True, body_limit_bytes=_UPLOAD),  # noqa: E501
    Row("POST", "/v1/upscales", upscales.of_picture, upscales.OF_PICTURE, WRITE, admits_itself=True, body_limit_bytes=_UPLOAD),  # noqa: E501
    Row("POST", "/v1/batches", batches.create, batches.CREATE, WRITE, admits_itself=True, body_limit_bytes=_BATCH),
    Row("GET", "/v1/batches", batches.list_all, batches.LIST, READ),
    Row("GET", "/v1/batches/{batch_id}", batches.read, batches.READ, READ),
    Row("POST", "/v1/batches/{batch_id}/cancel", batches.cancel, batches.CANCEL, WRITE),
    Row("GET", "/v1/batches/{batch_id}/results", batch_results.read, batch_results.READ, READ),
    Row("GET", "/v1/batches/{batch_id}/contact-sheet.png", batch_results.sheet, batch_results.SHEET, READ),
    Row("GET", "/v1/models", models.list_all, models.LIST, MODELS),
    Row("POST", "/v1/models", models.create, models.CREATE, MODELS_WRITE, body_limit_bytes=models.upload_limit_bytes),
    Row("GET", "/v1/models/{model_id}", models.read, models.READ, MODELS),
    Row("PATCH", "/v1/models/{model_id}", models.change, models.CHANGE, MODELS_WRITE),
    Row("DELETE", "/v1/models/{model_id}", models.delete, models.DELETE, MODELS_WRITE),
    Row("GET", "/v1/base-models", base_models.list_all, base_models.LIST, MODELS),
    Row("GET", "/v1/keys", keys.list_all, keys.LIST, KEYS_READ),
    Row("POST", "/v1/keys", keys.create, keys.CREATE, KEYS_WRITE),
    Row("DELETE", "/v1/keys/{key_id}", keys.revoke, keys.REVOKE, KEYS_WRITE),
    Row("GET", "/v1/organization", organization.read, organization.READ, ORGANIZATION_READ),
    Row("PATCH", "/v1/organization", organization.change, organization.CHANGE, ORGANIZATION_WRITE),
    Row("GET", "/v1/organization/members", members.list_all, members.LIST, MEMBERS_READ),
    Row("PATCH", "/v1/organization/members/{user_id}", members.change, members.CHANGE, MEMBERS_WRITE),
    Row("DELETE", "/v1/organization/members/{user_id}", members.remove, members.REMOVE, MEMBERS_WRITE),
    Row("GET", "/v1/organization/invitations", invitations.list_all, invitations.LIST, MEMBERS_READ),
    Row("POST", "/v1/organization/invitations", invitations.create, invitations.CREATE, MEMBERS_WRITE),
    Row("DELETE", "/v1/organization/invitations/{invitation_id}", invitations.revoke, invitations.REVOKE, MEMBERS_WRITE),  # noqa: E501
    Row("GET", "/v1/organization/audit-log", audit_log.list_all, audit_log.LIST, AUDIT_READ),
    Row("GET", "/v1/usage", usage.read, usage.READ, USAGE),
    Row("GET", "/v1/limits", limits.read, limits.READ, USAGE),
    Row("GET", "/v1/webhooks", webhooks.list_all, webhooks.LIST, WEBHOOKS_READ),
    Row("POST", "/v1/webhooks", webhooks.create, webhooks.CREATE, WEBHOOKS_WRITE),
    Row("GET", "/v1/webhooks/secret", webhooks.read_own, webhooks.READ_OWN, WEBHOOKS_WRITE),
    Row("POST", "/v1/webhooks/secret/rotate", webhooks.rotate_own, webhooks.ROTATE_OWN, WEBHOOKS_WRITE),
    Row("GET", "/v1/webhooks/deliveries", webhooks.list_all_deliveries, webhooks.LIST_ALL_DELIVERIES, WEBHOOKS_READ),
    Row("POST", "/v1/webhooks/deliveries/{delivery_id}/redeliver", webhooks.redeliver_any, webhooks.REDELIVER_ANY, WEBHOOKS_WRITE),  # noqa: E501
    Row("GET", "/v1/webhooks/{webhook_id}", webhooks.read, webhooks.READ, WEBHOOKS_READ),
    Row("PATCH", "/v1/webhooks/{webhook_id}", webhooks.change, webhooks.CHANGE, WEBHOOKS_WRITE),
    Row("DELETE", "/v1/webhooks/{webhook_id}", webhooks.delete, webhooks.DELETE, WEBHOOKS_WRITE),
    Row("POST", "/v1/webhooks/{webhook_id}/rotate-secret", webhooks.rotate, webhooks.ROTATE, WEBHOOKS_WRITE),
    Row("GET", "/v1/webhooks/{webhook_id}/deliveries", webhooks.list_deliveries, webhooks.LIST_DELIVERIES, WEBHOOKS_READ),  # noqa: E501
    Row("POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", webhooks.redeliver, webhooks.REDELIVER, WEBHOOKS_WRITE),  # noqa: E501
    Row("GET", "/images/{name}", images.read, images.READ),
    Row("GET", "/healthz", health.alive, health.ALIVE),
    Row("GET", "/readyz", health.ready, health.READY),
    Row("GET", "/openapi.json", openapi.read, openapi.READ),
    Row("GET", "/docs", docs.page, docs.PAGE),
    Row("GET", "/docs/{name}", docs.viewer, docs.VIEWER),
    Row("GET", "/llms.txt", docs.llms, docs.LLMS),
)
# fmt: on
