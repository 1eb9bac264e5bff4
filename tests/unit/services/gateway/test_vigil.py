"""Who is asked about while an answer stays open, and in whose name."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from imagineo.v1 import account_pb2
from imagineo.v1 import auth_service_pb2 as pb

from services.gateway.exchange import Holder
from services.gateway.vigil import PERIOD_S, Vigil
from tests.support.deadlines import SURELY_S

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="nobody's")
FIRST, SECOND = (
    Holder(organization_id=name, permission=account_pb2.PERMISSION_GENERATIONS_READ, key_sha256=name.encode())
    for name in ("first", "second")
)


async def test_the_question_about_all_is_asked_in_nobodys_name():
    asked: asyncio.Queue[tuple[str, list[bytes]]] = asyncio.Queue()

    async def ask(checks: list[pb.Check]) -> list[pb.Verdict]:
        asked.put_nowait((REQUEST.get(), [check.key_sha256 for check in checks]))
        return [
            pb.Verdict(principal=account_pb2.Principal(organization_id=check.key_sha256.decode())) for check in checks
        ]

    vigil = Vigil(ask, period_s=0.01)
    REQUEST.set("the first one's")
    leave = vigil.keep(FIRST, [].append)
    assert await asyncio.wait_for(asked.get(), SURELY_S) == ("nobody's", [b"first"])
    leave_too = vigil.keep(SECOND, [].append)
    leave()
    while (last := await asyncio.wait_for(asked.get(), SURELY_S)) != ("nobody's", [b"second"]):
        assert last[0] == "nobody's"
    leave_too()


def test_with_what_auth_remembers_and_a_call_the_period_keeps_the_two_seconds():
    assert PERIOD_S <= 0.5
