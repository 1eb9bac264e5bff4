"""The rows that say whose mail address is proven, and the links that prove one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from imagineo.postgres.pool import Database
from imagineo.postgres.queries import load

from services.auth import audit
from services.auth.audit import Action, Entry
from services.auth.people import VERIFICATION_AGE, Actor, Client

SQL: Final = load(Path(__file__).parent / "sql" / "verification.sql")


class VerificationRepository:
    """Reads and writes links that prove a mail address.

    Raises:
        Unavailable: from every method, if the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, user_id: str, digest: bytes) -> bool:
        """Let a token prove the user's mail address; False: it is proven, or they are disabled."""
        tag = await self._database.execute(SQL["insert_verification"], digest, user_id, VERIFICATION_AGE)
        return tag == "INSERT 0 1"

    async def use(self, digest: bytes, client: Client) -> bool:
        """Take a token as the proof of its user's mail address, once; False: it is not good any more."""
        async with self._database.transaction() as connection:
            user_id = await connection.fetchval(SQL["use_verification"], digest)
            if user_id is None:
                return False
            await verify(connection, user_id, Actor(user_id, client=client))
            return True

    async def forget_over(self) -> None:
        """Delete the links that are over."""
        await self._database.execute(SQL["forget_verifications"])


async def verify(connection: Any, user_id: str, actor: Actor) -> None:
    """Note in the transaction that the connection is in that a user's mail address is proven."""
    if await connection.fetchval(SQL["verify_user"], user_id):
        for row in await connection.fetch(SQL["organizations_of"], user_id):
            await audit.write(connection, Entry(row["organization_id"], Action.EMAIL_VERIFIED, actor, user_id))
