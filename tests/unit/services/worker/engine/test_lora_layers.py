"""The layers against peft's own: rows with different LoRAs in one batch equal each row through peft alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from services.worker.engine.lora_layers import Layout, LoraRows, Place, RowLora, combined, install, rank_bucket

# A second adapter is what peft doubts here, and what is meant.
pytestmark = pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")

KINDS = {
    "linear": (lambda: nn.Linear(6, 10), (5, 6), 6),
    "linear on vectors": (lambda: nn.Linear(6, 10), (6,), 6),
    "linear on pictures": (lambda: nn.Linear(6, 10), (2, 3, 6), 6),
    "convolution": (lambda: nn.Conv2d(6, 10, 3, padding=1), (6, 7, 5), 54),
    "strided convolution": (lambda: nn.Conv2d(6, 10, 3, stride=2, padding=1), (6, 8, 8), 54),
    "pointwise convolution": (lambda: nn.Conv2d(6, 10, 1), (6, 4, 4), 6),
}


class Holder(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def lora_of(fan_in, rank, scale, draw):
    down = torch.randn(rank, fan_in, generator=draw)
    up = torch.randn(rank, 10, generator=draw)
    layout = Layout((Place("layer", rank, fan_in, 10),))
    return RowLora(layout, down.flatten(), (up * scale).flatten()), down, up.T


def through_peft(layer, x, loras):
    holder = Holder(layer)
    for index, (down, up, alpha) in enumerate(loras):
        config = LoraConfig(r=down.shape[0], lora_alpha=alpha, target_modules=["layer"])
        inject_adapter_in_model(config, holder, adapter_name=f"a{index}")
        weights = holder.layer.lora_A[f"a{index}"].weight, holder.layer.lora_B[f"a{index}"].weight
        for weight, matrix in zip(weights, (down, up), strict=True):
            weight.data.copy_(matrix.reshape(weight.shape))
    if loras:
        holder.layer.set_adapter([f"a{index}" for index in range(len(loras))])
    return holder(x)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.sampled_from([1, 4, 8]), max_size=3), min_size=1, max_size=5), st.integers(0, 99))
def test_rows_with_any_loras_equal_each_row_through_peft(kind, ranks_by_row, seed):
    make, shape, fan_in = KINDS[kind]
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    holder = Holder(make()).requires_grad_(False)
    x = torch.randn(len(ranks_by_row), *shape, generator=draw)
    rows, expected = [], []
    for row, ranks in enumerate(ranks_by_row):
        made = [(lora_of(fan_in, rank, 3.0 / rank, draw), 3.0) for rank in ranks]
        if made:
            rows.append((row, [combined([lora for (lora, _, _), _ in made])]))
        layer = make()
        layer.load_state_dict(holder.layer.state_dict())
        with torch.no_grad():
            expected.append(through_peft(layer, x[row : row + 1], [(down, up, a) for (_, down, up), a in made]))
    layers = install(holder)
    LoraRows(layers, rows).bind()
    torch.testing.assert_close(holder(x), torch.cat(expected), atol=1e-4, rtol=1e-5)
    LoraRows(layers, ()).bind()
    with torch.no_grad():
        torch.testing.assert_close(holder(x), through_peft(layer_like(holder.layer, make), x, []), atol=0, rtol=0)


def layer_like(bank, make):
    layer = make()
    layer.load_state_dict(bank.state_dict())
    return layer


def test_the_weights_are_shared_not_copied():
    base = nn.Linear(3, 4)
    holder = Holder(base)
    install(holder)
    assert holder.layer.weight is base.weight
    assert holder.layer.bias is base.bias


@pytest.mark.parametrize(("rank", "bucket"), [(1, 8), (8, 8), (9, 16), (64, 64), (129, 256), (256, 256)])
def test_a_rank_goes_to_the_smallest_bucket_that_holds_it(rank, bucket):
    assert rank_bucket(rank) == bucket


def test_a_rank_beyond_the_largest_bucket_is_refused():
    with pytest.raises(ValueError, match="257"):
        rank_bucket(257)
