"""Visits to every page of the dashboard as a browser makes them, over HTTP with a session: a path and, posted, a form.

A new page is visited without more; a new form says here what it posts.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

from imagineo import tokens

from services.gateway.dashboard.dispatch import Page
from services.gateway.dashboard.routes import PAGES
from tests.support.tenants import Call, Tenant

#: Pages that ask who is there.
GUARDED_PAGES: Final = [page for page in PAGES if page.permission is not None]
#: What is wanted of a page only by those who run the platform.
ADMIN_PAGES: Final = "/admin"
#: Pages that end what they name.
ENDING: Final = re.compile(r"/(delete|revoke|remove|cancel)$")

_PRIVATE: Final = re.compile(r"{(\w+)}|\$(\w+)")
_WEAK: Final = "qwertyuiop"
#: What each form posts; `$NAMES` are a tenant's things.
_FORMS: Final[Mapping[str, Mapping[str, str]]] = {
    "/generations/{run_id}/cancel": {},
    "/generations/{run_id}/delete": {},
    "/generations/{run_id}/upscale": {"scale": "2"},
    "/generations/{run_id}/variations": {"count": "1", "strength": "0.5"},
    "/models/{model_id}": {"name": "made by a form", "description": "", "trigger_words": "", "sharing": "private"},
    "/models/{model_id}/delete": {},
    "/batches": {"prompts": "a red mug", "model_id": "$MODEL_ID"},
    "/batches/{batch_id}/cancel": {},
    "/settings/api-keys": {"name": "made by a form", "scopes": "generations:read", "allowed_models": "$MODEL_ID"},
    "/settings/api-keys/{key_id}/revoke": {},
    "/settings/members/invite": {"email": "$NEW_EMAIL", "role": "viewer"},
    "/settings/members/{user_id}/role": {"role": "viewer"},
    "/settings/members/{user_id}/remove": {},
    "/settings/invitations/{invitation_id}/revoke": {},
    "/settings/webhooks": {"url": "http://127.0.0.1:9/", "description": "made by a form"},
    "/settings/webhooks/{webhook_id}/switch": {"active": "true"},
    "/settings/webhooks/{webhook_id}/rotate-secret": {},
    "/settings/webhooks/{webhook_id}/delete": {},
    "/settings/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": {},
    "/settings/plan": {"name": "made by a form", "embed_parameters": "on"},
    # A weak one: it is refused, and the others of the user's sessions stay.
    "/settings/account/password": {"old_password": _WEAK, "new_password": _WEAK},
    "/settings/account/verification": {},
    "/settings/account/sessions/{session_id}/revoke": {},
    "/settings/account/organization": {"organization_id": "$ORGANIZATION_ID"},
    "/admin/organizations/{organization_id}/plan": {"plan": "free"},
}
#: Asked for in the query, where a page shows some of what it names.
_QUERIES: Final[Mapping[str, Mapping[str, str]]] = {
    "/playground": {"from": "$RUN_ID"},
    "/generations": {"model": "$MODEL_ID"},
}


def visit_of(page: Page, tenant: Tenant) -> Call:
    """A page's address and form with the ids of a tenant."""
    named: set[str] = set()
    known = {
        **tenant.things,
        "ORGANIZATION_ID": tenant.organization_id,
        "NEW_EMAIL": f"{uuid.uuid4().hex}@example.org",
    }

    def put_in(text: str) -> str:
        def thing(found: re.Match[str]) -> str:
            kind = found[1].upper() if found[1] else found[2]
            if kind != "NEW_EMAIL":
                named.add(kind)
            return known[kind]

        return _PRIVATE.sub(thing, text)

    options: dict[str, Any] = {}
    if page.method == "POST":
        options["data"] = {name: put_in(text) for name, text in _FORMS[page.path].items()}
    elif query := _QUERIES.get(page.path):
        options["params"] = {name: put_in(text) for name, text in query.items()}
    return Call(page.method, put_in(page.path), options, frozenset(named))


def with_token(call: Call, session: str) -> Call:
    """The same as the page of a session posts it."""
    if call.method != "POST":
        return call
    form = {**call.options["data"], "csrf_token": tokens.csrf_token(session)}
    return Call(call.method, call.path, {**call.options, "data": form}, call.names)
