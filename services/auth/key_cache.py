"""What is known of keys and sessions, for less than a second: so long may a revoked one still pass. The cache is pure.

Unknown digests are remembered too, in a bound of their own, so that a flood of made-up keys neither reaches the
database each time nor pushes out the keys that are real.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from services.auth.accounts import Principal

Value = TypeVar("Value")

#: Revocation must show within 2 s: this, a running query and a statement in flight stay below it.
MAX_AGE_S: Final = 1.0


class KeyCache:
    """Digest of a key or a session's token → its principal, or None for one that nobody has. Use it from one thread."""

    def __init__(self, *, max_age_s: float = MAX_AGE_S, max_known: int = 50_000, max_unknown: int = 10_000) -> None:
        if not 0 <= max_age_s <= MAX_AGE_S:
            raise ValueError(f"max_age_s must be between 0 and {MAX_AGE_S:g}")
        self._max_age_s = max_age_s
        self._max_known = max_known
        self._max_unknown = max_unknown
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        #: The last moment at which a digest was revoked here: an answer asked for before it is not believed.
        self._forgotten_s: OrderedDict[bytes, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"KeyCache(known={len(self._known)}, unknown={len(self._unknown)})"

    def find(self, digest: bytes, now_s: float) -> tuple[bool, Principal | None]:
        """Say whether the digest is known of, and who it is."""
        entry = self._known.get(digest)
        if entry is not None and now_s - entry[0] < self._max_age_s:
            return True, entry[1]
        asked_s = self._unknown.get(digest)
        return (asked_s is not None and now_s - asked_s < self._max_age_s), None

    def put(self, digest: bytes, principal: Principal | None, asked_s: float) -> None:
        """Remember what the database said to a question asked at `asked_s`, which is when the answer begins to age."""
        if principal is None:
            self._known.pop(digest, None)
            _remember(self._unknown, digest, asked_s, self._max_unknown)
        elif self._forgotten_s.get(digest, -1.0) < asked_s:
            self._unknown.pop(digest, None)
            _remember(self._known, digest, (asked_s, principal), self._max_known)

    def forget(self, digest: bytes, now_s: float) -> None:
        """Drop a digest whose key was revoked; answers to questions asked before now are not taken any more."""
        self._known.pop(digest, None)
        _remember(self._forgotten_s, digest, now_s, self._max_unknown)


async def known(
    digests: Iterable[bytes], cache: KeyCache, resolve: Callable[[Sequence[bytes]], Awaitable[dict[bytes, Principal]]]
) -> dict[bytes, Principal | None]:
    """Who stands behind each digest, asking for those that the cache does not know of."""
    asked_s = asyncio.get_running_loop().time()
    found: dict[bytes, Principal | None] = {}
    missing: list[bytes] = []
    for digest in digests:
        hit, principal = cache.find(digest, asked_s)
        if hit:
            found[digest] = principal
        else:
            missing.append(digest)
    if missing:
        answers = await resolve(missing)
        for digest in missing:
            found[digest] = answers.get(digest)
            cache.put(digest, found[digest], asked_s)
    return found


def _remember(entries: OrderedDict[bytes, Value], digest: bytes, value: Value, bound: int) -> None:
    entries[digest] = value
    entries.move_to_end(digest)
    while len(entries) > bound:
        entries.popitem(last=False)
