"""The pages, one a line: method, path, handler, what the role must allow, what is shown where a form is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from imagineo import errors
from imagineo.v1.account_pb2 import PERMISSION_AUDIT_READ as AUDIT
from imagineo.v1.account_pb2 import PERMISSION_GENERATIONS_READ as READ
from imagineo.v1.account_pb2 import PERMISSION_GENERATIONS_WRITE as WRITE
from imagineo.v1.account_pb2 import PERMISSION_KEYS_READ as KEYS_READ
from imagineo.v1.account_pb2 import PERMISSION_KEYS_WRITE as KEYS_WRITE
from imagineo.v1.account_pb2 import PERMISSION_MEMBERS_READ as MEMBERS_READ
from imagineo.v1.account_pb2 import PERMISSION_MEMBERS_WRITE as MEMBERS_WRITE
from imagineo.v1.account_pb2 import PERMISSION_MODELS_READ as MODELS
from imagineo.v1.account_pb2 import PERMISSION_MODELS_WRITE as MODELS_WRITE
from imagineo.v1.account_pb2 import PERMISSION_ORGANIZATION_READ as ORGANIZATION_READ
from imagineo.v1.account_pb2 import PERMISSION_ORGANIZATION_WRITE as ORGANIZATION_WRITE
from imagineo.v1.account_pb2 import PERMISSION_USAGE_READ as USAGE
from imagineo.v1.account_pb2 import PERMISSION_WEBHOOKS_READ as WEBHOOKS_READ
from imagineo.v1.account_pb2 import PERMISSION_WEBHOOKS_WRITE as WEBHOOKS_WRITE
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.dashboard import static_files
from services.gateway.dashboard.dispatch import Page, routes
from services.gateway.dashboard.mishaps import mishap_page
from services.gateway.dashboard.pages import (
    account,
    admin,
    api_keys,
    audit,
    batches,
    entrance,
    generations,
    invitation,
    members,
    models,
    plan,
    playground,
    usage,
    verification,
    webhooks,
)
from services.gateway.dashboard.views import Views
from services.gateway.dashboard.visit import Visit
from services.gateway.dispatch import unknown_path
from services.gateway.exchange import exchange_of
from services.gateway.parts import Parts

# fmt: off
PAGES: Final = (
    Page("GET", "/", entrance.home),
    Page("GET", "/login", entrance.log_in_form),
    Page("POST", "/login", entrance.log_in, again=entrance.log_in_form),
    Page("GET", "/signup", entrance.sign_up_form),
    Page("POST", "/signup", entrance.sign_up, again=entrance.sign_up_form),
    Page("POST", "/logout", entrance.log_out),
    Page("GET", "/forgot-password", entrance.forgot_form),
    Page("POST", "/forgot-password", entrance.forgot, again=entrance.forgot_form),
    Page("GET", "/reset-password", entrance.reset_form),
    Page("POST", "/reset-password", entrance.reset, again=entrance.reset_form),
    Page("GET", "/verify-email", verification.open_form),
    Page("POST", "/verify-email", verification.verify, again=verification.open_form),
    Page("GET", "/invitation", invitation.open_form),
    Page("POST", "/invitation", invitation.show),
    Page("POST", "/invitation/accept", invitation.accept, again=invitation.show),
    Page("GET", "/playground", playground.show, READ),
    Page("GET", "/generations", generations.show_all, READ),
    Page("GET", "/generations/{run_id}", generations.show, READ),
    Page("POST", "/generations/{run_id}/cancel", generations.cancel, WRITE),
    Page("POST", "/generations/{run_id}/delete", generations.delete, WRITE),
    Page("POST", "/generations/{run_id}/upscale", generations.upscale, WRITE, again=generations.show),
    Page("POST", "/generations/{run_id}/variations", generations.vary, WRITE, again=generations.show),
    Page("GET", "/models", models.show_all, MODELS),
    Page("GET", "/models/{model_id}", models.show, MODELS),
    Page("POST", "/models/{model_id}", models.change, MODELS_WRITE, again=models.show),
    Page("POST", "/models/{model_id}/delete", models.delete, MODELS_WRITE),
    Page("GET", "/batches", batches.show_all, READ),
    Page("POST", "/batches", batches.create, WRITE, again=batches.show_all),
    Page("GET", "/batches/{batch_id}", batches.show, READ),
    Page("POST", "/batches/{batch_id}/cancel", batches.cancel, WRITE),
    Page("GET", "/settings/api-keys", api_keys.show, KEYS_READ),
    Page("POST", "/settings/api-keys", api_keys.create, KEYS_WRITE, again=api_keys.show),
    Page("POST", "/settings/api-keys/{key_id}/revoke", api_keys.revoke, KEYS_WRITE),
    Page("GET", "/settings/members", members.show, MEMBERS_READ),
    Page("POST", "/settings/members/invite", members.invite, MEMBERS_WRITE, again=members.show),
    Page("POST", "/settings/members/{user_id}/role", members.change_role, MEMBERS_WRITE, again=members.show),
    Page("POST", "/settings/members/{user_id}/remove", members.remove, MEMBERS_WRITE, again=members.show),
    Page("POST", "/settings/invitations/{invitation_id}/revoke", members.revoke_invitation, MEMBERS_WRITE, again=members.show),  # noqa: E501
    Page("GET", "/settings/usage", usage.show, USAGE),
    Page("GET", "/settings/webhooks", webhooks.show_all, WEBHOOKS_READ),
    Page("POST", "/settings/webhooks", webhooks.create, WEBHOOKS_WRITE, again=webhooks.show_all),
    Page("GET", "/settings/webhooks/{webhook_id}", webhooks.show, WEBHOOKS_READ),
    Page("POST", "/settings/webhooks/{webhook_id}/switch", webhooks.switch, WEBHOOKS_WRITE),
    Page("POST", "/settings/webhooks/{webhook_id}/rotate-secret", webhooks.rotate, WEBHOOKS_WRITE),
    Page("POST", "/settings/webhooks/{webhook_id}/delete", webhooks.delete, WEBHOOKS_WRITE),
    Page("POST", "/settings/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", webhooks.redeliver, WEBHOOKS_WRITE, again=webhooks.show),  # noqa: E501
    Page("GET", "/settings/plan", plan.show, ORGANIZATION_READ),
    Page("POST", "/settings/plan", plan.change, ORGANIZATION_WRITE, again=plan.show),
    Page("GET", "/settings/account", account.show, ORGANIZATION_READ),
    Page("POST", "/settings/account/password", account.change_password, ORGANIZATION_READ, again=account.show),
    Page("POST", "/settings/account/verification", verification.ask_again, ORGANIZATION_READ, again=account.show),
    Page("POST", "/settings/account/sessions/{session_id}/revoke", account.revoke_session, ORGANIZATION_READ),
    Page("POST", "/settings/account/organization", account.switch_organization, ORGANIZATION_READ),
    Page("GET", "/settings/audit", audit.show, AUDIT),
    Page("GET", "/admin", admin.show, ORGANIZATION_READ),
    Page("POST", "/admin/organizations/{organization_id}/plan", admin.change_plan, ORGANIZATION_READ),
)
# fmt: on


async def _static(request: Request) -> Response:
    exchange_of(request.scope).route = "/static/{name}"
    return static_files.answer(request.path_params["name"], request.query_params.get("v", ""))


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What the app's router needs of the pages."""

    routes: list[Route]
    otherwise: ASGIApp
    """Answers unknown paths: people with a page, programs as ever."""


def dashboard(parts: Parts) -> Dashboard:
    """The routes of all pages, and of what they load."""
    views = Views()

    async def otherwise(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if scope["path"].startswith("/v1") or "text/html" not in request.headers.get("accept", ""):
            await unknown_path(scope, receive, send)
        response = mishap_page(Visit(parts, views, request), errors.NotFound("There is no such page."))
        await response(scope, receive, send)

    return Dashboard([*routes(parts, views, PAGES), Route("/static/{name:path}", _static)], otherwise)
