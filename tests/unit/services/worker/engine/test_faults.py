"""Memory that runs out, and devices that break, at chosen places: which runs end, how, and what is left of them."""

from __future__ import annotations

import asyncio
import hashlib
import weakref

import pytest
import torch

from services.worker.engine import memory, slots, waves
from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.base import AdapterUse, BaseModelFiles, DrawStopped, StopReason, StopSignal
from services.worker.engine.batch_engine import BatchEngine
from services.worker.engine.failures import DeviceBroken, OutOfMemory
from services.worker.engine.model import Model
from tests.support import judged_engine
from tests.support.steady_rows import MEASURE
from tests.support.tiny_models import lora_file

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WAIT_S = 60


@pytest.fixture
def base(directory):
    return BaseModelFiles("tiny", directory, "sd", 64)


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    files = [lora_file(folder / f"{rank}.safetensors", seed=rank, rank=rank, text=True) for rank in (4, 12, 30)]
    return [AdapterUse(path.stem, hashlib.sha256(path.read_bytes()).hexdigest(), path, 0.8) for path in files]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Collections of garbage would take most of the time here."""
    monkeypatch.setattr(memory, "free", lambda _: None)


@pytest.fixture
async def engine(base):
    engine = BatchEngine(threads=1)
    await engine.open(base)
    yield engine
    await engine.close()


def request_of(*adapters, **changes):
    return judged_engine.request_of(*adapters, **{"guidance": 5.0, "steps": 4} | changes)


async def draw(engine, request, stop=None, on_progress=lambda _: None):
    return (await engine.draw(request, stop=stop or StopSignal(), on_progress=on_progress)).rgb


def memory_of(engine):
    return engine._models["tiny"].adapters.memory


def stepping(monkeypatch, fault):
    """Have `fault(batch)` called before each step."""
    inner = waves.Batch.step

    def step(batch):
        fault(batch)
        inner(batch)

    monkeypatch.setattr(waves.Batch, "step", step)


async def test_where_a_step_runs_out_of_memory_idle_loras_go_before_anything_is_divided(engine, loras, monkeypatch):
    whole = await draw(engine, request_of(loras[0]))
    await draw(engine, request_of(loras[1]))
    assert len(engine.warm_sha256s) == 2
    widths = []

    def fault(batch):
        widths.append(len(batch.runs))
        if loras[1].sha256 in engine.warm_sha256s:
            raise torch.OutOfMemoryError

    stepping(monkeypatch, fault)
    assert await draw(engine, request_of(loras[0])) == whole
    assert widths == [1] * 5
    assert engine.warm_sha256s == {loras[0].sha256}


async def test_what_a_failed_step_computed_is_free_before_it_is_tried_again(engine, monkeypatch):
    left = []

    def fault(batch):
        if not left:
            numbers = torch.zeros(8)
            left.append(weakref.ref(numbers))
            raise torch.OutOfMemoryError
        assert left[0]() is None

    stepping(monkeypatch, fault)
    await draw(engine, request_of())


async def test_a_run_that_does_not_fit_beside_others_is_drawn_once_they_are_gone(engine, loras, monkeypatch):
    alone = [await draw(engine, request_of(loras[0], seed=seed)) for seed in (1, 2)]
    others = engine._company._inside

    def fault(batch):
        if any(run.steps == 9 for run in batch.runs) and len(others) > 1:
            raise torch.OutOfMemoryError

    stepping(monkeypatch, fault)
    wide = await asyncio.gather(
        draw(engine, request_of(loras[1], steps=9)), *(draw(engine, request_of(loras[0], seed=seed)) for seed in (1, 2))
    )
    for one, other in zip(wide[1:], alone, strict=True):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 1
    assert memory_of(engine).held_keys == frozenset()


async def test_the_device_is_emptied_once_for_what_never_fits_not_for_every_run_like_it(engine, monkeypatch):
    emptied, short = [], [True]
    inner = engine._company.alone
    monkeypatch.setattr(engine._company, "alone", lambda: (emptied.append(True), inner())[1])

    def fault(batch):
        if short and any(run.latents.shape[3] > 8 for run in batch.runs):
            raise torch.OutOfMemoryError

    stepping(monkeypatch, fault)

    async def beside_others(*requests):
        drawing = [draw(engine, request_of(seed=seed)) for seed in (1, 2)]
        found = await asyncio.gather(*drawing, *(draw(engine, one) for one in requests), return_exceptions=True)
        assert [type(one) for one in found[:2]] == [bytes] * 2
        return [type(one) for one in found[2:]]

    for _ in range(3):
        assert await beside_others(request_of(width_px=128), request_of(width_px=192)) == [OutOfMemory] * 2
    assert len(emptied) <= 2
    before = len(emptied)
    # Another kind of run may fit: it is given the chance. And what is drawn after all is tried again as if new.
    assert await beside_others(request_of(width_px=128, guidance=1.0)) == [OutOfMemory]
    assert len(emptied) == before + 1
    short.clear()
    await draw(engine, request_of(width_px=192))
    short.append(True)
    await beside_others(request_of(width_px=128))
    assert len(emptied) == before + 2


@pytest.mark.parametrize("times", [1, 9])
async def test_where_memory_runs_out_for_the_latents_of_a_run_that_is_done_the_device_is_not_called_broken(
    engine, monkeypatch, times
):
    whole, left = await draw(engine, request_of()), [None] * times
    inner = torch.isfinite

    def isfinite(numbers):
        if left:
            left.pop()
            raise torch.OutOfMemoryError
        return inner(numbers)

    monkeypatch.setattr(waves.torch, "isfinite", isfinite)
    if times > 1:
        with pytest.raises(OutOfMemory):
            await draw(engine, request_of())
        left.clear()
    assert await draw(engine, request_of()) == whole
    assert not engine.is_broken


async def test_a_run_whose_state_memory_does_not_hold_is_handed_back_without_one(engine, monkeypatch):
    stop = StopSignal()

    def pack(_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(waves.hand_back, "packed", pack)
    with pytest.raises(DrawStopped) as stopped:
        await draw(engine, request_of(), stop, on_progress=lambda _: stop.set(StopReason.DRAINING))
    assert stopped.value.state is None
    await draw(engine, request_of())
    assert not engine.is_broken


async def test_a_run_that_never_fits_is_told_and_the_next_one_is_drawn(engine, loras, monkeypatch):
    def fault(batch):
        if any(run.steps == 9 for run in batch.runs):
            raise torch.OutOfMemoryError

    with monkeypatch.context() as patch:
        stepping(patch, fault)
        endings = await asyncio.gather(
            draw(engine, request_of(loras[1], steps=9)), draw(engine, request_of()), return_exceptions=True
        )
        assert [type(one) for one in endings] == [OutOfMemory, bytes]
    await draw(engine, request_of())


@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_a_lora_for_which_memory_runs_out_at_any_allocation_is_loaded_once_idle_ones_are_gone(
    engine, loras, monkeypatch, failing
):
    whole = await draw(engine, request_of(loras[2]))
    memory_of(engine).give_back()
    await draw(engine, request_of(loras[0]))
    inner, count = torch.empty, 0

    def empty(*sizes, **options):
        nonlocal count
        count += 1
        if count == failing:
            raise torch.OutOfMemoryError
        return inner(*sizes, **options)

    monkeypatch.setattr(slots.torch, "empty", empty)
    assert await draw(engine, request_of(loras[2])) == whole
    assert engine.warm_sha256s == {loras[2].sha256}


@pytest.mark.parametrize("fault", [torch.OutOfMemoryError, torch.AcceleratorError])
async def test_a_base_model_that_the_device_does_not_take_is_not_called_broken(base, monkeypatch, fault):
    def pretrained(*_, **__):
        raise fault("CUDA error: out of reach" if fault is torch.AcceleratorError else "")

    engine = BatchEngine(threads=1)
    with monkeypatch.context() as patch:
        patch.setattr("diffusers.StableDiffusionPipeline.from_pretrained", pretrained)
        with pytest.raises(DeviceBroken if fault is torch.AcceleratorError else OutOfMemory):
            await engine.open(base)
    assert engine.is_broken == (fault is torch.AcceleratorError)
    await engine.close()


async def test_rows_that_do_not_fit_while_measuring_end_the_ladder(base, monkeypatch):
    model = Model(base, AdapterMemory(torch.device("cpu"), 1 << 20))
    inner = Model._step_s

    def step_s(self, rows, *rest):
        if rows > 2:
            raise torch.OutOfMemoryError
        return inner(self, rows, *rest)

    monkeypatch.setattr(Model, "_step_s", step_s)
    with torch.inference_mode():
        MEASURE(model)
    assert model.native_row_cap in (1, 2)


async def test_a_device_that_breaks_in_a_step_hands_every_run_back_and_takes_no_more(engine, loras, monkeypatch):
    stepped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def fault(batch):
        if any(run.steps == 9 and run.step == 3 for run in batch.runs):
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    stepping(monkeypatch, fault)
    other = asyncio.create_task(
        draw(engine, request_of(width_px=128, steps=900), on_progress=lambda _: loop.call_soon_threadsafe(stepped.set))
    )
    await asyncio.wait_for(stepped.wait(), WAIT_S)
    broken = asyncio.create_task(draw(engine, request_of(loras[0], steps=9)))
    endings = await asyncio.wait_for(asyncio.gather(broken, other, return_exceptions=True), WAIT_S)
    assert [(type(one), one.is_suspect) for one in endings] == [(DeviceBroken, True), (DeviceBroken, False)]
    assert engine.is_broken
    with pytest.raises(DeviceBroken) as later:
        await draw(engine, request_of())
    assert not later.value.is_suspect
    assert memory_of(engine).held_keys == frozenset()


async def test_a_device_that_breaks_while_decoding_hands_the_run_back(engine, monkeypatch):
    def decode(*_, **__):
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")

    monkeypatch.setattr(engine._models["tiny"].pipeline.vae, "decode", decode)
    with pytest.raises(DeviceBroken):
        await draw(engine, request_of())
    assert engine.is_broken


async def test_a_step_loop_that_dies_outside_a_step_is_seen_and_answers_its_runs(engine, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(engine._steps, "_step", fail)
    with pytest.raises(DeviceBroken):
        await asyncio.wait_for(draw(engine, request_of()), WAIT_S)
    assert engine.is_broken
    with pytest.raises(DeviceBroken):
        await asyncio.wait_for(draw(engine, request_of()), WAIT_S)


async def test_a_run_that_cannot_join_fails_alone(engine, monkeypatch):
    def fail(*_):
        raise ValueError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(engine._steps, "_wave", fail)
        with pytest.raises(ValueError, match="a bug"):
            await draw(engine, request_of())
    await draw(engine, request_of())
    assert not engine.is_broken


async def test_a_run_that_is_cancelled_while_it_waits_for_its_lora_leaves_at_once(engine, loras, monkeypatch):
    gate, reading, stop = asyncio.Event(), asyncio.Event(), StopSignal()

    async def read(*_):
        reading.set()
        await gate.wait()

    monkeypatch.setattr(memory_of(engine), "read", read)
    drawing = asyncio.create_task(draw(engine, request_of(loras[0]), stop))
    await asyncio.wait_for(reading.wait(), WAIT_S)
    stop.set(StopReason.CANCELED)
    with pytest.raises(DrawStopped):
        await asyncio.wait_for(drawing, WAIT_S)
