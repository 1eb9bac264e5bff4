"""`/v1/webhooks`: registered endpoints, their secrets, and the log of what was posted. The service behind decides."""

from __future__ import annotations

from typing import Any, Final

from imagineo import errors
from imagineo.ids import is_id
from imagineo.v1 import webhook_service_pb2 as pb
from imagineo.wire import shown_webhook
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import query
from services.gateway.body import read_object
from services.gateway.exchange import principal_of
from services.gateway.fields import text
from services.gateway.parts import Parts, json_response
from services.gateway.specification import answer, operation, parameter, shape
from services.gateway.webhooks import read_change, read_rotation, read_webhook

_NO_STORE: Final = {"Cache-Control": "no-store"}


async def list_all(parts: Parts, request: Request) -> Response:
    """The account's webhooks, newest first."""
    asked = request.query_params
    query.check_names(asked, ("limit", "cursor"))
    listing = pb.ListWebhooksRequest(
        organization_id=_owner(request), page_size=query.limit(asked), page_token=query.cursor(asked)
    )
    try:
        page = await parts.peers.ask(parts.peers.webhooks.ListWebhooks, listing)
    except errors.InvalidParameter as problem:
        raise query.renamed(problem) from problem
    webhooks = [shown_webhook.webhook(hook) for hook in page.webhooks]
    return json_response({"webhooks": webhooks, "next_cursor": page.next_page_token or None})


async def create(parts: Parts, request: Request) -> Response:
    """Register one; the answer alone holds its secret."""
    wanted = read_webhook(await read_object(request), parts.settings.reach)
    asked = pb.CreateWebhookRequest(
        organization_id=_owner(request),
        url=wanted["url"],
        description=wanted.get("description", ""),
        events=wanted.get("events", []),
        disabled=not wanted.get("active", True),
    )
    made = await parts.peers.ask(parts.peers.webhooks.CreateWebhook, asked)
    content = {**shown_webhook.webhook(made.webhook), "secret": made.secret.secret}
    return json_response(content, headers=_NO_STORE)


async def read(parts: Parts, request: Request) -> Response:
    """One webhook."""
    names = pb.GetWebhookRequest(organization_id=_owner(request), webhook_id=_webhook_id(request))
    found = await parts.peers.ask(parts.peers.webhooks.GetWebhook, names)
    return json_response(shown_webhook.webhook(found.webhook))


async def change(parts: Parts, request: Request) -> Response:
    """Change what the body names."""
    webhook_id = _webhook_id(request)
    wanted = read_change(await read_object(request), parts.settings.reach)
    events = wanted.pop("events", None)
    asked = pb.UpdateWebhookRequest(organization_id=_owner(request), webhook_id=webhook_id, **wanted)
    if events is not None:
        asked.filter.events.extend(events)
    found = await parts.peers.ask(parts.peers.webhooks.UpdateWebhook, asked)
    return json_response(shown_webhook.webhook(found.webhook))


async def delete(parts: Parts, request: Request) -> Response:
    """Remove one with its log."""
    names = pb.DeleteWebhookRequest(organization_id=_owner(request), webhook_id=_webhook_id(request))
    await parts.peers.ask(parts.peers.webhooks.DeleteWebhook, names)
    return Response(status_code=204)


async def rotate(parts: Parts, request: Request) -> Response:
    """A new secret for one webhook."""
    return await _rotate(parts, request, _webhook_id(request))


async def rotate_own(parts: Parts, request: Request) -> Response:
    """A new secret for what is posted to the `webhook_url`s of generations."""
    return await _rotate(parts, request, "")


async def read_own(parts: Parts, request: Request) -> Response:
    """The secret of what is posted to the `webhook_url`s of generations."""
    names = pb.GetSigningSecretRequest(organization_id=_owner(request))
    found = await parts.peers.ask(parts.peers.webhooks.GetSigningSecret, names)
    return json_response(shown_webhook.secret(found.secret), headers=_NO_STORE)


