"""The table that leads from the exception tree to HTTP, and the one shape of an error body."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
from imagineo import errors
from imagineo.v1 import error_reason_pb2 as pb
from starlette.responses import Response

from services.gateway.exchange import Exchange

HTTP_STATUS: Final[dict[pb.ErrorReason.ValueType, int]] = {
    pb.ERROR_REASON_INTERNAL: 500,
    pb.ERROR_REASON_INVALID_PARAMETER: 400,
    pb.ERROR_REASON_INVALID_JSON: 400,
    pb.ERROR_REASON_UNKNOWN_FIELD: 400,
    pb.ERROR_REASON_MISSING_API_KEY: 401,
    pb.ERROR_REASON_INVALID_API_KEY: 401,
    pb.ERROR_REASON_PERMISSION_DENIED: 403,
    pb.ERROR_REASON_INVALID_SESSION: 401,
    pb.ERROR_REASON_INVALID_CSRF_TOKEN: 403,
    pb.ERROR_REASON_INVALID_CREDENTIALS: 401,
    pb.ERROR_REASON_NOT_FOUND: 404,
    pb.ERROR_REASON_MODEL_NOT_FOUND: 404,
    pb.ERROR_REASON_LORA_INCOMPATIBLE: 400,
    pb.ERROR_REASON_INVALID_FILE: 400,
    pb.ERROR_REASON_RATE_LIMITED: 429,
    pb.ERROR_REASON_QUEUE_FULL: 429,
    pb.ERROR_REASON_QUOTA_EXCEEDED: 429,
    pb.ERROR_REASON_UNAVAILABLE: 503,
    pb.ERROR_REASON_IDEMPOTENCY_KEY_REUSED: 422,
    pb.ERROR_REASON_IDEMPOTENCY_KEY_IN_FLIGHT: 409,
    pb.ERROR_REASON_METHOD_NOT_ALLOWED: 405,
    pb.ERROR_REASON_BODY_TOO_LARGE: 413,
    pb.ERROR_REASON_UNSUPPORTED_MEDIA_TYPE: 415,
    pb.ERROR_REASON_ALREADY_EXISTS: 409,
    pb.ERROR_REASON_FAILED_PRECONDITION: 409,
    pb.ERROR_REASON_TOO_MANY_STREAMS: 429,
}

#: Seconds to wait where the service that refused did not say.
_RETRY_AFTER_S: Final[dict[pb.ErrorReason.ValueType, float]] = {
    pb.ERROR_REASON_RATE_LIMITED: 60,
    pb.ERROR_REASON_QUEUE_FULL: 5,
    pb.ERROR_REASON_QUOTA_EXCEEDED: 3_600,
    pb.ERROR_REASON_TOO_MANY_STREAMS: 5,
    pb.ERROR_REASON_UNAVAILABLE: 2,
    pb.ERROR_REASON_IDEMPOTENCY_KEY_IN_FLIGHT: 1,
}

_CHALLENGE: Final = 'Bearer realm="imagineo"'

_OPENAI_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

#: Metadata that has a place of its own in the answer.
_PLACED: Final = frozenset({"param", "allow"})


def render(problem: errors.ImagineoError, exchange: Exchange) -> Response:
    """Turn a refusal into its answer: status, headers and the documented body."""
    status = HTTP_STATUS[problem.reason]
    return Response(
        msgspec.json.encode({"error": _body(problem, exchange)}),
        status_code=status,
        headers=_headers(problem, status),
        media_type="application/json",
    )


def render_openai(problem: errors.ImagineoError, exchange: Exchange) -> Response:
    """The same refusal in the shape that OpenAI's clients read."""
    status = HTTP_STATUS[problem.reason]
    plain = _body(problem, exchange)
    error = {
        "message": plain["message"],
        "type": _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
        "param": plain.get("param"),
        "code": plain["code"],
    }
    return Response(
        msgspec.json.encode({"error": error}),
        status_code=status,
        headers=_headers(problem, status),
        media_type="application/json",
    )


def _body(problem: errors.ImagineoError, exchange: Exchange) -> dict[str, Any]:
    # What went wrong inside is for the log; a client learns only how to find it there.
    internal = problem.reason == pb.ERROR_REASON_INTERNAL
    body: dict[str, Any] = {
        "code": problem.code,
        "message": errors.Internal().message if internal else problem.message,
        "request_id": exchange.request_id,
    }
    if internal:
        return body
    if param := problem.metadata.get("param"):
        body["param"] = param
    if details := {name: value for name, value in problem.metadata.items() if name not in _PLACED}:
        body["details"] = details
    return body


def retry_after(problem: errors.ImagineoError) -> dict[str, str]:
    """The header that says when to come again, where that helps."""
    seconds = wait_s(problem)
    return {} if seconds is None else {"Retry-After": str(max(1, math.ceil(seconds)))}


def wait_s(problem: errors.ImagineoError) -> float | None:
    """How long to wait before the same is asked again; None: it helps nothing."""
    if problem.reason not in _RETRY_AFTER_S:
        return None
    return problem.retry_after_s if problem.retry_after_s is not None else _RETRY_AFTER_S[problem.reason]


def _headers(problem: errors.ImagineoError, status: int) -> dict[str, str]:
    headers = retry_after(problem)
    if status == 401:
        headers["WWW-Authenticate"] = _CHALLENGE
    if status == 405:
        headers["Allow"] = problem.metadata.get("allow", "")
    if status == 413:
        # The rest of the body is not read, so the connection cannot carry another request.
        headers["Connection"] = "close"
    return headers
