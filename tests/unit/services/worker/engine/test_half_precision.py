"""What a batch computes in float32 where latents are bfloat16, as on GPUs: numbers of a run are not rounded to it."""

from __future__ import annotations

import pytest
import torch

from services.worker.engine import hand_back, loading, schedulers
from services.worker.engine.adapter_memory import AdapterMemory
from services.worker.engine.base import BaseModelFiles, StopSignal
from services.worker.engine.batch import Batch
from services.worker.engine.model import Model
from tests.support.judged_engine import request_of

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GUIDANCES = (7.3, 2.1)


@pytest.fixture(scope="module")
def model(directory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "dtype_of", lambda _: torch.bfloat16)
        return Model(BaseModelFiles("tiny", directory, "sd", 64), AdapterMemory(torch.device("cpu"), 0))


def runs_of(model, scheduler):
    requests = [request_of(guidance=guidance, scheduler=scheduler, steps=6) for guidance in GUIDANCES]
    return [model.prepare(request, [], StopSignal(), lambda _: None) for request in requests]


@torch.inference_mode()
def test_guidance_is_that_of_the_request(model):
    batch = Batch(model, runs_of(model, "ddim"))
    output = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    said = batch._guided(output)
    conditional, unconditional = output[:2], output[2:]
    for index, guidance in enumerate(GUIDANCES):
        stock = unconditional[index] + guidance * (conditional[index] - unconditional[index])
        assert torch.equal(said[index], stock)


@torch.inference_mode()
def test_latents_are_scaled_by_what_the_scheduler_says(model):
    runs = runs_of(model, "euler")
    batch = Batch(model, runs)
    for run in runs:
        run.step = 3
    seen = batch._scaled(batch._coefficients(()), ())
    for index, run in enumerate(runs):
        exact = run.latents[0].double() * float(run.table.coefficients[3, schedulers.SCALE])
        assert torch.equal(seen[index], exact.bfloat16())


@torch.inference_mode()
def test_what_a_scheduler_remembers_is_handed_on_to_the_last_bit(model):
    runs = runs_of(model, "dpmpp_2m")
    batch = Batch(model, runs)
    for _ in range(2):
        batch.step()
    batch.scatter()
    resumed = runs_of(model, "dpmpp_2m")
    for run, other in zip(runs, resumed, strict=True):
        assert hand_back.restore(other, hand_back.packed(run))
        assert torch.equal(other.latents, run.latents)
        assert torch.equal(other.predicted.float(), run.predicted.float())
