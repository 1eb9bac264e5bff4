"""The settings of this service; each is the variable IMAGINEO_AUTH_<FIELD>, or the platform-wide IMAGINEO_<FIELD>."""

from __future__ import annotations

import dataclasses
from typing import Final

from imagineo.broker.access import NatsSettings
from imagineo.rpc.tls import TlsSettings
from imagineo.settings import Secret
from imagineo.telemetry.tracing import TracingSettings

from services.auth.admission import PAGES_PER_MINUTE
from services.auth.mail import post_of

PREFIX: Final = "IMAGINEO_AUTH_"


@dataclasses.dataclass(frozen=True)
class AdminSettings:
    """What migrations and the operator's commands need."""

    postgres_dsn: Secret
    log_level: str = "INFO"


NO_MAIL: Final = Secret("")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(NatsSettings, TlsSettings, TracingSettings):
    """What serving needs. Addresses are host:port; port 0 takes a free one."""

    postgres_dsn: Secret
    status_address: str
    listen: str = "127.0.0.1:50051"
    metrics_listen: str = "127.0.0.1:0"
    log_level: str = "INFO"
    ports_file: str = ""
    postgres_connections: int = 8
    passwords_at_once: int = 2
    """Passwords hashed side by side, each in a thread and 46 MiB; more wait."""
    pages_per_minute: int = PAGES_PER_MINUTE
    """What one person may load of the dashboard in any 60 seconds; it does not count for the organization."""
    sign_up_closed: bool = False
    """Only invitations and operators make users; the gateway's setting of this name says so on its page."""
    verified_mail_required: bool = False
    """Who signed up only looks, as a viewer does, until a link that was mailed to them came back."""
    mail_url: Secret = NO_MAIL
    """Where letters go: `smtp://user:password@host:587`, `smtps://…`, `file:///folder`, `console:`; empty: nowhere."""
    mail_from: str = "Imagineo <imagineo@localhost>"
    public_url: str = ""
    """What the links in letters begin with: the address of the gateway."""

    def __post_init__(self) -> None:
        NatsSettings.__post_init__(self)
        TlsSettings.__post_init__(self)
        TracingSettings.__post_init__(self)
        if not 1 <= self.postgres_connections <= 100:
            raise ValueError("POSTGRES_CONNECTIONS must be between 1 and 100")
        if not 1 <= self.passwords_at_once <= 64:
            raise ValueError("PASSWORDS_AT_ONCE must be between 1 and 64")
        if not 10 <= self.pages_per_minute <= 100_000:
            raise ValueError("PAGES_PER_MINUTE must be between 10 and 100000")
        try:
            post_of(self.mail_url.reveal())
        except ValueError as problem:
            raise ValueError(f"MAIL_URL {problem}") from problem
        if self.verified_mail_required and not self.mail_url:
            raise ValueError("VERIFIED_MAIL_REQUIRED needs MAIL_URL: nobody could confirm an address")
        if self.mail_url and not self.public_url.startswith(("http://", "https://")):
            raise ValueError("PUBLIC_URL must begin with http:// or https:// where MAIL_URL is set: letters hold links")
