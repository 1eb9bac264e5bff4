"""The worker's own Prometheus metrics."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_STAGE_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

RUNS = Counter("imagineo_worker_runs_total", "Deliveries by how they ended.", ["outcome"])
STAGE_SECONDS = Histogram(
    "imagineo_worker_stage_seconds",
    "Seconds of a run by stage: queue, claim, fetch, load, text, denoise, decode, upscale, encode, upload, tell.",
    ["stage"],
    buckets=_STAGE_BUCKETS,
)
STEP_SECONDS = Histogram("imagineo_worker_step_seconds", "Seconds of one denoising step.", buckets=_STAGE_BUCKETS)
RUNNING = Gauge("imagineo_worker_running_runs", "Runs between claim and ack.")
SPEED = Gauge("imagineo_worker_speed_megapixel_steps_per_second", "Asked megapixels times steps per device second.")
CACHE_BYTES = Gauge("imagineo_worker_adapter_cache_bytes", "Disk that LoRA files take.")
CACHE_HITS = Gauge("imagineo_worker_adapter_cache_hits_count", "LoRA files found on disk since the start.")
CACHE_MISSES = Gauge("imagineo_worker_adapter_cache_misses_count", "LoRA files fetched since the start.")
DEVICE_MEMORY_BYTES = Gauge(
    "imagineo_worker_device_memory_bytes",
    "Memory of the device: allocated to tensors, reserved by this process, total. On the CPU: resident memory.",
    ["kind"],
)
ADAPTER_DEVICE_BYTES = Gauge("imagineo_worker_adapter_device_bytes", "Device memory of all LoRA slots, used and free.")
ADAPTER_DEVICE_LIMIT_BYTES = Gauge("imagineo_worker_adapter_device_limit_bytes", "What they may take at most.")
ADAPTER_HOST_BYTES = Gauge("imagineo_worker_adapter_host_bytes", "Host memory of LoRAs that were read ahead or kept.")
ADAPTERS_FOUND = Gauge(
    "imagineo_worker_adapters_found_count",
    "LoRAs of runs since the start by where they were: device, host, reading (on their way there), disk.",
    ["place"],
)
WARM_MODELS = Gauge("imagineo_worker_warm_models", "Models whose LoRA is in the device's memory.")
