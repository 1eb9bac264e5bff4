"""Steps of eight guided runs, sixteen rows: with eight LoRAs, without any, the bare denoiser; and with loads beside."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext

import torch
from diffusers import UNet2DConditionModel

from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.adapters import AdapterStore
from services.worker.engine.base import AdapterUse, StopSignal
from services.worker.engine.batch import Batch
from services.worker.engine.fusing import StepKind
from services.worker.engine.run import Run
from tests.bench.engine_parts.place import Place, lora, one_core, percentile, request_of, timed
from tests.bench.report import Report

RUNS = 8
STEPS = 40
#: Rank and layers of LoRAs that cannot share one multiplication: two runs have each.
SHAPES = (
    (4, ("to_q", "to_v")),
    (8, ("to_q", "to_k", "to_v", "to_out.0")),
    (16, ("to_q", "to_k", "to_v", "to_out.0", "net.2")),
    (32, ("to_q", "to_k", "to_v", "to_out.0")),
)
#: Steps of one turn with cold LoRAs coming in, and of one without.
STREAM_STEPS = 100
STREAM_PAIRS = 9
#: About as many a second as the engine draws pictures of this model: every picture brings a LoRA nobody had.
COLD_LOADS_PER_S = 20
COLD_FILES = 40


def measure(report: Report, place: Place) -> None:
    """All rows about steps."""
    with one_core():
        _costs(report, place)
    # Loads have a thread of their own: here the process has all cores, as a worker has.
    _streaming(report, place)


def _costs(report: Report, place: Place) -> None:
    model = place.model
    latents, timesteps = torch.randn(2 * RUNS, 4, 8, 8), torch.full((2 * RUNS,), 500.0)
    text = torch.randn(2 * RUNS, 77, model.denoiser.config.cross_attention_dim)
    shaped = [
        lora(place.base, place.folder / f"shaped_{number}.safetensors", 500 + number, *SHAPES[number % len(SHAPES)])
        for number in range(RUNS)
    ]
    bare = UNet2DConditionModel.from_pretrained(place.base / "unet").eval().requires_grad_(False)

    @torch.inference_mode()
    def rounds() -> dict[str, float]:
        batches = {
            "loras": Batch(model, [_run(place, use, seed, STEPS) for seed, use in enumerate(place.files[:RUNS])]),
            "shaped": Batch(model, [_run(place, use, seed, STEPS) for seed, use in enumerate(shaped)]),
            "plain": Batch(model, [_run(place, None, seed, STEPS) for seed in range(RUNS)]),
        }
        seconds: dict[str, list[float]] = {"loras": [], "shaped": [], "plain": [], "bare": []}
        for _ in range(STEPS):
            for name, batch in batches.items():
                seconds[name].append(timed(batch.step))
            seconds["bare"].append(timed(lambda: bare(latents, timesteps, text, return_dict=False)))
        model.unbind()
        return {name: statistics.median(found[1:]) for name, found in seconds.items()}

    found = asyncio.run(place.engine._steps.call(rounds)) | asyncio.run(
        place.engine._steps.call(lambda: _fused_or_not(place))
    )
    report.figure("step_ms_8_loras", found["loras"] * 1000, "ms")
    report.figure("pure_base_over_ours_step", found["bare"] / found["loras"], "ratio", at_least=0.55, aim=0.85)
    report.figure("step_8_loras_over_none", found["loras"] / found["plain"], "ratio", at_most=1.30, aim=1.10)
    report.figure("step_8_loras_of_4_shapes_over_none", found["shaped"] / found["plain"], "ratio")
    report.figure("step_one_lora_fused_over_not", found["fused"] / found["shared"], "ratio")
    report.figure("fusing_ms", found["fusing"] * 1000, "ms")


class _Always:
    """Fuses wherever it may."""

    def __init__(self) -> None:
        self.fusing_s: list[float] = []

    def note_step(self, kind: StepKind, seconds: float, *, is_fused: bool) -> None:
        """What steps take is measured beside."""

    def note_fusing(self, seconds: float) -> None:
        """Keep it."""
        self.fusing_s.append(seconds)

    def pays(self, ahead: Mapping[StepKind, int], *, is_made: bool) -> bool:
        """Always."""
        return True


@torch.inference_mode()
def _fused_or_not(place: Place) -> dict[str, float]:
    """Steps of eight runs that share one LoRA, with fused weights and without, in turns; and what fusing takes."""
    fusing, judged, judge = place.model.fusing, place.model.fusing.gain, _Always()
    fusing.gain = judge
    seconds: dict[str, list[float]] = {"fused": [], "shared": []}
    batch = Batch(place.model, [_run(place, place.files[0], seed, 4 * STEPS) for seed in range(RUNS)])
    for _ in range(STEPS):
        for name, found in seconds.items():
            fusing.consider([run.lora for run in batch.runs] if name == "fused" else [], {batch.kind: 1})
            batch.step()  # the first one after a switch points the layers
            found.append(timed(batch.step))
    place.model.unbind()
    fusing.drop()
    fusing.gain = judged
    return {name: statistics.median(found[1:]) for name, found in seconds.items()} | {"fusing": min(judge.fusing_s)}


def _streaming(report: Report, place: Place) -> None:
    cold = [
        lora(place.base, place.folder / f"cold_{number}.safetensors", 1000 + number) for number in range(COLD_FILES)
    ]
    p99_s: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(STREAM_PAIRS + 1):
        for has_loads in (False, True):
            with _Loads(place, cold) if has_loads else nullcontext():
                found = asyncio.run(place.engine._steps.call(lambda: _steps(place)))
            p99_s[has_loads].append(percentile(found, 0.99))
    ratios = [loads / none for none, loads in zip(p99_s[False][1:], p99_s[True][1:], strict=True)]
    report.figure("step_ms_p99_without_loads", statistics.median(p99_s[False][1:]) * 1000, "ms")
    report.figure("step_p99_cold_loads_over_none", statistics.median(ratios), "ratio", at_most=1.5, aim=1.1)


@torch.inference_mode()
def _steps(place: Place) -> list[float]:
    batch = Batch(place.model, [_run(place, use, seed, STREAM_STEPS) for seed, use in enumerate(place.files[:RUNS])])
    found = [timed(batch.step) for _ in range(STREAM_STEPS)]
    place.model.unbind()
    return found[2:]


class _Loads:
    """Cold LoRAs that come in at a rate while the block runs: each is evicted before it comes again."""

    def __init__(self, place: Place, files: list[AdapterUse]) -> None:
        self._files = files
        self._store = AdapterStore(
            {"unet": place.pipeline.unet, "text_encoder": place.pipeline.text_encoder},
            memory=AdapterMemory(place.model.device, place.model.adapters.read(files[0].path).size_bytes),
            dtype=place.model.dtype,
        )
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    async def _run(self) -> None:
        due_s = time.perf_counter()
        while not self._end.is_set():
            for use in self._files:
                async with self._store.hold([use]):
                    pass
                due_s += 1 / COLD_LOADS_PER_S
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                if self._end.is_set():
                    return


def _run(place: Place, use: AdapterUse | None, seed: int, steps: int) -> Run:
    request = request_of(use, 0.8, 7.5, steps, seed, 64)
    adapters = [place.model.adapters.read(use.path)] if use else []
    return place.model.prepare(request, adapters, StopSignal(), lambda _: None)
