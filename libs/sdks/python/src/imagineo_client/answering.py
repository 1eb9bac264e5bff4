"""From an HTTP answer to what the client gives: a decoded object, or the typed error."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar

import httpx
import msgspec

from imagineo_client import errors
from imagineo_client.types.answers import Error

T = TypeVar("T")


@cache
def _decoder(shape: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape, strict=False)


def decoded(content: bytes, shape: type[T], where: str) -> T:
    """The object of a JSON text.

    Raises:
        UnexpectedAnswerError: if it is none of the shape.
    """
    try:
        found: T = _decoder(shape).decode(content)  # type: ignore[arg-type] # a class is hashable
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        message = f"The answer of {where} is not the API's: {problem}. Is there something else at that address?"
        raise errors.UnexpectedAnswerError(message) from problem
    return found


def error_of(response: httpx.Response) -> errors.ImagineoError:
    """The typed error of a refusal whose body has been read; a redirect is none: it would carry the key elsewhere."""
    if response.is_redirect:
        asked, target = response.request.url, response.headers["location"]
        return errors.UnexpectedAnswerError(
            f"{asked.scheme}://{asked.netloc.decode()} sends its callers to {target}; is the address right?"
        )
    status, wait_s = response.status_code, retry_after_s(response.headers.get("retry-after"))
    request_id = response.headers.get("x-request-id")
    try:
        told = _decoder(Error).decode(response.content).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        message = f"{response.request.method} {response.request.url.path} was answered {status} without a reason."
        return errors.class_of(status, "")(message, status=status, request_id=request_id, retry_after_s=wait_s)
    code = str(told.code)
    return errors.class_of(status, code)(
        told.message,
        status=status,
        code=code,
        param=told.param,
        details=told.details,
        request_id=told.request_id or request_id,
        retry_after_s=wait_s,
    )


def retry_after_s(header: str | None) -> float | None:
    """Seconds to wait, from a number or a date; None where it says neither. Source: RFC 9110, section 10.2.3."""
    if not header:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
