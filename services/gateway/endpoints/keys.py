"""`/v1/keys`: the account's API keys. A key's secret is shown once, in the answer that makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from imagineo import errors
from imagineo.ids import is_id
from imagineo.v1 import auth_service_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import accounts, query
from services.gateway.body import read_object
from services.gateway.clients import actor_of
from services.gateway.exchange import principal_of
from services.gateway.parts import Parts, json_response
from services.gateway.specification import answer, operation, shape


async def list_all(parts: Parts, request: Request) -> Response:
    """The account's keys, newest first, the revoked included."""
    asked = request.query_params
    query.check_names(asked, ("limit", "cursor"))
    listing = pb.ListKeysRequest(
        organization_id=principal_of(request.scope).organization_id,
        page_size=query.limit(asked),
        page_token=query.cursor(asked),
    )
    try:
        page = await parts.peers.ask(parts.peers.auth.ListKeys, listing)
    except errors.InvalidParameter as problem:
        raise query.renamed(problem) from problem
    return json_response(
        {"keys": [accounts.key(one) for one in page.keys], "next_cursor": page.next_page_token or None}
    )


async def create(parts: Parts, request: Request) -> Response:
    """Make a key that may do no more than the one that asks."""
    principal = principal_of(request.scope)
    wanted = accounts.read_new_key(await read_object(request))
    accounts.check_may_make(principal, wanted)
    await _check_models(parts, principal.organization_id, wanted.allowed_model_ids)
    asked = pb.CreateKeyRequest(
        organization_id=principal.organization_id,
        name=wanted.name,
        permissions=wanted.permissions or principal.permissions,
        expires_at=wanted.expires_at,
        allowed_model_ids=wanted.allowed_model_ids,
        images_per_month=wanted.images_per_month,
        actor=actor_of(parts.settings, request),
    )
    made = await parts.peers.ask(parts.peers.auth.CreateKey, asked)
    return json_response({**accounts.key(made.key), "secret": made.secret}, headers={"Cache-Control": "no-store"})


async def _check_models(parts: Parts, organization_id: str, model_ids: Sequence[str]) -> None:
    """Refuse models that the organization may not draw with; what is no id at all is auth's to refuse."""

    async def check(index: int, model_id: str) -> None:
        try:
            await parts.resolver.resolve(organization_id, model_id, ())
        except errors.ModelNotFound as problem:
            param = f"allowed_models[{index}]"
            message = f"There is no model '{model_id}', or it belongs to somebody else."
            raise errors.ModelNotFound(message, metadata={"param": param}) from problem

    known = [(index, one) for index, one in enumerate(model_ids) if is_id(one, "model") or is_id(one, "base")]
    await asyncio.gather(*(check(index, model_id) for index, model_id in known))


async def revoke(parts: Parts, request: Request) -> Response:
    """End a key: it is refused everywhere within 2 seconds."""
    key_id = str(request.path_params["key_id"])
    if not is_id(key_id, "key"):
        raise errors.NotFound("There is no such key.")
    accounts.check_may_revoke(principal_of(request.scope), key_id)
    names = pb.RevokeKeyRequest(
        organization_id=principal_of(request.scope).organization_id,
        key_id=key_id,
        actor=actor_of(parts.settings, request),
    )
    await parts.peers.ask(parts.peers.auth.RevokeKey, names)
    return Response(status_code=204)


LIST: Final = operation(
    "listKeys",
    "List the API keys, newest first, the revoked included; secrets are not among what is shown.",
    {200: answer("One page.", shape("Keys"))},
    refuses=[400],
    parameters=query.PAGE_PARAMETERS,
)
CREATE: Final = operation(
    "createKey",
    "Make an API key. Its secret is shown in this answer only. A key gives no scope that it lacks, and a key with "
    "limits of its own makes no others.",
    {200: answer("The key with its secret.", shape("NewKey"), headers=["Cache-Control"])},
    refuses=[400, 404, 413, 415],
    body=shape("KeyRequest"),
    example={
        "name": "nightly batch",
        "scopes": ["generations:read", "generations:write", "models:read"],
        "monthly_images": 500,
    },
)
REVOKE: Final = operation(
    "revokeKey",
    "Revoke an API key: it is refused everywhere within 2 seconds. Idempotent.",
    {204: {"description": "It is revoked.", "headers": {}}},
    refuses=[404],
)
