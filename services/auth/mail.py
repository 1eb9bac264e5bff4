"""The mail port: a message goes to a folder, to the console, or to an SMTP server, as one setting says.

`file:///path` and `console:` are for one machine: whoever reads them can use the links. `smtp://user:password@host:587`
takes STARTTLS where the server offers it, and insists on it where a user is named: no password goes out in clear.
`smtps://host:465` speaks TLS from the start.
"""

from __future__ import annotations

import asyncio
import sys
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import aiosmtplib
from imagineo import errors
from imagineo.ids import new_id

_TIMEOUT_S: Final = 20.0
_PORTS: Final = {"smtp": 587, "smtps": 465}


class Post(Protocol):
    """Takes messages away."""

    async def send(self, message: EmailMessage) -> None:
        """Send one message.

        Raises:
            Unavailable: if it could not be handed over; trying again may help.
        """


class FolderPost:
    """Writes each message as a file `*.eml`, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, message: EmailMessage) -> None:
        """Write one message."""
        try:
            await asyncio.to_thread(self._write, message.as_bytes(policy=SMTP))
        except OSError as problem:
            raise errors.Unavailable(f"The mail folder takes nothing: {problem}.") from problem

    def _write(self, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._folder / f".{new_id('evt')}"
        draft.touch(mode=0o600)
        draft.write_bytes(content)
        draft.rename(self._folder / f"{draft.name[1:]}.eml")


class ConsolePost:
    """Prints each message on the standard output."""

    async def send(self, message: EmailMessage) -> None:
        """Print one message."""
        sys.stdout.write(f"{message.as_string()}\n")
        sys.stdout.flush()


class SmtpPost:
    """Hands each message to an SMTP server, on a connection of its own."""

    def __init__(self, host: str, port: int, *, tls: bool, user: str | None, password: str | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._user, self._password = user, password

    async def send(self, message: EmailMessage) -> None:
        """Send one message."""
        try:
            await aiosmtplib.send(
                message,
                hostname=self._host,
                port=self._port,
                use_tls=self._tls,
                start_tls=True if self._user and not self._tls else None,
                username=self._user,
                password=self._password,
                timeout=_TIMEOUT_S,
            )
        except (aiosmtplib.SMTPException, OSError) as problem:
            raise errors.Unavailable(f"The mail server did not take it: {problem}.") from problem


def post_of(url: str) -> Post | None:
    """The post that a setting names; None for an empty one: no mail is sent.

    Raises:
        ValueError: if it names none.
    """
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path:
        return FolderPost(Path(url2pathname(parts.path)))
    if parts.scheme == "console":
        return ConsolePost()
    if parts.scheme in _PORTS and parts.hostname:
        return SmtpPost(
            parts.hostname,
            parts.port or _PORTS[parts.scheme],
            tls=parts.scheme == "smtps",
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )
    raise ValueError("must be empty, console:, file:///folder, smtp://[user:password@]host[:port] or smtps://…")
