"""The settings of this service; each is the variable IMAGINEO_STATUS_<FIELD>, or the platform-wide IMAGINEO_<FIELD>."""

from __future__ import annotations

import dataclasses
from typing import Final

from imagineo.broker.access import NatsSettings
from imagineo.rpc.tls import TlsSettings
from imagineo.settings import Secret
from imagineo.telemetry.tracing import TracingSettings

PREFIX: Final = "IMAGINEO_STATUS_"


@dataclasses.dataclass(frozen=True)
class MigrationSettings:
    """What migrations need."""

    postgres_dsn: Secret
    log_level: str = "INFO"


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueueSettings(NatsSettings):
    """What making queues needs."""

    log_level: str = "INFO"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(NatsSettings, TlsSettings, TracingSettings):
    """What serving needs. Addresses are host:port; port 0 takes a free one."""

    postgres_dsn: Secret
    blobs_url: str
    listen: str = "127.0.0.1:50053"
    metrics_listen: str = "127.0.0.1:0"
    log_level: str = "INFO"
    ports_file: str = ""
    retention_days: int = 30
    nats_replicas: int = 0
    """On how many servers of a NATS cluster each stream is kept; 0 leaves it to the server and its operator."""
    postgres_connections: int = 8

    def __post_init__(self) -> None:
        NatsSettings.__post_init__(self)
        TlsSettings.__post_init__(self)
        if not 0 <= self.nats_replicas <= 5:
            raise ValueError("NATS_REPLICAS must be between 0 and 5")
        TracingSettings.__post_init__(self)
        if self.retention_days < 1:
            raise ValueError("RETENTION_DAYS must be at least 1")
        if not 2 <= self.postgres_connections <= 100:
            raise ValueError("POSTGRES_CONNECTIONS must be between 2 and 100")
