"""The demo account's person: owner of the premium organization and platform administrator, kept in a file."""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from imagineo import errors
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call
from imagineo.v1 import account_pb2, account_service_pb2, account_service_pb2_grpc

from deploy.local.place import write_private

_EMAIL: Final = "demo@imagineo.local"
_PASSWORD_BYTES: Final = 12
#: Hashing a password takes its time on a machine that starts everything else as well.
_CALL_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class DemoUser:
    """Who logs in at the dashboard."""

    email: str
    password: str


async def ensure(auth_address: str, organization_id: str, file: Path) -> DemoUser:
    """The user of the file, made where auth does not know them; a password that was changed since stays changed."""
    user = DemoUser(**json.loads(file.read_text())) if file.exists() else _new()
    write_private(file, asdict(user))
    request = account_service_pb2.CreateUserRequest(
        email=user.email,
        password=user.password,
        name="Demo",
        organization_id=organization_id,
        role=account_pb2.ROLE_OWNER,
        is_administrator=True,
    )
    async with connect(auth_address) as channel:
        accounts = account_service_pb2_grpc.AccountServiceStub(channel)
        with contextlib.suppress(errors.AlreadyExists):  # made at an earlier start
            await call(accounts.CreateUser, request, timeout_s=_CALL_TIMEOUT_S)
    return user


def _new() -> DemoUser:
    return DemoUser(_EMAIL, secrets.token_urlsafe(_PASSWORD_BYTES))
