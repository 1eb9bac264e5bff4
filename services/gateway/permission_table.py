"""Writes the tables of permissions as a page: roles, REST routes, gRPC methods. `make permissions` runs it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from imagineo.permissions import ACCESS, PERMISSIONS_OF, ROLES, SCOPE_WORDS, SCOPES, Caller, Permission

from services.gateway.routes import ROUTES

_HEAD = """# Who may do what

Made by `make permissions` from `libs/imagineo/permissions.py` and `services/gateway/routes.py`; a test fails where it
is not up to date. A key does what its scopes allow, a member what their role allows; nobody gives more than they have.
"""


_BEYOND = """
Beyond the table: only owners make, change or remove owners, and the last one stays; a key with limits of its own makes
no keys and changes no members; only those who run the platform set plans.
"""

_BETWEEN = "Between programs no credentials travel: whoever calls for somebody has asked `Authorize` before.\n"


def page() -> str:
    """The whole page, as Markdown."""
    roles = [
        [f"`{word}`", *(_mark(permission, role) for role in ROLES.values())] for word, permission in SCOPES.items()
    ]
    routes = [[f"`{row.method} {row.path}`", _needs(row.permission)] for row in ROUTES]
    methods = [[f"`{name.removeprefix('/imagineo.v1.')}`", _needs(access)] for name, access in sorted(ACCESS.items())]
    return "\n".join(
        [
            _HEAD,
            "## Roles and scopes\n",
            *_table(["scope", *ROLES], roles),
            _BEYOND,
            "## REST\n",
            *_table(["route", "needs"], routes),
            "\n## gRPC\n",
            _BETWEEN,
            *_table(["method", "stands behind it"], methods),
            "",
        ]
    )


def _mark(permission: Permission, role: int) -> str:
    return "yes" if any(permission in held for one, held in PERMISSIONS_OF.items() if one == role) else ""


def _needs(access: Permission | Caller | None) -> str:
    if access is None:
        return "nothing"
    return access.value if isinstance(access, Caller) else f"`{SCOPE_WORDS[access]}`"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    names = list(head)
    return [_line(names), _line("---" for _ in names), *(_line(row) for row in rows)]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(page())
