"""To the last bit: a LoRA of weight 0 is no LoRA, and a run alone is the stock pipeline's.

Among mates a row's last bits follow from how many rows are computed with it, as matrix products are cut in blocks by
their size; `test_mixed_batches` holds those to 1e-5. Who the mates are, and what they carry, changes no bit.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from services.worker.engine.base import AdapterUse
from tests.support import judged_engine
from tests.support.tiny_models import lora_file

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEDULERS = ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm"]


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    paths = [lora_file(folder / f"{seed}.safetensors", seed=seed, strength=0.2, text=True) for seed in (1, 2)]
    return [
        AdapterUse(f"model_{path.stem}", hashlib.sha256(path.read_bytes()).hexdigest(), path, 0.8) for path in paths
    ]


def request_of(*adapters, **changes):
    usual = {"negative_prompt": "blurry", "guidance": 5.0, "steps": 8, "seed": 3}
    return judged_engine.request_of(*adapters, **usual | changes)


def drawn_together(place, requests):
    """Latents of each, all of which began at the same step."""
    return [place.latents.pop(stop) for _, stop, _ in place.draw_together(*requests)]


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_run_alone_is_the_stock_pipelines(place, stock, scheduler, guidance):
    request = request_of(scheduler=scheduler, guidance=guidance)
    (latents,) = drawn_together(place, [request])
    assert torch.equal(latents, stock.draw(request)[0])


def test_a_run_alone_with_a_lora_of_weight_0_is_the_stock_base_models(place, stock, loras):
    (latents,) = drawn_together(place, [request_of(replace(loras[0], weight=0.0))])
    assert torch.equal(latents, stock.draw(request_of())[0])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_in_the_same_company_a_lora_of_weight_0_is_no_lora(place, loras, scheduler):
    mates = [request_of(loras[0], seed=8, scheduler="euler"), request_of(seed=9, guidance=1.0, steps=5)]
    without = request_of(scheduler=scheduler)
    with_zero = request_of(replace(loras[1], weight=0.0), scheduler=scheduler)
    beside = request_of(loras[1], replace(loras[0], weight=0.0), seed=4)
    first = drawn_together(place, [*mates, without, request_of(loras[1], seed=4)])
    second = drawn_together(place, [*mates, with_zero, beside])
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_the_same_company_draws_the_same_to_the_bit_whatever_its_mates_carry(place, loras):
    mine = request_of(seed=5)
    one = drawn_together(place, [mine, request_of(loras[0], seed=6), request_of(loras[0], seed=7)])
    other = drawn_together(place, [mine, request_of(loras[1], seed=8), request_of(loras[0], seed=1)])
    assert torch.equal(one[0], other[0])


def test_an_image_of_several_is_its_seed_alone_to_a_hundred_thousandth(place, stock):
    requests = [request_of(seed=seed, scheduler="euler_ancestral") for seed in range(4)]
    for request, latents in zip(requests, drawn_together(place, requests), strict=True):
        alone = stock.draw(request)[0]
        assert (latents - alone).abs().max() <= 1e-5 * max(1.0, float(alone.abs().max()))
