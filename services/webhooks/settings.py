"""The settings of this service: each is the variable IMAGINEO_WEBHOOKS_<FIELD>, or else IMAGINEO_<FIELD>."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from imagineo.broker.access import NatsSettings
from imagineo.egress.urls import Reach
from imagineo.rpc.tls import TlsSettings
from imagineo.settings import Secret
from imagineo.telemetry.tracing import TracingSettings

PREFIX: Final = "IMAGINEO_WEBHOOKS_"

_SIGNING_KEY_MIN_CHARACTERS: Final = 16
_FERNET_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}=")


@dataclasses.dataclass(frozen=True)
class MigrationSettings:
    """What migrations need."""

    postgres_dsn: Secret
    log_level: str = "INFO"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(NatsSettings, TlsSettings, TracingSettings):
    """What serving needs. Addresses are host:port; port 0 takes a free one."""

    postgres_dsn: Secret
    public_url: str
    """How clients reach the gateway, such as `https://images.example.org`: the URLs in an event begin with it."""
    signing_key: Secret
    """The gateways' own: it signs the image URLs in events."""
    secret_keys: Secret
    """Fernet keys with commas between: the first encrypts signing secrets at rest, all of them decrypt."""
    listen: str = "127.0.0.1:50054"
    metrics_listen: str = "127.0.0.1:0"
    log_level: str = "INFO"
    ports_file: str = ""
    postgres_connections: int = 4
    image_url_ttl_s: int = 86_400
    """How long the image URL of an attempt works: receivers tend to fetch later."""
    allow_loopback: bool = False
    """For development on one machine: receivers may listen on it, and speak http."""
    ports: tuple[int, ...] = ()
    """Ports of receivers that the way out of here lets through; URLs with any other are refused. Empty: all."""
    ca_file: str = ""
    """A file of certificates to trust besides the public ones' bundle."""
    timeout_s: float = 15.0
    """How long one attempt may take in all."""
    attempts_at_once: int = 128
    """Attempts in the air of one process; at most half of them go where something failed just before."""
    attempts_at_one_origin: int = 4
    """Attempts in the air to one receiver, over all processes; one where something failed just before."""
    attempts_of_one_owner: int = 32
    """Attempts in the air of one organization, over all processes: many dead receivers are nobody else's matter."""

    def __post_init__(self) -> None:
        NatsSettings.__post_init__(self)
        TlsSettings.__post_init__(self)
        TracingSettings.__post_init__(self)
        if len(self.signing_key) < _SIGNING_KEY_MIN_CHARACTERS:
            raise ValueError(f"SIGNING_KEY must have at least {_SIGNING_KEY_MIN_CHARACTERS} characters")
        keys = [key.strip() for key in self.secret_keys.reveal().split(",")]
        if not all(_FERNET_KEY.fullmatch(key) for key in keys):
            raise ValueError("SECRET_KEYS must be Fernet keys (32 bytes in URL-safe base64), with commas between")
        if not self.public_url.startswith(("http://", "https://")):
            raise ValueError("PUBLIC_URL must begin with http:// or https://")
        if not 2 <= self.postgres_connections <= 100:
            raise ValueError("POSTGRES_CONNECTIONS must be between 2 and 100")
        if not all(1 <= port <= 65_535 for port in self.ports):
            raise ValueError("PORTS must be from 1 to 65535, with commas between")
        if self.image_url_ttl_s < 1 or not 0 < self.timeout_s <= 60:
            raise ValueError("IMAGE_URL_TTL_S must be at least 1, TIMEOUT_S more than 0 and at most 60")
        if not 2 <= self.attempts_at_once <= 1_000 or not 1 <= self.attempts_at_one_origin <= 100:
            raise ValueError("ATTEMPTS_AT_ONCE must be 2 to 1000, ATTEMPTS_AT_ONE_ORIGIN 1 to 100")
        if not 1 <= self.attempts_of_one_owner <= self.attempts_at_once:
            raise ValueError("ATTEMPTS_OF_ONE_OWNER must be at least 1 and at most ATTEMPTS_AT_ONCE")

    @property
    def reach(self) -> Reach:
        """Which receivers may be named."""
        return Reach(self.allow_loopback, self.ports)
