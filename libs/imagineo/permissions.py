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


_METHODS: Final[dict[str, dict[str, Permission | Caller]]] = {
    "AuthService": {
        "Authorize": Caller.ANYONE,
        "ReleaseReservations": Caller.PLATFORM,
        "GetUsage": pb.PERMISSION_USAGE_READ,
        "ListUsage": pb.PERMISSION_USAGE_READ,
        "CreateOrganization": Caller.PLATFORM,
        "UpdateOrganization": pb.PERMISSION_ORGANIZATION_WRITE,
        "CreateKey": pb.PERMISSION_KEYS_WRITE,
        "ListKeys": pb.PERMISSION_KEYS_READ,
        "RevokeKey": pb.PERMISSION_KEYS_WRITE,
    },
    "AccountService": {
        "SignUp": Caller.ANYONE,
        "LogIn": Caller.ANYONE,
        "LogOut": Caller.ANYONE,
        "GetSession": Caller.ANYONE,
        "SwitchOrganization": Caller.ANYONE,
        "ListSessions": Caller.USER,
        "RevokeSession": Caller.USER,
        "ChangePassword": Caller.ANYONE,
        "RequestPasswordReset": Caller.ANYONE,
        "ResetPassword": Caller.ANYONE,
        "RequestVerification": Caller.ANYONE,
        "VerifyEmail": Caller.ANYONE,
        "GetUser": Caller.USER,
        "CreateUser": Caller.PLATFORM,
        "ListMembers": pb.PERMISSION_MEMBERS_READ,
        "ChangeRole": pb.PERMISSION_MEMBERS_WRITE,
        "RemoveMember": pb.PERMISSION_MEMBERS_WRITE,
        "CreateInvitation": pb.PERMISSION_MEMBERS_WRITE,
        "ListInvitations": pb.PERMISSION_MEMBERS_READ,
        "RevokeInvitation": pb.PERMISSION_MEMBERS_WRITE,
        "GetInvitation": Caller.ANYONE,
        "AcceptInvitation": Caller.ANYONE,
        "ListAuditEntries": pb.PERMISSION_AUDIT_READ,
        "ListOrganizations": Caller.ADMINISTRATOR,
    },
    "CatalogService": {
        "Resolve": Caller.PLATFORM,
        "ListBaseModels": pb.PERMISSION_MODELS_READ,
        "GetBaseModel": pb.PERMISSION_MODELS_READ,
        "ListLoras": pb.PERMISSION_MODELS_READ,
        "GetLora": pb.PERMISSION_MODELS_READ,
        "CreateLora": pb.PERMISSION_MODELS_WRITE,
        "UpdateLora": pb.PERMISSION_MODELS_WRITE,
        "DeleteLora": pb.PERMISSION_MODELS_WRITE,
    },
    "GenerationService": {
        "Accept": pb.PERMISSION_GENERATIONS_WRITE,
        "AcceptTogether": pb.PERMISSION_GENERATIONS_WRITE,
        "FindAcceptance": pb.PERMISSION_GENERATIONS_WRITE,
        "CountUnfinished": pb.PERMISSION_USAGE_READ,
        "EstimateRun": pb.PERMISSION_GENERATIONS_WRITE,
        "MarkPublished": Caller.PLATFORM,
        "GetGeneration": pb.PERMISSION_GENERATIONS_READ,
        "ListGenerations": pb.PERMISSION_GENERATIONS_READ,
        "WatchGeneration": pb.PERMISSION_GENERATIONS_READ,
        "CancelGeneration": pb.PERMISSION_GENERATIONS_WRITE,
        "DeleteGeneration": pb.PERMISSION_GENERATIONS_WRITE,
        "GetProvenance": pb.PERMISSION_GENERATIONS_READ,
        "GetStatuses": Caller.PLATFORM,
        "ListQueues": Caller.PLATFORM,
        "Claim": Caller.PLATFORM,
        "RenewLeases": Caller.PLATFORM,
    },
    "BatchService": {
        "CreateBatch": pb.PERMISSION_GENERATIONS_WRITE,
        "FindBatch": pb.PERMISSION_GENERATIONS_WRITE,
        "GetBatch": pb.PERMISSION_GENERATIONS_READ,
        "ListBatches": pb.PERMISSION_GENERATIONS_READ,
        "ListBatchItems": pb.PERMISSION_GENERATIONS_READ,
        "CancelBatch": pb.PERMISSION_GENERATIONS_WRITE,
    },
    "UploadService": {
        "CreateUpload": pb.PERMISSION_GENERATIONS_WRITE,
        "GetUpload": pb.PERMISSION_GENERATIONS_READ,
        "DeleteUpload": pb.PERMISSION_GENERATIONS_WRITE,
    },
    "WebhookService": {
        "CreateWebhook": pb.PERMISSION_WEBHOOKS_WRITE,
        "GetWebhook": pb.PERMISSION_WEBHOOKS_READ,
        "ListWebhooks": pb.PERMISSION_WEBHOOKS_READ,
        "UpdateWebhook": pb.PERMISSION_WEBHOOKS_WRITE,
        "DeleteWebhook": pb.PERMISSION_WEBHOOKS_WRITE,
        "RotateSecret": pb.PERMISSION_WEBHOOKS_WRITE,
        "GetSigningSecret": pb.PERMISSION_WEBHOOKS_WRITE,
        "ListDeliveries": pb.PERMISSION_WEBHOOKS_READ,
        "Redeliver": pb.PERMISSION_WEBHOOKS_WRITE,
    },
}

#: What stands behind each gRPC method, by its full name: the permission of whom it is called for, or a kind of caller.
ACCESS: Final[dict[str, Permission | Caller]] = {
    f"/imagineo.v1.{service}/{method}": access
    for service, methods in _METHODS.items()
    for method, access in methods.items()
}
