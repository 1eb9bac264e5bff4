"""Words of OpenAPI that the endpoints describe themselves with, and the document over a table of rows.

Owns everything that is the same for all routes: error answers, headers, the key. What one route says stands beside its
handler; the shapes stand in `schemas`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from imagineo.errors import code_of
from imagineo.permissions import PERMISSIONS_OF, ROLES, SCOPE_WORDS

from services.gateway import examples
from services.gateway.credentials import SESSION_COOKIE
from services.gateway.errors import HTTP_STATUS
from services.gateway.schemas import SCHEMAS
from services.gateway.schemas_webhooks import POSTED
from services.gateway.sections import TAGS, tags_of

Json = dict[str, Any]

_DESCRIPTIONS: Final = {
    400: "Something is wrong with the request; `param` names the field.",
    401: "No key or session, or one that is malformed, unknown, revoked or expired.",
    403: "The key or the role lacks the permission, or a session's change its CSRF token; or an image link is over.",
    404: "No such thing, or it belongs to somebody else.",
    405: "The method is not one of the route's.",
    409: "A request with the same Idempotency-Key is still being worked on, or the thing's state forbids the call.",
    413: "The body is over the limit.",
    415: "The body's content type is not the route's.",
    422: "The Idempotency-Key came before with another body.",
    429: "The account's requests, queue, images or open streams are used up.",
    500: "A bug; the `request_id` finds the log line.",
    503: "A part of the platform is away; nothing was stored or charged.",
}

_EVERYWHERE: Final = ("X-Request-Id",)
_RATE: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit")
_OF_STATUS: Final = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    409: ("Retry-After",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}

HEADERS: Final[Mapping[str, Json]] = {
    "X-Request-Id": {"description": "The request's own id, or one made here.", "schema": {"type": "string"}},
    "X-RateLimit-Limit": {"description": "Requests allowed in any 60 seconds.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "Requests left now.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {
        "description": "The Unix second at which the oldest counted request leaves the window.",
        "schema": {"type": "integer"},
    },
    "RateLimit-Policy": {"description": "The same limit as the IETF writes it.", "schema": {"type": "string"}},
    "RateLimit": {"description": "What is left, as the IETF writes it.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait before the same request.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
    "Allow": {"description": "The methods that the route has.", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "`wait=N` where the answer was waited for.", "schema": {"type": "string"}},
    "ETag": {"description": "The image's SHA-256 digest.", "schema": {"type": "string"}},
    "Accept-Ranges": {"description": "`bytes`.", "schema": {"type": "string"}},
    "Content-Range": {"description": "Which bytes these are.", "schema": {"type": "string"}},
    "Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string"}},
    "Content-Security-Policy": {"description": "What the page may load.", "schema": {"type": "string"}},
    "Cache-Control": {"description": "Whether and how long the answer may be kept.", "schema": {"type": "string"}},
}


class Described(Protocol):
    """What of a row the document needs."""

    @property
    def method(self) -> str:
        """The HTTP method."""

    @property
    def path(self) -> str:
        """The path template."""

    @property
    def operation(self) -> Mapping[str, Any]:
        """What the route says of itself."""

    @property
    def permission(self) -> Any:
        """What a key needs; None: no key."""


def shape(name: str) -> Json:
    """A reference to one of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def answer(
    description: str, schema: Json, *, headers: Sequence[str] = (), media_type: str = "application/json"
) -> Json:
    """One successful answer."""
    return {"description": description, "content": {media_type: {"schema": schema}}, "headers": _header_refs(headers)}


def parameter(name: str, place: str, description: str, schema: Json, *, required: bool = False) -> Json:
    """One parameter in `path`, `query` or `header`."""
    return {"name": name, "in": place, "description": description, "required": required, "schema": schema}


def operation(
    operation_id: str,
    summary: str,
    responses: Mapping[int, Json],
    *,
    refuses: Sequence[int] = (),
    parameters: Sequence[Json] = (),
    body: Json | None = None,
    example: Json | None = None,
    body_type: str = "application/json",
    body_required: bool = True,
    path_values: Mapping[str, str] | None = None,
    curl: str = "",
) -> Json:
    """What one route says of itself; the refusals that every route has are added by `document`.

    Args:
        operation_id: unique.
        summary: one sentence.
        responses: the successes by status.
        refuses: statuses of refusals that not every route has.
        parameters: what `parameter` gives.
        body: the schema of the request body; it needs an `example`.
        example: a body to copy; of a multipart body each field's text, or `@file`.
        body_type: the content type of the body.
        body_required: whether the request needs one.
        path_values: what stands for path parameters in the `curl` example.
        curl: the whole example, where it cannot be made from the rest.
    """
    described: Json = {
        "operationId": operation_id,
        "summary": summary,
        "parameters": list(parameters),
        "responses": {**{str(status): found for status, found in responses.items()}},
        "x-refuses": list(refuses),
        "x-path-values": dict(path_values or {}),
        "x-curl": curl,
    }
    if body is not None:
        content = {body_type: {"schema": body, "example": example}}
        described["requestBody"] = {"required": body_required, "content": content}
    return described


