"""Passwords: what is asked of a new one, and Argon2id in threads of their own, a bounded number at a time.

Hashing takes tens of milliseconds and megabytes on purpose; the event loop that authorizes requests must not feel it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from imagineo import errors
from zxcvbn import zxcvbn  # type: ignore[import-untyped]  # it has no types

from services.auth.people import email_key

Answer = TypeVar("Answer")

MIN_LENGTH: Final = 10
MAX_LENGTH: Final = 128
#: Source: OWASP Password Storage Cheat Sheet, Argon2id: 46 MiB, one pass, one lane.
MEMORY_KIB: Final = 47_104
PASSES: Final = 1
LANES: Final = 1
#: More than so many that wait for a thread are refused: their callers would have given up before.
MAX_WAITING: Final = 100
#: zxcvbn counts the guesses that a password withstands; below 2 are the commonest ones and what is like them.
_MIN_SCORE: Final = 2
#: Only the beginning is scored: signs that stand for letters cost zxcvbn up to 0.7 s at 40 characters and a fifth of it
#: at 20, in a thread that log-ins wait for. A beginning that is hard to guess is as hard with whatever follows.
_SCORED_LENGTH: Final = 20


class Passwords:
    """Hashes and verifies. Use it from one event loop; a cancelled call's work ends by itself."""

    def __init__(self, at_once: int, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES, lanes: int = LANES) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")
        self._waiting = 0
        # Made with the same parameters: to verify against it takes as long as against a real one.
        self._nobodys = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """The Argon2id hash with its salt and parameters.

        Raises:
            Unavailable: if too many wait.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Tell whether the password is the stored one's; None stands for an unknown user and takes as long.

        Raises:
            Unavailable: if too many wait.
        """
        return await self._run(lambda: self._matches(stored or self._nobodys, password) and stored is not None)

    def is_outdated(self, stored: str) -> bool:
        """Tell whether a hash was made with other parameters than those in force."""
        return self._hasher.check_needs_rehash(stored)

    async def check_new(self, password: str, *, email: str, name: str = "", param: str = "password") -> None:
        """Refuse what is too short, too long, the user's own address, or among the first that anybody would guess.

        Raises:
            InvalidParameter: saying what is asked for.
            Unavailable: if too many wait.
        """
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise errors.InvalidParameter.of(param, f"{MIN_LENGTH} to {MAX_LENGTH} characters")
        if email_key(password) == email_key(email):
            raise errors.InvalidParameter.of(param, "something else than your mail address")
        found = await self._run(lambda: zxcvbn(password[:_SCORED_LENGTH], user_inputs=[email, name]))
        if found["score"] < _MIN_SCORE:
            why = found["feedback"]["warning"] or "This one is easy to guess."
            problem = errors.InvalidParameter.of(param, "harder to guess")
            raise errors.InvalidParameter(f"{problem.message} {why}", metadata=problem.metadata)

    def close(self) -> None:
        """Let the threads end; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password[:MAX_LENGTH])
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], Answer]) -> Answer:
        if self._waiting >= MAX_WAITING:
            raise errors.Unavailable("Too many people log in at this moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
