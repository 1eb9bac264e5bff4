"""What a LoRA costs before a step has it, and what memory is left after thousands came and went; on one core."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time

import psutil
import torch
from safetensors.torch import load_file

from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.adapters import AdapterStore, activate
from services.worker.engine.base import AdapterUse
from services.worker.engine.lora_layers import LoraRows
from tests.bench.engine_parts.place import LORAS, PAIRS, Place, one_core, timed
from tests.bench.report import Report

LOADS = 2_000
ACTIVATIONS = 20


def measure(report: Report, place: Place) -> None:
    """Activation and memory."""
    with one_core():
        _activation(report, place)
        _read_ahead(report, place)
        _memory(report, place)


def _activation(report: Report, place: Place) -> None:
    """The sixteenth LoRA: loaded into the stock denoiser, and made a row's from memory here."""
    model, use = place.model, place.files[-1]
    adapter, memory = model.adapters.read(use.path), model.adapters.memory
    tensors = {name.removeprefix("unet."): tensor for name, tensor in load_file(use.path).items()}

    def make_active() -> None:
        """All that stands between an adapter in the host's memory and a step with it."""
        placed = memory.take(adapter)
        assert placed is not None
        memory.write(adapter, placed)
        lora = activate("unet", [placed], [AdapterUse(use.model_id, use.sha256, use.path, 0.7)])
        assert lora is not None
        LoraRows(model.layers, [(0, [lora])]).bind()

    with place.usual(place.files[:-1]), torch.inference_mode():
        pairs = []
        for _ in range(PAIRS + 1):
            load_s = timed(
                lambda: place.pipeline.unet.load_lora_adapter(dict(tensors), adapter_name="last", prefix=None)
            )
            place.pipeline.delete_adapters("last")
            activate_s = timed(lambda: [make_active() for _ in range(ACTIVATIONS)]) / ACTIVATIONS
            pairs.append(load_s / activate_s)
    model.unbind()
    report.figure("load_over_activate_16_loaded", statistics.median(pairs[1:]), "ratio", at_least=50, aim=300)


def _read_ahead(report: Report, place: Place) -> None:
    """What a run waits for its LoRA: from the disk, and where it was read while the run was still to be claimed."""
    adapters = place.model.adapters

    async def held_s(use: AdapterUse) -> float:
        started_s = time.perf_counter()
        async with adapters.hold([use]):
            return time.perf_counter() - started_s

    async def pair(use: AdapterUse) -> float:
        adapters.memory.give_back()
        cold_s = await held_s(use)
        adapters.memory.give_back()
        await adapters.read_ahead(use)
        return cold_s / await held_s(use)

    ratio = statistics.median(asyncio.run(pair(use)) for use in place.files[: PAIRS + 1])
    report.figure("hold_from_disk_over_read_ahead", ratio, "ratio")


def _memory(report: Report, place: Place) -> None:
    """Resident memory over loads that evict each other."""
    store = AdapterStore(
        {"unet": place.pipeline.unet, "text_encoder": place.pipeline.text_encoder},
        memory=AdapterMemory(place.model.device, 3 * place.model.adapters.read(place.files[0].path).size_bytes),
        dtype=place.model.dtype,
    )

    async def load(count: int) -> None:
        for number in range(count):
            async with store.hold([place.files[number % LORAS]]):
                pass

    asyncio.run(load(LOADS // 10))
    gc.collect()
    before_bytes = psutil.Process().memory_info().rss
    asyncio.run(load(LOADS))
    gc.collect()
    growth = psutil.Process().memory_info().rss / before_bytes - 1
    report.figure("rss_growth_2000_loads", growth * 100, "%", at_most=2.0, aim=0.0)
