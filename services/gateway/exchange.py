"""What the gateway learns about one request on its way through: the layers and handlers read and fill it."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from imagineo.v1 import account_pb2

_KEY = "imagineo.exchange"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who was let in, as auth is asked about them again while their answer stays open."""

    organization_id: str
    permission: account_pb2.Permission.ValueType
    key_sha256: bytes = b""
    session_sha256: bytes = b""


@dataclass(slots=True)
class Exchange:
    """One request and its answer."""

    request_id: str
    route: str = ""
    """The path template, such as `/v1/generations/{run_id}`; empty for an unknown path."""
    principal: account_pb2.Principal | None = None
    holder: Holder | None = None
    rate_limit: account_pb2.RateLimit | None = None
    run_id: str = ""
    method: str = "GET"


def begin(scope: MutableMapping[str, Any], request_id: str) -> Exchange:
    """Attach a new exchange to an ASGI scope."""
    exchange = Exchange(request_id, method=scope.get("method", "GET"))
    scope[_KEY] = exchange
    return exchange


def exchange_of(scope: MutableMapping[str, Any]) -> Exchange:
    """The exchange of a scope that `begin` has seen."""
    exchange: Exchange = scope[_KEY]
    return exchange


def principal_of(scope: MutableMapping[str, Any]) -> account_pb2.Principal:
    """Who stands behind an authorized request.

    Raises:
        LookupError: if the route was not authorized, which is a bug.
    """
    principal = exchange_of(scope).principal
    if principal is None:
        raise LookupError("the request was not authorized")
    return principal


def holder_of(scope: MutableMapping[str, Any]) -> Holder:
    """Who holds an authorized request's answer open.

    Raises:
        LookupError: if the route was not authorized, which is a bug.
    """
    holder = exchange_of(scope).holder
    if holder is None:
        raise LookupError("the request was not authorized")
    return holder
