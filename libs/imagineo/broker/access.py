"""How a program signs in to the broker: by user and password, by a credentials file, or by an nkey; over TLS or plain.

Files are read at each new connection, so that renewed ones count without a restart.
"""

from __future__ import annotations

import dataclasses
import ssl
from typing import Any

from imagineo.settings import NO_SECRET, Secret


@dataclasses.dataclass(frozen=True, kw_only=True)
class NatsSettings:
    """Settings of every program that speaks to the broker."""

    nats_url: str
    """`nats://host:port`, or `tls://`; several with commas between."""
    nats_user: str = ""
    nats_password: Secret = NO_SECRET
    nats_credentials_file: str = ""
    """A `.creds` file: a user's JWT and its seed."""
    nats_nkey_file: str = ""
    """A file that holds an nkey's seed."""
    nats_authority_file: str = ""
    """PEM: the authorities that the servers' certificates come from; empty: the system's."""

    def __post_init__(self) -> None:
        ways = [bool(self.nats_user), bool(self.nats_credentials_file), bool(self.nats_nkey_file)]
        if sum(ways) > 1:
            raise ValueError("set only one of NATS_USER, NATS_CREDENTIALS_FILE and NATS_NKEY_FILE")
        if bool(self.nats_user) != bool(self.nats_password.reveal()):
            raise ValueError("NATS_USER and NATS_PASSWORD go together")

    @property
    def nats_access(self) -> NatsAccess:
        """How to sign in."""
        return NatsAccess(
            user=self.nats_user,
            password=self.nats_password,
            credentials_file=self.nats_credentials_file,
            nkey_file=self.nats_nkey_file,
            authority_file=self.nats_authority_file,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NatsAccess:
    """See `NatsSettings`; the default signs in as nobody, or as the URL says."""

    user: str = ""
    password: Secret = NO_SECRET
    credentials_file: str = ""
    nkey_file: str = ""
    authority_file: str = ""

    def options(self) -> dict[str, Any]:
        """What nats-py's `connect` takes.

        Raises:
            OSError: if a file cannot be read.
        """
        options: dict[str, Any] = {}
        if self.user:
            options |= {"user": self.user, "password": self.password.reveal()}
        if self.credentials_file:
            options["user_credentials"] = self.credentials_file
        if self.nkey_file:
            options["nkeys_seed"] = self.nkey_file
        if self.authority_file:
            options["tls"] = ssl.create_default_context(cafile=self.authority_file)
        return options
