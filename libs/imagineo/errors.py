"""The one exception tree; three tables lead out of it: HTTP (gateway), gRPC (`imagineo.rpc.status`), worker outcome.

ImagineoError
├── Refused                  the caller can do something about it
│   ├── InvalidParameter · InvalidJson · InvalidFile · UnknownField · LoraIncompatible
│   ├── MissingApiKey · InvalidApiKey · PermissionDenied · InvalidSession · InvalidCsrfToken · InvalidCredentials
│   ├── NotFound · ModelNotFound · MethodNotAllowed · BodyTooLarge · UnsupportedMediaType
│   ├── RateLimited · QueueFull · QuotaExceeded · TooManyStreams
│   └── IdempotencyKeyReused · IdempotencyKeyInFlight · AlreadyExists · FailedPrecondition
├── Unavailable              a dependency is away; the same call may succeed later
└── Internal                 a bug

A class's docstring is its default message. Reasons are the protocol's (`error_reason.proto`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from imagineo.v1 import error_reason_pb2 as pb


class ImagineoError(Exception):
    """Something went wrong on the server."""

    reason: ClassVar[pb.ErrorReason.ValueType] = pb.ERROR_REASON_INTERNAL
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.message = message or (self.__doc__ or "").strip()
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        super().__init__(self.message)

    @property
    def code(self) -> str:
        """The lower-case word that REST shows, such as `invalid_parameter`."""
        return code_of(self.reason)

    def detail(self) -> pb.ErrorDetail:
        """The error as the protocol carries it."""
        return pb.ErrorDetail(
            reason=self.reason, message=self.message, metadata=self.metadata, retry_after_s=self.retry_after_s
        )


def code_of(reason: pb.ErrorReason.ValueType) -> str:
    """Turn `ERROR_REASON_RATE_LIMITED` into `rate_limited`; internal reads `internal_error`."""
    if reason in (pb.ERROR_REASON_INTERNAL, pb.ERROR_REASON_UNSPECIFIED):
        return "internal_error"
    return pb.ErrorReason.Name(reason).removeprefix("ERROR_REASON_").lower()


class Internal(ImagineoError):
    """Something went wrong on the server."""


class Unavailable(ImagineoError):
    """A part of the platform is away for the moment; nothing was stored or charged."""

    reason = pb.ERROR_REASON_UNAVAILABLE
    retryable = True

    def __init__(
        self,
        message: str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = 2.0,
    ) -> None:
        super().__init__(message, metadata=metadata, retry_after_s=retry_after_s)


class Refused(ImagineoError):
    """The request cannot be done as it stands."""

    reason = pb.ERROR_REASON_FAILED_PRECONDITION


class InvalidParameter(Refused):
    """A parameter is not valid."""

    reason = pb.ERROR_REASON_INVALID_PARAMETER

    @classmethod
    def of(cls, param: str, allowed: str) -> InvalidParameter:
        """Say it as the public documentation does: "Invalid value for parameter 'guidance'. Must be …."."""
        message = f"Invalid value for parameter '{param}'. Must be {allowed}."
        return cls(message, metadata={"param": param, "allowed": allowed})


class InvalidJson(Refused):
    """The body is not valid JSON."""

    reason = pb.ERROR_REASON_INVALID_JSON


class UnknownField(Refused):
    """The body has a field that this route does not know."""

    reason = pb.ERROR_REASON_UNKNOWN_FIELD


class MissingApiKey(Refused):
    """No API key was sent. Put it into the header X-API-Key."""

    reason = pb.ERROR_REASON_MISSING_API_KEY


class InvalidApiKey(Refused):
    """The API key is malformed, unknown, revoked or expired."""

    reason = pb.ERROR_REASON_INVALID_API_KEY


class PermissionDenied(Refused):
    """The API key or the member's role lacks the permission for this call."""

    reason = pb.ERROR_REASON_PERMISSION_DENIED


class InvalidSession(Refused):
    """The session has ended. Log in again."""

    reason = pb.ERROR_REASON_INVALID_SESSION


class InvalidCsrfToken(Refused):
    """The page is too old, or the request comes from another site. Load the page again."""

    reason = pb.ERROR_REASON_INVALID_CSRF_TOKEN


class InvalidCredentials(Refused):
    """The mail address or the password is wrong."""

    reason = pb.ERROR_REASON_INVALID_CREDENTIALS


class NotFound(Refused):
    """There is no such thing."""

    reason = pb.ERROR_REASON_NOT_FOUND


class ModelNotFound(Refused):
    """There is no such model."""

    reason = pb.ERROR_REASON_MODEL_NOT_FOUND


class LoraIncompatible(Refused):
    """The LoRA does not fit the base model."""

    reason = pb.ERROR_REASON_LORA_INCOMPATIBLE


class RateLimited(Refused):
    """The account used up its requests of this minute."""

    reason = pb.ERROR_REASON_RATE_LIMITED
    retryable = True


class QueueFull(Refused):
    """The account has as many unfinished runs as its plan allows."""

    reason = pb.ERROR_REASON_QUEUE_FULL
    retryable = True


class QuotaExceeded(Refused):
    """The account used up its images of this month."""

    reason = pb.ERROR_REASON_QUOTA_EXCEEDED
    retryable = True


class IdempotencyKeyReused(Refused):
    """The Idempotency-Key was used before with another body."""

    reason = pb.ERROR_REASON_IDEMPOTENCY_KEY_REUSED


class IdempotencyKeyInFlight(Refused):
    """A request with the same Idempotency-Key is still being worked on."""

    reason = pb.ERROR_REASON_IDEMPOTENCY_KEY_IN_FLIGHT
    retryable = True


class MethodNotAllowed(Refused):
    """The method is not one of the route's."""

    reason = pb.ERROR_REASON_METHOD_NOT_ALLOWED


class BodyTooLarge(Refused):
    """The body is larger than the route takes."""

    reason = pb.ERROR_REASON_BODY_TOO_LARGE


class UnsupportedMediaType(Refused):
    """The body's content type is not the route's."""

    reason = pb.ERROR_REASON_UNSUPPORTED_MEDIA_TYPE


class InvalidFile(Refused):
    """The file is not what is taken here, or it is damaged."""

    reason = pb.ERROR_REASON_INVALID_FILE


class AlreadyExists(Refused):
    """The thing exists already."""

    reason = pb.ERROR_REASON_ALREADY_EXISTS


class FailedPrecondition(Refused):
    """The thing is not in a state that allows the call."""


class TooManyStreams(Refused):
    """The account has as many event streams open here as it may. Close one, or poll the generation."""

    reason = pb.ERROR_REASON_TOO_MANY_STREAMS
    retryable = True


def _leaves(root: type[ImagineoError]) -> list[type[ImagineoError]]:
    return [leaf for child in root.__subclasses__() for leaf in (_leaves(child) or [child])]


BY_REASON: dict[pb.ErrorReason.ValueType, type[ImagineoError]] = {leaf.reason: leaf for leaf in _leaves(ImagineoError)}


def from_detail(detail: pb.ErrorDetail) -> ImagineoError:
    """Rebuild the exception that a peer refused with; an unknown reason becomes `Internal`."""
    retry_after_s = detail.retry_after_s if detail.HasField("retry_after_s") else None
    kind = BY_REASON.get(detail.reason, Internal)
    return kind(detail.message, metadata=dict(detail.metadata), retry_after_s=retry_after_s)
