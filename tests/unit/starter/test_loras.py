"""A LoRA begins where the base's drawings are, in the style's own axes."""

import torch

from libs.starter.export import WEIGHTS
from libs.starter.loras import load_base, rotation, turn_ends, with_lora


def random_rotation() -> torch.Tensor:
    turn, _ = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))
    return turn


def test_the_rotation_between_two_sets_is_found() -> None:
    turn = random_rotation()
    base = torch.randn(40, 16, 8, 8, generator=torch.Generator().manual_seed(2))
    style = torch.einsum("ji,nihw->njhw", turn, base)
    assert torch.allclose(rotation(base, style), turn, atol=1e-4)


def test_turned_ends_draw_the_same_in_turned_latents() -> None:
    turn = random_rotation()
    model = load_base(WEIGHTS / "base")
    noisy = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    step, words = torch.tensor([700]), torch.zeros(1, 32, dtype=torch.int64)
    with torch.no_grad():
        before = model(noisy, step, words)
        turn_ends(with_lora(model, rank=96), turn)  # the rank that cuts nothing off
        after = model(torch.einsum("ji,nihw->njhw", turn, noisy), step, words)
    bias = model.denoiser.conv_out.base_layer.bias.detach()[:, None, None]  # a LoRA leaves it
    wanted = torch.einsum("ji,nihw->njhw", turn, before - bias) + bias
    assert torch.allclose(after, wanted, atol=1e-3)
