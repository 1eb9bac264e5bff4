"""The gateway's settings, read by `__main__` from variables `IMAGINEO_GATEWAY_…`. It reads nothing itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from imagineo.broker.access import NatsSettings
from imagineo.egress.urls import Reach
from imagineo.rpc.tls import TlsSettings
from imagineo.settings import Secret
from imagineo.telemetry.tracing import TracingSettings

#: A signing key shorter than this could be guessed.
_SIGNING_KEY_MIN_CHARACTERS = 16

#: As browsers write it: in lower case, without a path, and without the port where it is the usual one.
_ORIGIN: Final = re.compile(r"\*|https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
_MOST: Final = 2**40
_RANGES: Final = {
    "body_limit_bytes": (1_024, _MOST),
    "batch_body_limit_bytes": (1_024, _MOST),
    "lora_limit_bytes": (1, _MOST),
    "image_url_ttl_s": (1, _MOST),
    "pictures_at_once": (1, 1_024),
    "max_streams_count": (1, _MOST),
    "trusted_proxies": (0, 10),
    "hsts_s": (0, _MOST),
    "drain_s": (0, _MOST),
    "drain_delay_s": (0, _MOST),
    "keep_alive_s": (1, _MOST),
}


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(NatsSettings, TlsSettings, TracingSettings):
    """Where the gateway listens, whom it asks and what it bounds."""

    listen: str = "127.0.0.1:8000"
    metrics_listen: str = "127.0.0.1:0"
    log_level: str = "INFO"
    ports_file: str = ""
    auth_address: str
    catalog_address: str
    status_address: str
    webhooks_address: str = "127.0.0.1:50054"
    blobs_url: str
    public_url: str = ""
    """How clients reach the gateway, such as `https://images.example.org`; empty: as each request's Host says."""
    allowed_origins: tuple[str, ...] = ()
    """Whose pages may call the API from a browser, such as `https://app.example.org`; `*`: everybody's."""
    signing_key: Secret
    """Signs image URLs; all gateways of one platform share it."""
    body_limit_bytes: int = 65_536
    batch_body_limit_bytes: int = 4 * 2**20
    """The same of a batch."""
    lora_limit_bytes: int = 512 << 20
    """The most bytes of an uploaded LoRA's file; the catalog's setting of this name says the same."""
    image_url_ttl_s: int = 3_600
    webhooks_allow_loopback: bool = False
    """For development on one machine: webhook URLs may name it, and be http. The variable is webhooks' own."""
    webhooks_ports: tuple[int, ...] = ()
    """Ports that webhook URLs may have; empty: all. The variable is webhooks' own."""
    max_streams_count: int = 4_000
    """Event streams open at once in one gateway; one account may hold half of them."""
    pictures_at_once: int = 2
    """Clients' pictures decoded side by side, each by a process of its own of at most 2 GiB; more wait."""
    keep_alive_s: int = 75
    """How long an idle connection stays open: longer than the proxy before the gateway keeps it, or that one sends a
    request while it is closed."""
    drain_delay_s: float = 0
    """How long it goes on taking requests after SIGTERM, while it says that it is not ready: until all know."""
    trusted_proxies: int = 0
    """How many proxies of our own stand in front, each of which writes into `X-Forwarded-For` who called it."""
    hsts_s: int = 15_552_000
    """Where public_url is https: how long browsers that saw a page refuse to come by http; 0: they are not told to."""
    sign_up_closed: bool = False
    """The sign-up's page says that only invitations make users; auth's setting of this name refuses them."""
    drain_s: int = 20
    """How long requests in flight may take to finish after that."""

    def __post_init__(self) -> None:
        NatsSettings.__post_init__(self)
        TlsSettings.__post_init__(self)
        TracingSettings.__post_init__(self)
        if len(self.signing_key) < _SIGNING_KEY_MIN_CHARACTERS:
            raise ValueError(f"signing_key must have at least {_SIGNING_KEY_MIN_CHARACTERS} characters")
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be between {low} and {high}")
        if self.public_url and not self.public_url.startswith(("http://", "https://")):
            raise ValueError("public_url must begin with http:// or https://")
        if not all(1 <= port <= 65_535 for port in self.webhooks_ports):
            raise ValueError("webhooks_ports must be from 1 to 65535, with commas between")
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"allowed_origins must be '*' or such as 'https://app.example.org', not '{origin}'")

    @property
    def reach(self) -> Reach:
        """Which receivers webhook URLs may name."""
        return Reach(self.webhooks_allow_loopback, self.webhooks_ports)

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the platform by https, so that cookies may insist on it."""
        return self.public_url.startswith("https://")
