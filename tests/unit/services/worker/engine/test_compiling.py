"""Compiled steps: the stock pipeline's pictures, and no graph made anew but for a size, a row bucket or a rank bucket.

With the backend that traces as every other does and then runs plain kernels: what is compiled how often is the same.
IMAGINEO_TEST_INDUCTOR=1 has the kernels compiled too, as an operator's `COMPILE=default` has them: a C++ compiler and
minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import warnings
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from imagineo.settings import SettingsError
from safetensors.torch import save_file
from torch._dynamo.testing import CompileCounterWithBackend
from torch._inductor import config as inductor

from services.worker.app import serve
from services.worker.engine import compiling, knee
from services.worker.engine.base import AdapterUse
from services.worker.engine.model import Model
from services.worker.settings import COMPILE_MODES, Settings
from tests.support import judged_engine
from tests.support.judged_engine import JudgedEngine
from tests.support.steady_rows import MEASURE
from tests.support.tiny_models import tiny_base

# diffusers' schedulers speak an older dialect of numpy.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.timeout(600),  # tracing is Python's own work: slow on a busy core
]


HAS_COMPILER = any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++"))
NEEDS_COMPILER = pytest.mark.skipif(
    not (HAS_COMPILER and os.environ.get("IMAGINEO_TEST_INDUCTOR") == "1"),
    reason="asks for IMAGINEO_TEST_INDUCTOR=1 and a C++ compiler",
)


class Place(JudgedEngine):
    """One that compiles its steps and counts the graphs."""

    def __init__(self, directory, backend="aot_eager"):
        self.graphs = CompileCounterWithBackend(backend)
        super().__init__(directory, compile_options={"backend": self.graphs})

    def graphs_for(self, *requests):
        """Draw requests that begin together, check each against its oracle, and count the graphs made for them."""
        before = self.graphs.frame_count
        for ending in self.draw_together(*requests):
            self.check(*ending)
        return self.graphs.frame_count - before


def test_what_compiling_would_look_for_in_vain_is_told_before_anything_starts():
    settings = Settings(
        **dict.fromkeys(("nats_url", "status_address", "catalog_address", "blobs_url", "cache_dir"), "x"),
        compile="default",
    )
    with inductor.patch({"cpp.cxx": (None, "no-such-compiler")}):
        assert "a C++ compiler (no-such-compiler)" in compiling.missing_tools()
        with pytest.raises(SettingsError, match="take the image worker-compile"):
            asyncio.run(serve(settings, asyncio.Event()))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A base of one block on each side: what is compiled grows with the layers."""
    with warnings.catch_warnings(action="ignore"):
        made = tiny_base(tmp_path_factory.mktemp("base"))
    torch.manual_seed(5)
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16,),
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        mid_block_type=None,
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    ).save_pretrained(made / "unet")
    return made


@pytest.fixture(scope="module", params=["aot_eager", pytest.param("inductor", marks=NEEDS_COMPILER)])
def place(request, directory):
    torch._dynamo.reset()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(action="ignore"):
        patch.setattr(Model, "measure", MEASURE)
        patch.setattr(knee, "LADDER", (1, 4))
        made = Place(directory, request.param)
    made.model.native_row_cap = 4
    yield made
    made.close()
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def loras(directory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    attention = ("to_q", "to_k", "to_out.0")
    kinds = {"narrow": (4, attention), "full": (8, attention), "wide": (12, attention), "conv": (4, ("conv1", "to_v"))}
    return [
        lora(directory, folder / f"{name}.safetensors", seed, rank, endings)
        for seed, (name, (rank, endings)) in enumerate(kinds.items())
    ]


def lora(directory, path, seed, rank, endings):
    """A LoRA of all linear layers and convolutions whose names end so."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, module in UNet2DConditionModel.from_pretrained(directory / "unet").named_modules():
        if name.endswith(endings):
            outputs, *inputs = module.weight.shape
            tensors[f"unet.{name}.lora_A.weight"] = torch.randn(rank, *inputs, generator=draw) * 0.15
            ones = (1, 1) if len(inputs) == 3 else ()
            tensors[f"unet.{name}.lora_B.weight"] = torch.randn(outputs, rank, *ones, generator=draw) * 0.15
    save_file(tensors, path)
    return AdapterUse(f"model_{seed}", hashlib.sha256(path.read_bytes()).hexdigest(), path, 0.8)


def request_of(*adapters, **changes):
    return judged_engine.request_of(*adapters, **{"steps": 3} | changes)


def test_adapters_weights_and_rows_of_a_bucket_make_no_graph_anew(place, loras):
    first, second, wide, conv = loras
    # One row and four were measured at the start, and runs are stepped by the same graphs; three are padded to four.
    assert place.graphs.frame_count == 2
    assert place.graphs_for(request_of(), request_of(seed=2, guidance=3.0)) == 0
    assert place.graphs_for(request_of(), request_of(seed=2, guidance=1.0)) == 0
    assert place.graphs_for(request_of(guidance=1.0)) == 0
    # The first LoRA makes a graph, and after that:
    assert place.graphs_for(request_of(first), request_of()) == 1
    for requests in [
        (request_of(second), request_of(seed=5, scheduler="euler")),
        (request_of(replace(first, weight=0.3), seed=6), request_of(second, guidance=1.0)),
        (request_of(first, guidance=1.0, scheduler="dpmpp_2m"), request_of(seed=2, scheduler="euler_ancestral")),
        (request_of(replace(second, weight=0.0)), request_of(first, positive_prompt="two dogs")),
        (request_of(), request_of(seed=3)),
    ]:
        assert place.graphs_for(*requests) == 0
    # Another rank bucket, and modules that none before it changed, make one each.
    assert place.graphs_for(request_of(wide), request_of(first)) == 1
    assert place.graphs_for(request_of(first, second), request_of(wide, seed=7)) == 0
    assert place.graphs_for(request_of(conv), request_of(first)) == 1
    assert place.graphs_for(request_of(conv), request_of(first, seed=3)) == 0
    assert place.graphs_for(request_of(first), request_of(seed=9)) == 0


@pytest.mark.parametrize(("rows", "bucket"), [(1, 1), (2, 2), (3, 4), (4, 4), (9, 16), (64, 64)])
def test_rows_are_padded_to_a_power_of_two(rows, bucket):
    assert compiling.row_bucket(rows) == bucket


def test_every_mode_that_an_operator_may_choose_is_known():
    needed = {"nats_url": "", "status_address": "", "catalog_address": "", "blobs_url": "", "cache_dir": ""}
    assert set(COMPILE_MODES) == set(compiling.MODES)
    assert compiling.MODES[Settings(**needed).compile] is None
    with pytest.raises(ValueError, match="cuda-graphs"):
        Settings(**needed, compile="always")
