"""The catalog's settings, read by `__main__` from variables `IMAGINEO_CATALOG_…`. It reads nothing itself."""

from __future__ import annotations

from dataclasses import dataclass

from imagineo.rpc.tls import TlsSettings
from imagineo.settings import Secret
from imagineo.telemetry.tracing import TracingSettings

from services.catalog.lora_file import FILE_MAX_BYTES


@dataclass(frozen=True, kw_only=True)
class CatalogSettings(TlsSettings, TracingSettings):
    """Where the catalog listens and keeps what it knows."""

    postgres_dsn: Secret
    blobs_url: str = ""
    """The object store; without it the catalog serves, but takes no uploads."""
    listen: str = "127.0.0.1:0"
    metrics_listen: str = "127.0.0.1:0"
    log_level: str = "INFO"
    ports_file: str = ""
    upload_dir: str = ""
    """Where uploads lie while they come, up to 8 at once; empty: the system's folder for temporary files."""
    lora_limit_bytes: int = FILE_MAX_BYTES
    """The most bytes of a LoRA's file; the gateway's setting of this name says the same."""
    drain_s: float = 20.0
    """How long an upload in flight may still take once the catalog is asked to end."""
    file_grace_s: float = 3_600
    """How long the file of a deleted LoRA stays for the runs that were accepted with it."""

    def __post_init__(self) -> None:
        TlsSettings.__post_init__(self)
        TracingSettings.__post_init__(self)
        if not 1 <= self.lora_limit_bytes <= FILE_MAX_BYTES:
            raise ValueError(f"lora_limit_bytes must be from 1 to {FILE_MAX_BYTES}")
        if self.drain_s < 0:
            raise ValueError("drain_s cannot be negative")
        if self.file_grace_s < 1:
            raise ValueError("file_grace_s must be at least 1")
