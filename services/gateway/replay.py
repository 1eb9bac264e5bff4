"""A submit that cannot be done any more, but was done before under its idempotency key: the first answer again.

Accept answers a repetition by itself. What is refused on the way to it comes here: the month's last image may be the
one that the first request took, and a model may be gone since.
"""

from __future__ import annotations

import hashlib
from typing import Final

from imagineo import errors
from imagineo.v1 import generation_service_pb2 as pb

from services.gateway.peers import Peers

#: What a request may be refused with now that was accepted before. Not who asks, what he may, or how often.
OVERTAKEN: Final = (errors.QuotaExceeded, errors.ModelNotFound, errors.LoraIncompatible, errors.InvalidParameter)


def keys_of(idempotency_key: str, count: int) -> list[str]:
    """The keys of several runs of one request: the client's own, then ones that no client can send."""
    digest = hashlib.sha256(idempotency_key.encode()).hexdigest()
    return [idempotency_key, *(f"{digest} {index}" for index in range(1, count))]


async def earlier_acceptance(
    peers: Peers, organization_id: str, idempotency_key: str, body: bytes
) -> pb.Acceptance | None:
    """What the key was answered; None if it is new.

    Raises:
        IdempotencyKeyReused: if it came with another body.
        Unavailable: if nobody can say.
    """
    request = pb.FindAcceptanceRequest(
        organization_id=organization_id, idempotency_key=idempotency_key, body_sha256=hashlib.sha256(body).digest()
    )
    try:
        answer: pb.FindAcceptanceResponse = await peers.ask(peers.status.FindAcceptance, request)
    except errors.NotFound:
        return None
    return answer.acceptance