async def list_deliveries(parts: Parts, request: Request) -> Response:
    """What was posted to one webhook, newest first."""
    return await _list_deliveries(parts, request, _webhook_id(request))


async def list_all_deliveries(parts: Parts, request: Request) -> Response:
    """What was posted anywhere for the account, newest first."""
    return await _list_deliveries(parts, request, "")


async def redeliver(parts: Parts, request: Request) -> Response:
    """Post one delivery of a webhook again."""
    return await _redeliver(parts, request, _webhook_id(request))


async def redeliver_any(parts: Parts, request: Request) -> Response:
    """Post one delivery again, whoever it is for."""
    return await _redeliver(parts, request, "")


async def _rotate(parts: Parts, request: Request, webhook_id: str) -> Response:
    overlap_s = read_rotation(await read_object(request) if await request.body() else {})
    asked = pb.RotateSecretRequest(organization_id=_owner(request), webhook_id=webhook_id, overlap_s=overlap_s)
    found = await parts.peers.ask(parts.peers.webhooks.RotateSecret, asked)
    return json_response(shown_webhook.secret(found.secret), headers=_NO_STORE)


async def _list_deliveries(parts: Parts, request: Request, webhook_id: str) -> Response:
    asked = request.query_params
    query.check_names(asked, ("limit", "cursor", "state", "subject_id"))
    listing = pb.ListDeliveriesRequest(
        organization_id=_owner(request),
        webhook_id=webhook_id,
        page_size=query.limit(asked),
        page_token=query.cursor(asked),
        states=[shown_webhook.STATES[word] for word in query.words(asked, "state", shown_webhook.STATES)],
        subject_id=text(0, 64)("subject_id", asked.get("subject_id", "")),
    )
    try:
        page = await parts.peers.ask(parts.peers.webhooks.ListDeliveries, listing)
    except errors.InvalidParameter as problem:
        raise query.renamed(problem) from problem
    deliveries = [shown_webhook.delivery(found) for found in page.deliveries]
    return json_response({"deliveries": deliveries, "next_cursor": page.next_page_token or None})


async def _redeliver(parts: Parts, request: Request, webhook_id: str) -> Response:
    delivery_id = str(request.path_params["delivery_id"])
    if not is_id(delivery_id, "whd"):
        raise errors.NotFound("There is no such delivery.")
    asked = pb.RedeliverRequest(organization_id=_owner(request), webhook_id=webhook_id, delivery_id=delivery_id)
    found = await parts.peers.ask(parts.peers.webhooks.Redeliver, asked)
    return json_response(shown_webhook.delivery(found.delivery))


def _owner(request: Request) -> str:
    return principal_of(request.scope).organization_id


def _webhook_id(request: Request) -> str:
    webhook_id = str(request.path_params["webhook_id"])
    if not is_id(webhook_id, "hook"):
        raise errors.NotFound("There is no such webhook.")
    return webhook_id


_EXAMPLE: Final[dict[str, Any]] = {
    "url": "https://hooks.example.com/imagineo",
    "description": "tells the shop",
    "events": ["generation.completed", "generation.failed"],
}


def _with_optional_body(described: dict[str, Any]) -> dict[str, Any]:
    return {**described, "requestBody": {**described["requestBody"], "required": False}}


_ID: Final = parameter("webhook_id", "path", "Which one.", {"type": "string", "pattern": "^hook_"}, required=True)
_DELIVERY_ID: Final = parameter(
    "delivery_id", "path", "Which one.", {"type": "string", "pattern": "^whd_"}, required=True
)
_LOG: Final = (
    *query.PAGE_PARAMETERS,
    parameter(
        "state",
        "query",
        "Only deliveries in one of these, repeated or with commas between.",
        {"type": "array", "items": {"enum": list(shown_webhook.STATES)}},
    ),
    parameter("subject_id", "query", "Only what is about this, such as a run_id.", {"type": "string", "maxLength": 64}),
)

