"""The demo organizations, one at each end of the plans, and their keys: made once through auth, kept in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from imagineo import errors
from imagineo.ids import new_id
from imagineo.rpc.channel import connect
from imagineo.rpc.client import call
from imagineo.v1 import account_pb2, auth_service_pb2, auth_service_pb2_grpc

from deploy.local.place import write_private

_PLANS: Final = {"premium": account_pb2.PLAN_PREMIUM, "free": account_pb2.PLAN_FREE}
_CALL_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Account:
    """An organization and a key with every permission."""

    organization_id: str
    api_key: str


async def ensure(auth_address: str, file: Path) -> dict[str, Account]:
    """The accounts by plan: those of the file where auth still knows them, else new ones."""
    known = {plan: Account(**fields) for plan, fields in json.loads(file.read_text()).items()} if file.exists() else {}
    async with connect(auth_address) as channel:
        auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        accounts = {
            plan: known[plan] if plan in known and await _exists(auth, known[plan]) else await _create(auth, plan)
            for plan in _PLANS
        }
    write_private(file, {plan: asdict(account) for plan, account in accounts.items()})
    return accounts


async def _exists(auth: auth_service_pb2_grpc.AuthServiceStub, account: Account) -> bool:
    request = auth_service_pb2.GetUsageRequest(organization_id=account.organization_id)
    try:
        await call(auth.GetUsage, request, timeout_s=_CALL_TIMEOUT_S)
    except errors.NotFound:
        return False
    return True


async def _create(auth: auth_service_pb2_grpc.AuthServiceStub, plan: str) -> Account:
    organization = auth_service_pb2.CreateOrganizationRequest(
        name=f"Demo ({plan})", plan=_PLANS[plan], organization_id=new_id("org")
    )
    made = await call(auth.CreateOrganization, organization, timeout_s=_CALL_TIMEOUT_S)
    organization_id = made.organization.organization_id
    request = auth_service_pb2.CreateKeyRequest(organization_id=organization_id, name="local")
    key = await call(auth.CreateKey, request, timeout_s=_CALL_TIMEOUT_S)
    return Account(organization_id=organization_id, api_key=key.secret)
