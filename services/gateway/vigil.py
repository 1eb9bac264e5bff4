"""Asks again and again whether who holds an answer open still may, and ends what they hold once they may not.

One question for each credential, however many answers it holds open. While auth is away nothing is known, and nothing
ends. Use it from one event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from imagineo import errors
from imagineo.v1 import auth_service_pb2 as pb

from services.gateway.exchange import Holder

#: What auth remembers of a key or a session is at most a second old: with this and a call between them, an answer that
#: is held open ends as soon as any other request is refused, within 2 s.
PERIOD_S: Final = 0.5
#: As many as auth takes in one call.
_MAX_CHECKS: Final = 256

Ask = Callable[[list[pb.Check]], Awaitable[Sequence[pb.Verdict]]]
End = Callable[[errors.Refused], None]


class Vigil:
    """Watches over the holders of open answers. It asks while there are any."""

    def __init__(self, ask: Ask, *, period_s: float = PERIOD_S) -> None:
        self._ask = ask
        self._period_s = period_s
        self._ends: dict[Holder, set[End]] = {}
        self._asking: asyncio.Task[None] | None = None

    @property
    def holders_count(self) -> int:
        """How many credentials hold something open."""
        return len(self._ends)

    def keep(self, holder: Holder, end: End) -> Callable[[], None]:
        """Call `end` with the refusal once the holder is refused; gives what to call when nothing is held any more."""
        self._ends.setdefault(holder, set()).add(end)
        if self._asking is None or self._asking.done():
            # It asks for all: whoever came first lends it neither his request's name nor his trace.
            self._asking = asyncio.create_task(self._watch(), context=contextvars.Context())
        return lambda: self._let_go(holder, end)

    def _let_go(self, holder: Holder, end: End) -> None:
        ends = self._ends.get(holder)
        if ends is None:
            return
        ends.discard(end)
        if not ends:
            del self._ends[holder]

    async def _watch(self) -> None:
        while self._ends:
            await asyncio.sleep(self._period_s)
            holders = list(self._ends)
            parts = (holders[at : at + _MAX_CHECKS] for at in range(0, len(holders), _MAX_CHECKS))
            await asyncio.gather(*map(self._ask_about, parts))

    async def _ask_about(self, holders: Sequence[Holder]) -> None:
        try:
            verdicts = await self._ask([_check(holder) for holder in holders])
        except errors.ImagineoError:
            return
        for holder, verdict in zip(holders, verdicts, strict=True):
            if (refusal := _refusal(holder, verdict)) is not None:
                for end in self._ends.pop(holder, ()):
                    end(refusal)


def _check(holder: Holder) -> pb.Check:
    return pb.Check(
        key_sha256=holder.key_sha256,
        session_sha256=holder.session_sha256,
        permission=holder.permission,
        is_uncounted=True,
    )


def _refusal(holder: Holder, verdict: pb.Verdict) -> errors.Refused | None:
    """Why the holder may not any more: also who works in another organization meanwhile."""
    if verdict.HasField("error"):
        problem = errors.from_detail(verdict.error)
        return problem if isinstance(problem, errors.Refused) else None
    if verdict.principal.organization_id != holder.organization_id:
        return errors.PermissionDenied("The session works in another organization now.")
    return None
