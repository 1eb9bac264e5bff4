"""People in tests: a client of AccountService, and a user who signs up."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools

from imagineo import tokens
from imagineo.ids import new_id
from imagineo.rpc.client import call
from imagineo.v1 import account_pb2, auth_service_pb2, member_pb2
from imagineo.v1 import account_service_pb2 as pb

from tests.support.deadlines import SURELY_S

PASSWORD = "a fine long password"
_addresses = itertools.count(1)


def fresh_client() -> member_pb2.Client:
    """An address that nobody came from before, so that no test meets another's bounds."""
    number = next(_addresses)
    return member_pb2.Client(address=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", user_agent="test")


@dataclasses.dataclass
class Person:
    """Somebody who is logged in."""

    token: str
    email: str
    user_id: str
    organization_id: str
    session_id: str

    @property
    def digest(self) -> bytes:
        return tokens.digest(self.token)

    @property
    def actor(self) -> member_pb2.Actor:
        return member_pb2.Actor(user_id=self.user_id)

    def check(self, permission=account_pb2.PERMISSION_GENERATIONS_READ, **fields) -> auth_service_pb2.Check:
        return auth_service_pb2.Check(session_sha256=self.digest, permission=permission, **fields)


class People:
    """Calls AccountService of one replica as the gateway would."""

    def __init__(self, stub, auth) -> None:
        self.stub = stub
        self.auth = auth

    async def __call__(self, request, timeout_s: float = 20.0):
        method = type(request).__name__.removesuffix("Request")
        return await call(getattr(self.stub, method), request, timeout_s=timeout_s)

    async def sign_up(self, email: str = "") -> Person:
        email = email or f"{new_id('user')}@example.org"
        request = pb.SignUpRequest(
            email=email, password=PASSWORD, name="Ada", organization_name="Studio", client=fresh_client()
        )
        return person(email, await self(request))

    async def log_in(self, email: str, password: str = PASSWORD, client: member_pb2.Client | None = None) -> Person:
        request = pb.LogInRequest(email=email, password=password, client=client or fresh_client())
        return person(email, await self(request))

    async def joined(self, owner: Person, role: account_pb2.Role.ValueType) -> Person:
        """A new user whom the owner invited."""
        email = f"{new_id('user')}@example.org"
        invited = await self(
            pb.CreateInvitationRequest(organization_id=owner.organization_id, email=email, role=role, actor=owner.actor)
        )
        request = pb.AcceptInvitationRequest(
            token_sha256=tokens.digest(invited.token), password=PASSWORD, name="Bo", client=fresh_client()
        )
        return person(email, await self(request))

    async def verdict(self, check: auth_service_pb2.Check) -> auth_service_pb2.Verdict:
        return (await self.auth.authorize(check))[0]

    async def actions(self, organization_id: str) -> list[str]:
        found = await self(pb.ListAuditEntriesRequest(organization_id=organization_id, page_size=100))
        return [entry.action for entry in found.entries]


def person(email: str, answer) -> Person:
    return Person(answer.token, email, answer.user.user_id, answer.session.organization_id, answer.session.session_id)


async def until(ask, *, holds, within_s: float = SURELY_S):
    """Ask until the answer holds; the bound on what announces itself nowhere."""
    async with asyncio.timeout(within_s):
        while True:
            answer = await ask()
            if holds(answer):
                return answer
            await asyncio.sleep(0.02)
