"""Where a request comes from, for the bounds on log-ins and the audit log. Of proxies, our own are believed."""

from __future__ import annotations

from imagineo.v1 import member_pb2
from starlette.requests import Request

from services.gateway.exchange import principal_of
from services.gateway.settings import GatewaySettings

_MAX_AGENT_LENGTH = 200


def client_of(settings: GatewaySettings, request: Request) -> member_pb2.Client:
    """The client's address and browser.

    Each trusted proxy puts the address it was called from at the end of `X-Forwarded-For`; what stands before that was
    written by strangers.
    """
    address = request.client.host if request.client else ""
    if settings.trusted_proxies:
        hops = [hop.strip() for hop in ",".join(request.headers.getlist("x-forwarded-for")).split(",") if hop.strip()]
        if len(hops) >= settings.trusted_proxies:
            address = hops[-settings.trusted_proxies]
    return member_pb2.Client(address=address, user_agent=request.headers.get("user-agent", "")[:_MAX_AGENT_LENGTH])


def actor_of(settings: GatewaySettings, request: Request) -> member_pb2.Actor:
    """Who asks for a change: the member of the session, or the key."""
    principal = principal_of(request.scope)
    client = client_of(settings, request)
    return member_pb2.Actor(user_id=principal.user_id, key_id=principal.key_id, client=client)