LIST: Final = operation(
    "listWebhooks",
    "List the registered webhooks, newest first.",
    {200: answer("One page.", shape("Webhooks"))},
    refuses=[400],
    parameters=query.PAGE_PARAMETERS,
)
CREATE: Final = operation(
    "createWebhook",
    "Register a webhook: events are posted to it, signed by the scheme of Standard Webhooks. An account has up to 50.",
    {200: answer("It, with its secret, which is shown this once.", shape("NewWebhook"), headers=["Cache-Control"])},
    refuses=[400, 409, 413, 415],
    body=shape("WebhookRequest"),
    example=_EXAMPLE,
)
READ: Final = operation(
    "getWebhook",
    "Read one webhook.",
    {200: answer("It.", shape("Webhook"))},
    refuses=[404],
    parameters=[_ID],
)
CHANGE: Final = operation(
    "updateWebhook",
    "Change a webhook. What waits for it goes to its new address; switching off drops it, switching on begins anew.",
    {200: answer("It, after the change.", shape("Webhook"))},
    refuses=[400, 404, 413, 415],
    parameters=[_ID],
    body=shape("WebhookChange"),
    example={"events": ["*"], "active": True},
)
DELETE: Final = operation(
    "deleteWebhook",
    "Remove a webhook with its log.",
    {204: {"description": "It is gone.", "headers": {}}},
    refuses=[404],
    parameters=[_ID],
    path_values={"webhook_id": "$UNWANTED_WEBHOOK_ID"},
)
ROTATE: Final = _with_optional_body(
    operation(
        "rotateWebhookSecret",
        "Give a webhook a new secret. For `overlap_s` seconds each request is signed with both.",
        {200: answer("The new secret, shown this once.", shape("SigningSecret"), headers=["Cache-Control"])},
        refuses=[400, 404, 413, 415],
        parameters=[_ID],
        body=shape("Rotation"),
        example={"overlap_s": 86_400},
    )
)
READ_OWN: Final = operation(
    "getSigningSecret",
    "Read the account's own signing secret: it signs what is posted to the `webhook_url`s of generations.",
    {200: answer("The secret; made at its first use.", shape("SigningSecret"), headers=["Cache-Control"])},
)
ROTATE_OWN: Final = _with_optional_body(
    operation(
        "rotateSigningSecret",
        "Give the account a new signing secret. For `overlap_s` seconds each request is signed with both.",
        {200: answer("The new secret.", shape("SigningSecret"), headers=["Cache-Control"])},
        refuses=[400, 413, 415],
        body=shape("Rotation"),
        example={"overlap_s": 3_600},
    )
)
LIST_DELIVERIES: Final = operation(
    "listWebhookDeliveries",
    "List what was posted to a webhook in the last 30 days, newest first.",
    {200: answer("One page.", shape("Deliveries"))},
    refuses=[400, 404],
    parameters=[_ID, *_LOG],
)
LIST_ALL_DELIVERIES: Final = operation(
    "listDeliveries",
    "List what was posted in the last 30 days to all webhooks and to the `webhook_url`s of generations, newest first.",
    {200: answer("One page.", shape("Deliveries"))},
    refuses=[400],
    parameters=_LOG,
)
REDELIVER: Final = operation(
    "redeliverToWebhook",
    "Post a delivery again, under the same event id, with new attempts over three days.",
    {200: answer("It, as it stands.", shape("Delivery"))},
    refuses=[404, 409],
    parameters=[_ID, _DELIVERY_ID],
)
REDELIVER_ANY: Final = operation(
    "redeliver",
    "The same for any delivery of the account, those to `webhook_url`s of generations included.",
    {200: answer("It, as it stands.", shape("Delivery"))},
    refuses=[404, 409],
    parameters=[_DELIVERY_ID],
)
