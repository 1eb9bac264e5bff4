"""Layers that add LoRAs row by row: each row of a batch carries its own adapters, ranks and weights.

y = W x + b + sum over k of weight_k * scale_k * B_k (A_k x). Rows that share a layout stand side by side in the batch,
so a layer needs one pair of batched products for them and nothing at all for the others. Which rows carry what is
bound from outside, by `LoraRows`; changing it moves no module and recompiles nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Ranks are padded with zeros to one of these, so that adapters of near ranks share a layout.
RANK_BUCKETS: Final = (8, 16, 32, 64, 128, 256)


def rank_bucket(rank: int) -> int:
    """The bucket that holds a rank.

    Raises:
        ValueError: if it is beyond the largest.
    """
    for bucket in RANK_BUCKETS:
        if rank <= bucket:
            return bucket
    raise ValueError(f"a rank of {rank} is beyond the largest bucket, {RANK_BUCKETS[-1]}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one layer's matrices lie: down is (rank, fan_in), up is (rank, outputs), both row by row."""

    module: str
    rank: int
    fan_in: int
    outputs: int


@dataclass(frozen=True)
class Layout:
    """Which layers an adapter has, with their padded ranks, in the order of its flat tensors."""

    places: tuple[Place, ...]

    @cached_property
    def down_size(self) -> int:
        """Numbers in the flat tensor of all down matrices."""
        return sum(place.rank * place.fan_in for place in self.places)

    @cached_property
    def up_size(self) -> int:
        """Numbers in the flat tensor of all up matrices."""
        return sum(place.rank * place.outputs for place in self.places)

    def downs(self, flat: Tensor) -> list[Tensor]:
        """The down matrices inside (rows, down_size): a view (rows, rank, fan_in) for each place."""
        return self._views(flat, [place.fan_in for place in self.places])

    def ups(self, flat: Tensor) -> list[Tensor]:
        """The up matrices inside (rows, up_size): a view (rows, rank, outputs) for each place."""
        return self._views(flat, [place.outputs for place in self.places])

    def _views(self, flat: Tensor, widths: Sequence[int]) -> list[Tensor]:
        sizes = [place.rank * width for place, width in zip(self.places, widths, strict=True)]
        return [
            part.view(part.shape[0], place.rank, width)
            for part, place, width in zip(torch.split(flat, sizes, dim=1), self.places, widths, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class RowLora:
    """What one run adds to its rows: flat matrices (down_size,) and (up_size,), the file's scale in the ups."""

    layout: Layout
    down: Tensor
    up: Tensor
    weight: float = 1.0
    keep: object = None
    """What must live as long as the matrices are read."""
    name: object = None
    """Which files at which weights: equal where the matrices are."""


class Slice:
    """A layer's operands for the rows `start` to `stop`: down (rows, …), up (rows, rank, outputs)."""

    __slots__ = ("down", "rows", "start", "stop", "up")

    def __init__(self, start: int, stop: int, down: Tensor, up: Tensor) -> None:
        self.start = start
        self.stop = stop
        self.rows = stop - start
        self.down = down
        self.up = up


class BankLayer(Protocol):
    """What both kinds of layer offer to `LoraRows` and `FusedWeights`."""

    weight: Tensor
    slices: tuple[Slice, ...]
    fused: Tensor | None
    """What is computed with in place of the weight; the weight itself is never written to."""

    def operands(self, start: int, down: Tensor, up: Tensor) -> Slice:
        """Bring (rows, rank, fan_in) and (rows, rank, outputs) to the form that the layer computes with."""


class BankLinear(nn.Linear):
    """A linear layer whose rows carry LoRAs. Shares the weights of the layer that it replaces."""

    slices: tuple[Slice, ...]
    fused: Tensor | None

    def __init__(self, base: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.slices, self.fused = (), None

    def operands(self, start: int, down: Tensor, up: Tensor) -> Slice:
        """Down becomes (rows, fan_in, rank)."""
        return Slice(start, start + down.shape[0], down.transpose(1, 2), up)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, …, in_features) to (rows, …, out_features)."""
        y = functional.linear(x, self.weight if self.fused is None else self.fused, self.bias)
        for one in self.slices:
            rows, out = (x, y) if one.rows == x.shape[0] else (x[one.start : one.stop], y[one.start : one.stop])
            if x.ndim != 3:
                rows, out = rows.reshape(one.rows, -1, self.in_features), out.view(one.rows, -1, self.out_features)
            out.baddbmm_(torch.bmm(rows, one.down), one.up)
        return y


class BankConv2d(nn.Conv2d):
    """A convolution whose rows carry LoRAs. Shares the weights of the layer that it replaces."""

    slices: tuple[Slice, ...]
    fused: Tensor | None

    def __init__(self, base: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        for name in base.__constants__:
            setattr(self, name, getattr(base, name))
        self.weight, self.bias = base.weight, base.bias
        self._reversed_padding_repeated_twice = base._reversed_padding_repeated_twice  # noqa: SLF001 - our base class
        self.slices, self.fused = (), None

    def operands(self, start: int, down: Tensor, up: Tensor) -> Slice:
        """Down becomes (rows * rank, in_channels, height, width); up becomes (rows, outputs, rank)."""
        rows, rank, _ = down.shape
        kernels = down.reshape(rows * rank, self.in_channels, *self.kernel_size)
        return Slice(start, start + rows, kernels, up.transpose(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(rows, in_channels, height, width) to (rows, out_channels, …)."""
        y: Tensor = self._conv_forward(x, self.weight if self.fused is None else self.fused, self.bias)
        for one in self.slices:
            rows, out = (x, y) if one.rows == x.shape[0] else (x[one.start : one.stop], y[one.start : one.stop])
            # One group of channels for each row: every row is convolved with its own matrices.
            apart = rows.reshape(1, one.rows * self.in_channels, *x.shape[2:])
            inner = functional.conv2d(apart, one.down, None, self.stride, self.padding, self.dilation, groups=one.rows)
            flat = out.flatten(2)
            flat.baddbmm_(one.up, inner.reshape(one.rows, -1, flat.shape[2]))
            if not out.is_contiguous():  # then it was flattened into a copy
                out.copy_(flat.view_as(out))
        return y


def install(model: nn.Module) -> dict[str, BankLayer]:
    """Put bank layers in place of all plain linear layers and convolutions; gives them by module name."""
    layers: dict[str, BankLayer] = {}
    for name, module in list(model.named_modules()):
        made: BankLinear | BankConv2d
        if type(module) is nn.Linear:
            made = BankLinear(module)
        elif type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros":
            made = BankConv2d(module)
        else:
            continue
        parent, _, leaf = name.rpartition(".")
        made.train(module.training)
        setattr(model.get_submodule(parent), leaf, made)
        layers[name] = made
    return layers


class BoundRows(Protocol):
    """The LoRAs of one batch's rows."""

    def bind(self) -> None:
        """Let the layers compute with these rows from now on."""


class LoraRows:
    """The LoRAs of one batch's rows, in the form that the layers compute with; `bind` makes them the current ones."""

    def __init__(self, layers: Mapping[str, BankLayer], groups: Sequence[tuple[int, Sequence[RowLora]]]) -> None:
        """Each group is its first row and the LoRAs of its rows, all of one layout."""
        self._layers = layers
        self._keep = [lora.keep for _, loras in groups for lora in loras]
        slices: dict[str, list[Slice]] = {}
        for start, loras in groups:
            layout = loras[0].layout
            downs = layout.downs(_stacked([one.down for one in loras]))
            ups = layout.ups(weighted(loras))
            for place, down, up in zip(layout.places, downs, ups, strict=True):
                slices.setdefault(place.module, []).append(layers[place.module].operands(start, down, up))
        self._slices = {module: tuple(found) for module, found in slices.items()}

    def bind(self) -> None:
        """Let the layers compute with these rows from now on."""
        for name, layer in self._layers.items():
            layer.slices = self._slices.get(name, ())


def _stacked(flats: Sequence[Tensor]) -> Tensor:
    return flats[0][None] if len(flats) == 1 else torch.stack(tuple(flats))


def weighted(loras: Sequence[RowLora]) -> Tensor:
    """(rows, up_size): each row's ups by its weight."""
    if len(loras) == 1:
        return (loras[0].up * loras[0].weight)[None]
    ups = torch.stack([one.up for one in loras])
    # Weights stay in float32 where the ups are not: the products are rounded once.
    weights = torch.tensor([one.weight for one in loras], dtype=torch.float32, device=ups.device)
    return ups.mul_(weights[:, None])


def combined(loras: Sequence[RowLora]) -> RowLora:
    """Several LoRAs of one row as one: their ranks side by side, so that their products add up."""
    if len(loras) == 1:
        return loras[0]
    downs: dict[str, list[Tensor]] = {}
    ups: dict[str, list[Tensor]] = {}
    for one in loras:
        places = one.layout.places
        for place, down, up in zip(
            places, one.layout.downs(one.down[None]), one.layout.ups(weighted([one])), strict=True
        ):
            downs.setdefault(place.module, []).append(down[0])
            ups.setdefault(place.module, []).append(up[0])
    modules = sorted(downs)
    places = tuple(
        Place(
            module,
            sum(down.shape[0] for down in downs[module]),
            downs[module][0].shape[1],
            ups[module][0].shape[1],
        )
        for module in modules
    )
    down = torch.cat([matrix.reshape(-1) for module in modules for matrix in downs[module]])
    up = torch.cat([matrix.reshape(-1) for module in modules for matrix in ups[module]])
    return RowLora(Layout(places), down, up)
