"""The table that leads from the exception tree to gRPC and back: each reason has one status code."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import DecodeError

from imagineo import errors
from imagineo.v1 import error_reason_pb2 as pb

#: Trailing metadata key of the serialized `ErrorDetail`.
DETAIL_KEY = "imagineo-error-bin"

CODES: dict[pb.ErrorReason.ValueType, grpc.StatusCode] = {
    pb.ERROR_REASON_INTERNAL: grpc.StatusCode.INTERNAL,
    pb.ERROR_REASON_INVALID_PARAMETER: grpc.StatusCode.INVALID_ARGUMENT,
    pb.ERROR_REASON_INVALID_JSON: grpc.StatusCode.INVALID_ARGUMENT,
    pb.ERROR_REASON_UNKNOWN_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    pb.ERROR_REASON_LORA_INCOMPATIBLE: grpc.StatusCode.INVALID_ARGUMENT,
    pb.ERROR_REASON_INVALID_FILE: grpc.StatusCode.INVALID_ARGUMENT,
    pb.ERROR_REASON_BODY_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    pb.ERROR_REASON_UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    pb.ERROR_REASON_MISSING_API_KEY: grpc.StatusCode.UNAUTHENTICATED,
    pb.ERROR_REASON_INVALID_API_KEY: grpc.StatusCode.UNAUTHENTICATED,
    pb.ERROR_REASON_PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    pb.ERROR_REASON_INVALID_SESSION: grpc.StatusCode.UNAUTHENTICATED,
    pb.ERROR_REASON_INVALID_CSRF_TOKEN: grpc.StatusCode.PERMISSION_DENIED,
    pb.ERROR_REASON_INVALID_CREDENTIALS: grpc.StatusCode.UNAUTHENTICATED,
    pb.ERROR_REASON_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    pb.ERROR_REASON_MODEL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    pb.ERROR_REASON_RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    pb.ERROR_REASON_QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    pb.ERROR_REASON_QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    pb.ERROR_REASON_TOO_MANY_STREAMS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    pb.ERROR_REASON_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    pb.ERROR_REASON_IDEMPOTENCY_KEY_REUSED: grpc.StatusCode.FAILED_PRECONDITION,
    pb.ERROR_REASON_IDEMPOTENCY_KEY_IN_FLIGHT: grpc.StatusCode.ABORTED,
    pb.ERROR_REASON_METHOD_NOT_ALLOWED: grpc.StatusCode.UNIMPLEMENTED,
    pb.ERROR_REASON_ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    pb.ERROR_REASON_FAILED_PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
}

#: What a peer's bare status means, where it carries no detail: it is away, or it did not answer in time.
_AWAY = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


def error_of(failure: grpc.aio.AioRpcError) -> errors.ImagineoError:
    """Turn a failed call into the exception that the peer raised, or `Unavailable` where it could not be asked."""
    trailing: Any = failure.trailing_metadata() or ()
    for key, value in trailing:
        if key == DETAIL_KEY:
            try:
                return errors.from_detail(pb.ErrorDetail.FromString(value if isinstance(value, bytes) else b""))
            except DecodeError:
                break
    if failure.code() in _AWAY:
        return errors.Unavailable()
    return errors.Internal(f"a peer answered {failure.code().name}")
