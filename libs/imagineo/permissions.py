"""The one table of who may do what: role to permissions, which are also the scopes of keys. Pure.

REST routes name their permission in the gateway's `routes`, gRPC methods in `ACCESS` below; tests hold both to be
complete. Between services no credentials travel: whoever calls a method for somebody has asked `Authorize` before.
"""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

from imagineo.v1 import account_pb2 as pb

Permission: TypeAlias = pb.Permission.ValueType
Role: TypeAlias = pb.Role.ValueType

#: Permissions by the word that people read, such as `keys:write`.
SCOPES: Final[dict[str, Permission]] = {
    name.removeprefix("PERMISSION_").lower().replace("_", ":"): number
    for name, number in pb.Permission.items()
    if number != pb.PERMISSION_UNSPECIFIED
}
SCOPE_WORDS: Final = {number: word for word, number in SCOPES.items()}

#: Roles by the word that people read, the mightiest first.
ROLES: Final[dict[str, Role]] = {
    name.removeprefix("ROLE_").lower(): number for name, number in pb.Role.items() if number != pb.ROLE_UNSPECIFIED
}
ROLE_WORDS: Final = {number: word for word, number in ROLES.items()}

_SEEN_BY_ALL: Final = frozenset(
    {
        pb.PERMISSION_GENERATIONS_READ,
        pb.PERMISSION_MODELS_READ,
        pb.PERMISSION_USAGE_READ,
        pb.PERMISSION_ORGANIZATION_READ,
        pb.PERMISSION_MEMBERS_READ,
    }
)
_OF_DEVELOPERS: Final = _SEEN_BY_ALL | {
    pb.PERMISSION_GENERATIONS_WRITE,
    pb.PERMISSION_MODELS_WRITE,
    pb.PERMISSION_KEYS_READ,
    pb.PERMISSION_KEYS_WRITE,
    pb.PERMISSION_WEBHOOKS_READ,
    pb.PERMISSION_WEBHOOKS_WRITE,
}
_OF_ADMINS: Final = _OF_DEVELOPERS | {pb.PERMISSION_ORGANIZATION_WRITE, pb.PERMISSION_MEMBERS_WRITE}

#: What each role allows. A permission that a later version adds is the owner's until it is placed here.
PERMISSIONS_OF: Final[dict[Role, frozenset[Permission]]] = {
    pb.ROLE_OWNER: frozenset(SCOPES.values()),
    pb.ROLE_ADMIN: _OF_ADMINS,
    pb.ROLE_DEVELOPER: _OF_DEVELOPERS,
    pb.ROLE_VIEWER: _SEEN_BY_ALL,
}


class Caller(enum.StrEnum):
    """Who stands behind a gRPC call that no permission of an organization covers."""

    ANYONE = "anyone: the call itself shows a password or a token"
    USER = "a user, for themselves"
    ADMINISTRATOR = "a user who runs the platform, or an operator"
    PLATFORM = "a program of the platform or an operator"


def allows(role: Role, permission: Permission) -> bool:
    """Tell whether a role allows what a permission stands for."""
    return permission in PERMISSIONS_OF.get(role, frozenset())
