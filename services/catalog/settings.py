"""The catalog's settings, read by `__main__` from variables `IMAGINEO_CATALOG_…`. It reads nothing itself."""

from __future__ import annotations

from dataclasses import dataclass

from imagineo.settings import Secret


@dataclass(frozen=True, kw_only=True)
class CatalogSettings:
    """Where the catalog listens and keeps what it knows."""

    postgres_dsn: Secret
    blobs_url: str = ""
    """The object store, for `seed`, `add-base-model` and `add-lora`; serving needs none."""
    listen: str = "127.0.0.1:0"
    metrics_listen: str = "127.0.0.1:0"
    log_level: str = "INFO"
    ports_file: str = ""
