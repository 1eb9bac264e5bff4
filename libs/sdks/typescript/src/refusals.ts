/**
 * The class of each documented error code, under the class of its status.
 *
 * The table is checked by the compiler against the codes of `/openapi.json`: a new code without a class does not build.
 */

import { ApiError, type Refusal } from "./errors.ts";
import type { ErrorCode } from "./types.ts";

/** 400: something is wrong with the request. */
export class BadRequestError extends ApiError {}

/** 401: the key is missing or no good. */
export class AuthenticationError extends ApiError {}

/** 409: what is there stands in the way. */
export class ConflictError extends ApiError {}

/** 429: something is used up; `retryAfterS` says for how long. */
export class TooManyRequestsError extends ApiError {}

/** 500 and more: the server's fault, or a part of it is away. */
export class ServerError extends ApiError {}

/** `not_found`: No such thing, or it belongs to somebody else. */
export class NotFoundError extends ApiError {}

/** `permission_denied`: The key lacks the permission, or a picture's link has expired. */
export class PermissionDeniedError extends ApiError {}

/** `already_exists`: Such a thing exists already. */
export class AlreadyExistsError extends ConflictError {}

/** `body_too_large`: The request's body, or the file in it, is over the limit. */
export class BodyTooLargeError extends ApiError {}

/** `failed_precondition`: The thing's state forbids the call. */
export class FailedPreconditionError extends ConflictError {}

/** `idempotency_key_in_flight`: A request with the same Idempotency-Key is still being worked on. */
export class IdempotencyKeyInFlightError extends ConflictError {}

/** `idempotency_key_reused`: The Idempotency-Key came before with another body. */
export class IdempotencyKeyReusedError extends ApiError {}

/** `internal_error`: A bug of the server; `requestId` finds its log line. */
export class InternalError extends ServerError {}

/** `invalid_api_key`: The key is malformed, unknown, revoked or expired. */
export class InvalidApiKeyError extends AuthenticationError {}

/** `invalid_credentials`: no such person, or another password; of the dashboard, where people log in. */
export class InvalidCredentialsError extends AuthenticationError {}

/** `invalid_csrf_token`: a page's form was not sent by that page; of the dashboard. */
export class InvalidCsrfTokenError extends PermissionDeniedError {}

/** `invalid_session`: the log-in is over; of the dashboard. */
export class InvalidSessionError extends AuthenticationError {}

/** `invalid_file`: The file is not what it should be, such as a LoRA that is not safetensors. */
export class InvalidFileError extends BadRequestError {}

/** `invalid_json`: The body is not JSON. */
export class InvalidJsonError extends BadRequestError {}

/** `invalid_parameter`: A field's value is wrong; `param` names it. */
export class InvalidParameterError extends BadRequestError {}

/** `lora_incompatible`: The LoRA does not fit the base model. */
export class LoraIncompatibleError extends BadRequestError {}

/** `method_not_allowed`: The route has no such method. */
export class MethodNotAllowedError extends ApiError {}

/** `missing_api_key`: No key was given; thrown before any request where the client has none. */
export class MissingApiKeyError extends AuthenticationError {}

/** `model_not_found`: No such model, or it belongs to somebody else. */
export class ModelNotFoundError extends NotFoundError {}

/** `queue_full`: The account has as many queued runs as it may. */
export class QueueFullError extends TooManyRequestsError {}

/** `quota_exceeded`: The month's images are used up. */
export class QuotaExceededError extends TooManyRequestsError {}

/** `rate_limited`: The minute's requests are used up. */
export class RateLimitedError extends TooManyRequestsError {}

/** `too_many_streams`: The account has as many event streams open as it may. */
export class TooManyStreamsError extends TooManyRequestsError {}

/** `unavailable`: A part of the platform is away; nothing was stored or charged. */
export class UnavailableError extends ServerError {}

/** `unknown_field`: The body has a field that the route does not know. */
export class UnknownFieldError extends BadRequestError {}

/** `unsupported_media_type`: The body's content type is not the route's. */
export class UnsupportedMediaTypeError extends ApiError {}

/** The class of each code. */
const OF_CODE = {
  already_exists: AlreadyExistsError,
  body_too_large: BodyTooLargeError,
  failed_precondition: FailedPreconditionError,
  idempotency_key_in_flight: IdempotencyKeyInFlightError,
  idempotency_key_reused: IdempotencyKeyReusedError,
  internal_error: InternalError,
  invalid_api_key: InvalidApiKeyError,
  invalid_credentials: InvalidCredentialsError,
  invalid_csrf_token: InvalidCsrfTokenError,
  invalid_file: InvalidFileError,
  invalid_json: InvalidJsonError,
  invalid_parameter: InvalidParameterError,
  invalid_session: InvalidSessionError,
  lora_incompatible: LoraIncompatibleError,
  method_not_allowed: MethodNotAllowedError,
  missing_api_key: MissingApiKeyError,
  model_not_found: ModelNotFoundError,
  not_found: NotFoundError,
  permission_denied: PermissionDeniedError,
  queue_full: QueueFullError,
  quota_exceeded: QuotaExceededError,
  rate_limited: RateLimitedError,
  too_many_streams: TooManyStreamsError,
  unavailable: UnavailableError,
  unknown_field: UnknownFieldError,
  unsupported_media_type: UnsupportedMediaTypeError,
} as const satisfies Record<ErrorCode, typeof ApiError>;

/** The class of a code that this version does not know, by its status. */
const OF_STATUS: Readonly<Record<number, typeof ApiError>> = {
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
};

/** The error of a refusal: its code's class, else its status's, else the plain {@link ApiError}. */
export function refused(refusal: Refusal): ApiError {
  return new (classOf(refusal))(refusal);
}

function classOf({ code, status }: Refusal): typeof ApiError {
  if (Object.hasOwn(OF_CODE, code)) return OF_CODE[code as ErrorCode];
  return OF_STATUS[status] ?? (status >= 500 ? ServerError : ApiError);
}
