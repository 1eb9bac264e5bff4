"""Time that passes for one row: what would expire in days has expired at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import asyncpg


def expire_invitation(dsn: str, invitation_id: str) -> None:
    """Let an invitation's time be over."""
    _change(dsn, "UPDATE auth.invitations SET expires_at = now() WHERE invitation_id = $1", invitation_id)


def expire_password_resets(dsn: str, email: str) -> None:
    """Let the time of somebody's reset links be over."""
    whose = "SELECT user_id FROM auth.users WHERE email = $1"
    _change(dsn, f"UPDATE auth.password_resets SET expires_at = now() WHERE user_id = ({whose})", email)  # noqa: S608


def _change(dsn: str, sql: str, value: str) -> None:
    async def ask() -> str:
        connection = await asyncpg.connect(dsn)
        try:
            return str(await connection.execute(sql, value))
        finally:
            await connection.close()

    # In a thread of its own: a browser that is driven keeps this one's event loop.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, ask()).result() == "UPDATE 1"
