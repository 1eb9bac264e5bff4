"""Error pages: what went wrong, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from imagineo import errors
from imagineo.v1 import error_reason_pb2 as pb
from starlette.responses import Response

from services.gateway.dashboard.patience import again
from services.gateway.dashboard.visit import Visit
from services.gateway.errors import HTTP_STATUS, retry_after
from services.gateway.exchange import exchange_of


@dataclass(frozen=True, slots=True)
class Advice:
    """The words for one reason; an empty message: the error's own."""

    title: str
    what_to_do: str
    message: str = ""


_ADVICE: Final[dict[pb.ErrorReason.ValueType, Advice]] = {
    pb.ERROR_REASON_INVALID_CSRF_TOKEN: Advice(
        "This form is out of date",
        "Nothing was changed. Go back, load the page again and send the form once more. It happens after you log in or "
        "out in another tab, or when another site sent you here.",
        "The form's safety token does not belong to your session.",
    ),
    pb.ERROR_REASON_INVALID_SESSION: Advice(
        "You are logged out",
        "Nothing was changed. Log in and send the form again.",
        "Your session has ended: it expired, was logged out, or you are no longer a member.",
    ),
    pb.ERROR_REASON_PERMISSION_DENIED: Advice(
        "Your role does not allow this",
        "Nothing was changed. Ask an owner or admin of your organization to do it, or to give you another role.",
    ),
    pb.ERROR_REASON_NOT_FOUND: Advice(
        "There is nothing here",
        "It may have been deleted, or it belongs to another organization.",
    ),
    pb.ERROR_REASON_MODEL_NOT_FOUND: Advice(
        "There is no such model",
        "It may have been deleted, or it is not shared with your organization any more.",
    ),
    pb.ERROR_REASON_BODY_TOO_LARGE: Advice(
        "That is too much for this form",
        "Nothing was changed. Shorten the text and send it again. Files are uploaded on the Models page.",
    ),
    pb.ERROR_REASON_UNAVAILABLE: Advice(
        "A part of the platform is away",
        "Nothing was changed.",
    ),
    pb.ERROR_REASON_RATE_LIMITED: Advice(
        "Too many requests",
        "Nothing was changed. Pages that you leave open count as well.",
    ),
    pb.ERROR_REASON_QUEUE_FULL: Advice("The queue is full", "Nothing was changed. Let some of it be drawn first."),
    pb.ERROR_REASON_QUOTA_EXCEEDED: Advice(
        "The images of this month are used up",
        "Nothing was changed. Those who run the platform can give your organization another plan.",
    ),
    pb.ERROR_REASON_METHOD_NOT_ALLOWED: Advice("This address takes no such request", "Go back to the page before."),
    pb.ERROR_REASON_INTERNAL: Advice(
        "Something went wrong",
        "It is in the platform's log under the request id below. Try again; if it stays, tell who runs the platform.",
        "The platform made a mistake.",
    ),
}
_OTHERWISE: Final = Advice("That did not work", "Nothing was changed. Go back and look at what you sent.")


def _form_of(visit: Visit) -> str:
    """The page of ours whose form was sent; empty where none was."""
    came_from = urlsplit(visit.request.headers.get("referer", ""))
    is_ours = came_from.netloc == visit.request.headers.get("host") and came_from.path.startswith("/")
    return came_from.path if visit.request.method == "POST" and is_ours and not came_from.path.startswith("//") else ""


def mishap_page(visit: Visit, problem: errors.ImagineoError) -> Response:
    """The page for a problem, with its status."""
    advice = _ADVICE.get(problem.reason, _OTHERWISE)
    visit.status = HTTP_STATUS[problem.reason]
    visit.problem = None
    response = visit.page(
        "mishap.html",
        title=advice.title,
        message=advice.message or problem.message,
        what_to_do=f"{advice.what_to_do} {again(problem)}".rstrip(),
        status=visit.status,
        back=_form_of(visit),
        request_id=exchange_of(visit.request.scope).request_id,
    )
    if visit.status == 413:
        # The rest of the body is not read, so the connection cannot carry another request.
        response.headers["Connection"] = "close"
    response.headers.update(retry_after(problem))
    if allow := problem.metadata.get("allow"):
        response.headers["Allow"] = allow
    return response
