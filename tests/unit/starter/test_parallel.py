"""Training in processes that share memory: it learns, and a resumed run goes on exactly."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from libs.starter.parallel import Loss, Plan, averaged, train

PLAN = Plan(steps=30, learning_rate=0.05, warmup_steps=2, log_every=10, ema=0.5)


def build() -> tuple[nn.Module, Loss]:
    """A linear map that learns to double its input."""
    model = nn.Linear(3, 3)

    def loss_of(step: int, generator: torch.Generator) -> Tensor:
        inputs = torch.randn(16, 3, generator=generator)
        return (model(inputs) - 2 * inputs).square().mean()

    return model, loss_of


def test_a_stopped_run_resumes_exactly(tmp_path: Path) -> None:
    train(build, PLAN, tmp_path / "whole.pt")
    train(build, replace(PLAN, steps=12), tmp_path / "parts.pt")
    train(build, PLAN, tmp_path / "parts.pt")
    whole, parts = (torch.load(tmp_path / f"{name}.pt") for name in ("whole", "parts"))
    assert parts["step"] == 30
    for key in ("params", "ema", "first", "second"):
        assert torch.equal(whole[key], parts[key])
    lines = [json.loads(line) for line in (tmp_path / "whole.log").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert isinstance(averaged(build()[0], tmp_path / "whole.pt"), nn.Linear)


def test_the_rate_rises_stays_and_falls() -> None:
    plan = Plan(steps=100, learning_rate=1.0, warmup_steps=10, decay_steps=20)
    assert [round(plan.rate(step), 2) for step in (0, 9, 50, 90, 99)] == [0.1, 1, 1, 0.5, 0.05]
