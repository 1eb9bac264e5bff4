"""Bounds guesses: so many tries a minute for each mail address and each client address, over all replicas.

They are counted by `auth.admit` in the same windows as requests, under names that no organization has. The client's
address is counted first and by itself: what it names is counted only while it may go on, so that one address makes a
bounded number of rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from imagineo import errors

from services.auth.admission import NO_ORGANIZATION, Demand
from services.auth.plans import Limits
from services.auth.repository import Repository
from services.auth.window import SECOND_US

_BRACKETED: Final = re.compile(r"\[([^\]]*)\](?::\d*)?")


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """So many tries a minute of one kind by one somebody."""

    kind: str
    somebody: str
    per_minute: int

    @property
    def subject(self) -> str:
        """Its name in the windows; addresses of people are not stored in clear."""
        return f"{NO_ORGANIZATION}{self.kind}:{hashlib.sha256(self.somebody.encode()).hexdigest()[:32]}"


def of_log_in(email_key: str, address: str, *, is_known: bool) -> list[Bound]:
    """The bounds of a log-in by an address that `of_address` let through.

    Whoever guesses at one account from many addresses is bounded by the account; its user, whose address has a session
    of theirs (`is_known`), is not locked out by them.
    """
    pair = Bound("log-in.pair", f"{email_key} {address}", 10)
    return [pair] if is_known else [Bound("log-in.account", email_key, 20), pair]


def of_mail(kind: str, email_key: str) -> list[Bound]:
    """The bound of what sends a letter of one kind to somebody: whoever is invited often can still reset a password."""
    return [Bound(f"{kind}.mail", email_key, 3)]


def of_address(kind: str, address: str) -> list[Bound]:
    """The bound of a client address; an IPv6 customer has a whole /64. An address that is not known is not bounded."""
    if not address:
        return []
    parsed = _parsed(address)
    if parsed is None:
        return [Bound(f"{kind}.address", address, 30)]
    network = ipaddress.ip_network((parsed, 64 if parsed.version == 6 else 32), strict=False)
    return [Bound(f"{kind}.address", str(network), 30)]


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address without a port; one of IPv4 is the same in whatever dress it comes. None: it is none."""
    bracketed = _BRACKETED.fullmatch(address)
    bare = bracketed[1] if bracketed else address.partition(":")[0] if address.count(":") == 1 else address
    try:
        parsed = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


class Throttle:
    """Counts tries."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def admit(self, bounds: Sequence[Bound]) -> None:
        """Count one try against each bound.

        Raises:
            RateLimited: with the time to wait, if one of them is used up.
            Unavailable: if the database is away.
        """
        demands = {bound.subject: Demand(Limits(requests_per_minute=bound.per_minute), 1) for bound in bounds}
        standings = await self._repository.admit(demands) if demands else {}
        waits_us = [
            standing.admission.free_us - standing.admission.now_us
            for standing in standings.values()
            if not standing.admission.admitted
        ]
        if waits_us:
            wait_s = max(max(waits_us) / SECOND_US, 1.0)
            raise errors.RateLimited("Too many tries.", retry_after_s=wait_s)
