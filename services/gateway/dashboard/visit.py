"""One request to a page: who it is from, what they may, what they typed, and how they are answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from imagineo import errors, tokens
from imagineo.permissions import SCOPE_WORDS
from imagineo.v1 import account_pb2, member_pb2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from services.gateway.clients import actor_of, client_of
from services.gateway.credentials import cookie_name
from services.gateway.dashboard import contract, security
from services.gateway.dashboard.forms import Form
from services.gateway.dashboard.notices import NOTICES
from services.gateway.dashboard.patience import again
from services.gateway.dashboard.views import Views
from services.gateway.exchange import principal_of
from services.gateway.parts import Parts

#: What the pages call a field of the API, where that is another word.
_LABELS: Final = {
    "email": "mail address",
    "url": "address",
    "organization_name": "organization",
    "count": "how many variations",
    "strength": "how different",
    "expires_at": "last day",
    "monthly_images": "images a month",
    "allowed_models": "models",
}


@dataclass(frozen=True, slots=True)
class Person:
    """Who is logged in, and where."""

    user: member_pb2.User
    memberships: tuple[member_pb2.Member, ...]
    organization_id: str
    organization_name: str
    role: str
    session_id: str
    session_sha256: bytes
    is_verification_open: bool = False
    """Their mail address is not confirmed, and can be."""


@dataclass(slots=True)
class Visit:
    """What a page's handler works with."""

    parts: Parts
    views: Views
    request: Request
    csrf: str = ""
    """What its forms carry and its scripts send."""
    person: Person | None = None
    form: Form = field(default_factory=lambda: Form([]))
    problem: errors.ImagineoError | None = None
    """Why what was posted was refused; the page is then shown again."""
    status: int = 200
    guest: str = ""
    """A new token for a browser that brought none."""
    secret: dict[str, Any] | None = None
    """What is shown this once, such as a new key."""

    @property
    def who(self) -> Person:
        """Who is logged in.

        Raises:
            LookupError: on a page that asks for no log-in, which is a bug.
        """
        if self.person is None:
            raise LookupError("the page asked for no log-in")
        return self.person

    @property
    def principal(self) -> account_pb2.Principal:
        """Who is logged in, as the routes know it."""
        return principal_of(self.request.scope)

    def may(self, word: str) -> bool:
        """Whether the role allows it, such as `keys:write`."""
        return any(SCOPE_WORDS.get(permission) == word for permission in self.principal.permissions)

    def token(self, cookie: str) -> str:
        """What a cookie of ours holds; empty where there is none that could be one."""
        token = self.request.cookies.get(cookie_name(cookie, self.parts.settings.public_url), "")
        return token if tokens.is_well_formed(token) else ""

    def name(self, name: str) -> str:
        """What stands in the path for a name of the template."""
        return str(self.request.path_params[name])

    def asked(self, name: str) -> str:
        """A parameter of the query; empty where it is absent."""
        return self.request.query_params.get(name, "").strip()

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """See `contract.ask`."""
        return await contract.ask(self.parts, self.request, method, path, **options)

    async def submit(self, path: str, **options: Any) -> Any:
        """The same for a route that draws: it counts, and wants the proof that the form is ours."""
        return await self.ask("POST", path, headers={"x-csrf-token": self.csrf}, **options)

    def client(self) -> member_pb2.Client:
        """Where the request comes from."""
        return client_of(self.parts.settings, self.request)

    def actor(self) -> member_pb2.Actor:
        """Who asks, for the audit log."""
        return actor_of(self.parts.settings, self.request)

    def page(self, template: str, **context: Any) -> Response:
        """A page."""
        known = {
            "visit": self,
            "may": self.may if self.person else _nothing,
            "wrong": lambda name: wrong(self.problem, name),
            "problem": self.problem,
            "refusal": refusal(self.problem),
            "notice": NOTICES.get(self.asked("notice"), "") if self.problem is None else "",
            "path": self.request.url.path,
        }
        content = self.views.page(template, known | context)
        headers = security.headers(self.parts.settings)
        return Response(content, status_code=self.status, headers=headers, media_type="text/html")

    def go(self, path: str, notice: str = "") -> Response:
        """On to another page, with a notice there."""
        mark = "&" if "?" in path else "?"
        target = f"{path}{mark}notice={quote(notice)}" if notice else path
        headers = {"Cache-Control": "no-store", **security.transport(self.parts.settings)}
        return RedirectResponse(target, status_code=303, headers=headers)


def _nothing(_word: str) -> bool:
    return False


def refusal(problem: errors.ImagineoError | None) -> str:
    """Why a form was refused, above it: in people's words where its field is known, and when to send it again."""
    if problem is None:
        return ""
    param, allowed = problem.metadata.get("param", ""), problem.metadata.get("allowed", "")
    if not (param and allowed):
        return f"{problem.message} {again(problem)}".rstrip()
    name = param.partition("[")[0].rpartition(".")[2]
    words = _LABELS.get(name) or name.replace("_", " ").replace("lora", "LoRA")
    return f"{words[0].upper()}{words[1:]} must be {_plain(allowed)}."


def wrong(problem: errors.ImagineoError | None, name: str) -> str:
    """What is wrong with a field, in the page's words; empty: nothing."""
    if problem is None or problem.metadata.get("param", "").partition("[")[0] != name:
        return ""
    allowed = problem.metadata.get("allowed", "")
    return f"Must be {_plain(allowed)}." if allowed else problem.message


def _plain(allowed: str) -> str:
    """What is allowed, without the words that only programs need."""
    return allowed.replace("a string of ", "")
