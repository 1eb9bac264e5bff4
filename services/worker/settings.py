"""What the worker reads from its environment (`IMAGINEO_WORKER_…`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imagineo.broker.access import NatsSettings
from imagineo.rpc.tls import TlsSettings
from imagineo.telemetry.tracing import TracingSettings

COMPILE_MODES: Final = ("off", "default", "cuda-graphs")


@dataclass(frozen=True, kw_only=True)
class Settings(NatsSettings, TlsSettings, TracingSettings):
    """All settings of one worker."""

    status_address: str
    catalog_address: str
    blobs_url: str
    cache_dir: str
    #: Names the worker; it stays over restarts of the same place.
    worker_id: str = "worker"
    #: Slugs of the base models to draw with; empty: all that the catalog knows.
    base_models: tuple[str, ...] = ()
    #: Threads of one operation on the CPU. More than one starves where cores are shared.
    threads: int = 1
    #: `auto`, `cpu` or `cuda`.
    device: str = "auto"
    #: `off`, `default` or `cuda-graphs`: whether and how steps go through torch.compile. It makes a graph for each
    #: latent size, row bucket and rank bucket when that is first met, a minute or more each for a large model: raise
    #: HANG_S with it. Meant for GPUs that draw one base model in few sizes.
    compile: str = "off"
    #: How much disk the LoRA files may take.
    adapter_cache_bytes: int = 8 << 30
    #: How much of the device's memory the LoRAs of all base models may take together, those in use included.
    adapter_memory_bytes: int = 2 << 30
    #: Beside a GPU: how much of the host's memory may hold LoRAs that only have to be copied to it.
    adapter_host_memory_bytes: int = 8 << 30
    #: How long a run may still take once the worker is asked to end; the place's grace period must be longer.
    drain_s: float = 20.0
    #: After how long at one step, or one decoding, the device is taken to hang, and the worker ends itself.
    hang_s: float = 180.0
    listen: str = "127.0.0.1:0"
    metrics_listen: str = "127.0.0.1:0"
    log_level: str = "INFO"
    ports_file: str = ""

    def __post_init__(self) -> None:
        NatsSettings.__post_init__(self)
        TlsSettings.__post_init__(self)
        TracingSettings.__post_init__(self)
        if self.threads < 1:
            raise ValueError("THREADS must be at least 1")
        if self.compile not in COMPILE_MODES:
            raise ValueError(f"COMPILE must be one of {', '.join(COMPILE_MODES)}")
        for name in ("drain_s", "adapter_cache_bytes", "adapter_memory_bytes", "adapter_host_memory_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name.upper()} cannot be negative")
        if self.hang_s <= 0:
            raise ValueError("HANG_S must be more than 0")

    @property
    def cache_path(self) -> Path:
        """The folder of fetched files."""
        return Path(self.cache_dir)
