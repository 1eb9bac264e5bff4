"""Every error that the client raises, one class for each documented code.

ImagineoError
├── ConnectionFailedError ── RequestTimeoutError
├── ApiError (by status, then by code)
├── RunEndedError ── RunFailedError, RunCanceledError, RunExpiredError
├── WaitTimeoutError
├── UnexpectedAnswerError
└── WebhookVerificationError
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from imagineo_client.types.answers import Generation


class ImagineoError(Exception):
    """The root of all of them."""


class ConnectionFailedError(ImagineoError):
    """Nobody answers, the connection breaks, or a stream stays cut."""


class RequestTimeoutError(ConnectionFailedError):
    """No answer came within `timeout_s`."""


class UnexpectedAnswerError(ImagineoError):
    """An answer that is not the API's, such as a proxy's page."""


class WebhookVerificationError(ImagineoError):
    """A request that does not carry a good signature of the secret, or is too old."""


class RunEndedError(ImagineoError):
    """The run is over and there is no image."""

    def __init__(self, message: str, generation: Generation) -> None:
        super().__init__(message)
        self.generation = generation


class RunFailedError(RunEndedError):
    """It failed; `generation.error` says why."""


class RunCanceledError(RunEndedError):
    """Somebody canceled it."""


class RunExpiredError(RunEndedError):
    """It had not begun by its deadline."""


class WaitTimeoutError(ImagineoError):
    """What was waited for is not over; `canceled` says whether it was told to stop."""

    def __init__(self, message: str, *, canceled: bool) -> None:
        super().__init__(message)
        self.canceled = canceled


class ApiError(ImagineoError):
    """The platform refused the request. `param` names the field, `request_id` finds the line of its log."""

    #: Of a subclass: the documented code that it stands for.
    code: str = ""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        param: str | None = None,
        details: Mapping[str, str] | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code or type(self).code
        self.param = param
        self.details = dict(details or {})
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class BadRequestError(ApiError):
    """400: something is wrong with the request."""


class InvalidParameterError(BadRequestError):
    """A value is not what its field allows."""

    code = "invalid_parameter"


class InvalidJsonError(BadRequestError):
    """The body is no JSON object."""

    code = "invalid_json"


class UnknownFieldError(BadRequestError):
    """A field that the route does not have."""

    code = "unknown_field"


class LoraIncompatibleError(BadRequestError):
    """A LoRA does not fit the base model."""

    code = "lora_incompatible"


class InvalidFileError(BadRequestError):
    """An uploaded file is not what it should be."""

    code = "invalid_file"


class AuthenticationError(ApiError):
    """401: no good key."""


class MissingApiKeyError(AuthenticationError):
    """There is no key, found before any request or by the platform."""

    code = "missing_api_key"


class InvalidApiKeyError(AuthenticationError):
    """The key is malformed, unknown, revoked or expired."""

    code = "invalid_api_key"


class InvalidSessionError(AuthenticationError):
    """The dashboard's session is unknown or over."""

    code = "invalid_session"


class InvalidCredentialsError(AuthenticationError):
    """The e-mail address or the password is wrong."""

    code = "invalid_credentials"


class PermissionDeniedError(ApiError):
    """403: the key lacks the permission."""

    code = "permission_denied"


class InvalidCsrfTokenError(PermissionDeniedError):
    """A session's request without its token."""

    code = "invalid_csrf_token"


class NotFoundError(ApiError):
    """404: no such thing, or somebody else's."""

    code = "not_found"


class ModelNotFoundError(NotFoundError):
    """No such model, or somebody else's."""

    code = "model_not_found"


class MethodNotAllowedError(ApiError):
    """405."""

    code = "method_not_allowed"


class ConflictError(ApiError):
    """409: the state forbids it."""


class AlreadyExistsError(ConflictError):
    """The same thing is there already."""

    code = "already_exists"


class FailedPreconditionError(ConflictError):
    """The thing's state forbids the call."""

    code = "failed_precondition"


class IdempotencyKeyInFlightError(ConflictError):
    """A request with the same key is still being worked on."""

    code = "idempotency_key_in_flight"


class BodyTooLargeError(ApiError):
    """413."""

    code = "body_too_large"


class UnsupportedMediaTypeError(ApiError):
    """415."""

    code = "unsupported_media_type"


class IdempotencyKeyReusedError(ApiError):
    """422: the key came before with another body."""

    code = "idempotency_key_reused"


class TooManyRequestsError(ApiError):
    """429: something is used up; `retry_after_s` says for how long."""


class RateLimitedError(TooManyRequestsError):
    """The requests of this minute are used up."""

    code = "rate_limited"


class QueueFullError(TooManyRequestsError):
    """As many runs wait as may."""

    code = "queue_full"


class QuotaExceededError(TooManyRequestsError):
    """The images of this month are used up."""

    code = "quota_exceeded"


class TooManyStreamsError(TooManyRequestsError):
    """As many event streams are open as may be."""

    code = "too_many_streams"


class ServerError(ApiError):
    """5xx."""


class InternalError(ServerError):
    """500: a bug of the platform."""

    code = "internal_error"


class UnavailableError(ServerError):
    """503: a part of the platform is away; nothing was stored or charged."""

    code = "unavailable"


def _leaves(kind: type[ApiError]) -> dict[str, type[ApiError]]:
    found = {kind.code: kind} if kind.code else {}
    for child in kind.__subclasses__():
        found |= _leaves(child)
    return found


#: The class of each documented code.
BY_CODE: Final[Mapping[str, type[ApiError]]] = _leaves(ApiError)

_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    409: ConflictError,
    413: BodyTooLargeError,
    415: UnsupportedMediaTypeError,
    422: IdempotencyKeyReusedError,
    429: TooManyRequestsError,
}


def class_of(status: int, code: str) -> type[ApiError]:
    """The class of a code; of one that is not known, its status's."""
    return BY_CODE.get(code) or _BY_STATUS.get(status) or (ServerError if status >= 500 else ApiError)