def document(table: Sequence[Described], *, server_url: str = "/") -> Json:
    """The whole OpenAPI 3.1 document of a table of rows."""
    paths: Json = {}
    for row in table:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Imagineo",
            "version": "1.0.0",
            "description": "Generate images with LoRA models over REST. Unknown fields are refused, never ignored; "
            "where a JSON object repeats a name, the last one counts; 512.0 is the whole number 512.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": TAGS,
        "servers": [{"url": server_url or "/"}],
        "paths": paths,
        "webhooks": POSTED,
        "components": {
            "schemas": {**SCHEMAS, "ErrorCode": _error_codes()},
            "headers": dict(HEADERS),
            "responses": {f"Error{status}": _refusal(status) for status in _DESCRIPTIONS},
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": SESSION_COOKIE,
                    "description": "The dashboard's log-in. What changes something needs `X-CSRF-Token` as well.",
                },
            },
        },
    }


def _operation(row: Described) -> Json:
    described = {**row.operation, "tags": tags_of(row.path)}
    statuses = {405, 500, *described.pop("x-refuses")}
    keyed = row.permission is not None
    command = examples.curl(row.method, row.path, described, keyed=keyed)
    described["description"] = examples.described(command)
    described["x-codeSamples"] = [{"lang": "sh", "label": "curl", "source": command}]
    for name in ("x-path-values", "x-curl"):
        described.pop(name)
    if keyed:
        statuses |= {401, 403, 429, 503}
        described["security"] = [{"apiKey": []}, {"bearer": []}, {"session": []}]
        described |= _needed(row.permission, described["description"])
    answers = {
        status: {**found, "headers": {**_header_refs((*_EVERYWHERE, *(_RATE if keyed else ()))), **found["headers"]}}
        for status, found in described["responses"].items()
    }
    refusals = {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in sorted(statuses)}
    described["responses"] = {**refusals, **answers}
    if body := described.get("requestBody"):
        described["requestBody"] = {
            **body,
            "content": {name: _exemplified(one) for name, one in body["content"].items()},
        }
    named = {found["name"] for found in described["parameters"]}
    described["parameters"] = [
        *described["parameters"],
        *(
            parameter(name, "path", "Which one.", {"type": "string"}, required=True)
            for name in re.findall(r"{(\w+)}", row.path)
            if name not in named
        ),
    ]
    return described


def _needed(permission: Any, description: str) -> Json:
    """What a key or a member needs, for programs and in words."""
    word = SCOPE_WORDS[permission]
    roles = [name for name, role in ROLES.items() if permission in PERMISSIONS_OF[role]]
    said = f"Needs `{word}`: as a key's scope, or by the role {', '.join(roles)}."
    return {"x-permission": word, "x-roles": roles, "description": f"{said}\n\n{description}"}


def _exemplified(content: Json) -> Json:
    """A body's example where viewers look for it."""
    others = {name: value for name, value in content.items() if name != "example"}
    example = content.get("example")
    return others if example is None else {**others, "examples": {"one": {"summary": "To copy", "value": example}}}


def _refusal(status: int) -> Json:
    rate = _RATE if status not in (405, 500) else ()
    headers = _header_refs((*_EVERYWHERE, *rate, *_OF_STATUS.get(status, ())))
    content = {"application/json": {"schema": shape("Error")}}
    return {"description": _DESCRIPTIONS[status], "headers": headers, "content": content}


def _error_codes() -> Json:
    words = sorted(code_of(reason) for reason in HTTP_STATUS)
    table = "; ".join(f"`{code_of(reason)}` {status}" for reason, status in HTTP_STATUS.items())
    return {
        "type": "string",
        "enum": words,
        "description": f"Why the request was refused, with its HTTP status: {table}.",
    }


def _header_refs(names: Sequence[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
