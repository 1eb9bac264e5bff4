"""Trains a model in single-threaded processes that share memory; owns steps and checkpoints.

Several single-threaded processes beat one OpenMP process on a busy machine. All parameters,
gradients and Adam moments lie in shared flat vectors; each process computes gradients of its own
batch, and after a barrier each updates its own slice. No wait has a deadline, so the whole group
may be stopped (SIGSTOP) for hours. What a step draws at random depends on (seed, step, rank)
alone, so a run that resumes from its checkpoint goes on exactly.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TypeVar

import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

Loss = Callable[[int, torch.Generator], Tensor]
"""(step, random generator) to the mean loss of this process's batch."""
Model = TypeVar("Model", bound=nn.Module)
Build = Callable[[], tuple[nn.Module, Loss]]


@dataclass(frozen=True)
class Plan:
    """How long and how fast one stage trains."""

    steps: int
    learning_rate: float
    warmup_steps: int = 100
    decay_steps: int = 0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 1.0
    ema: float = 0.999
    save_every_s: float = 300.0
    log_every: int = 20
    seed: int = 0
    processes: int = 2

    def rate(self, step: int) -> float:
        """Warm-up, a plateau, then a linear fall over the last `decay_steps`."""
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        fall = min(1.0, (self.steps - step) / self.decay_steps) if self.decay_steps else 1.0
        return self.learning_rate * rise * max(fall, 0.01)


@dataclass
class Shared:
    """The flat float32 vectors all processes see; `grads` has one row a process."""

    params: Tensor
    ema: Tensor
    first: Tensor
    second: Tensor
    grads: Tensor
    step: Tensor
    losses: Tensor
    norms: Tensor


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that train, in a fixed order."""
    return [p for p in model.parameters() if p.requires_grad]


def unflatten(model: nn.Module, flat: Tensor) -> None:
    """Copies a flat vector into the model's trainable parameters."""
    offset = 0
    with torch.no_grad():
        for p in trainable(model):
            p.copy_(flat[offset : offset + p.numel()].view_as(p))
            offset += p.numel()


def _bind(model: nn.Module, shared: Shared, rank: int, fresh: bool) -> None:
    """Makes parameters and gradients views of the shared vectors."""
    offset = 0
    for p in trainable(model):
        stop = offset + p.numel()
        home = shared.params[offset:stop].view(p.shape)
        if fresh and rank == 0:
            home.copy_(p.data)
        p.data = home
        p.grad = shared.grads[rank, offset:stop].view(p.shape)
        offset = stop


def _update(shared: Shared, plan: Plan, step: int, part: slice, norm: float) -> None:
    """One AdamW step on a slice of the flat vectors."""
    grad = shared.grads[:, part].mean(0)
    if norm > plan.clip_norm:
        grad.mul_(plan.clip_norm / norm)
    b1, b2 = plan.betas
    first, second, params = shared.first[part], shared.second[part], shared.params[part]
    first.lerp_(grad, 1 - b1)
    second.mul_(b2).addcmul_(grad, grad, value=1 - b2)
    rate = plan.rate(step)
    scale = math.sqrt(1 - b2 ** (step + 1))
    if plan.weight_decay:
        params.mul_(1 - rate * plan.weight_decay)
    params.addcdiv_(first, second.sqrt().div_(scale).add_(1e-8), value=-rate / (1 - b1 ** (step + 1)))
    shared.ema[part].lerp_(params, 1 - min(plan.ema, (1 + step) / (10 + step)))


def _save(shared: Shared, path: Path, plan: Plan) -> None:
    state = {k: v for k, v in vars(shared).items() if k in ("params", "ema", "first", "second")}
    fresh = path.with_suffix(".part")
    torch.save({**state, "step": int(shared.step), "plan": asdict(plan)}, fresh)
    fresh.replace(path)


def _work(rank: int, build: Build, plan: Plan, shared: Shared, barrier: Barrier, path: Path, fresh: bool) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(plan.seed)
    model, loss_of = build()
    _bind(model, shared, rank, fresh)
    barrier.wait()
    if fresh and rank == 0:
        shared.ema.copy_(shared.params)
    total = shared.params.numel()
    part = slice(total * rank // plan.processes, total * (rank + 1) // plan.processes)
    start, step = time.monotonic(), int(shared.step)
    begun, saved, mean = step, start, 0.0
    barrier.wait()
    while step < plan.steps:
        generator = torch.Generator().manual_seed((plan.seed * 1_000_003 + step) * 64 + rank)
        shared.grads[rank].zero_()
        loss = loss_of(step, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        shared.losses[rank] = loss.detach()
        barrier.wait()
        shared.norms[rank] = shared.grads[:, part].mean(0).square().sum()
        barrier.wait()
        norm = math.sqrt(float(shared.norms.sum()))
        if math.isfinite(norm):
            _update(shared, plan, step, part, norm)
        now_mean = float(shared.losses.mean())
        mean = now_mean if step == begun else 0.95 * mean + 0.05 * now_mean
        step += 1
        barrier.wait()
        if rank == 0:
            shared.step.fill_(step)
            now = time.monotonic()
            if step % plan.log_every == 0:
                line = {"step": step, "loss": round(mean, 5), "norm": round(norm, 3)}
                line |= {"s_per_step": round((now - start) / (step - begun), 4), "unix_s": int(time.time())}
                with path.with_suffix(".log").open("a") as log:
                    log.write(json.dumps(line) + "\n")
            falls = plan.decay_steps and step == plan.steps - plan.decay_steps
            if falls:
                _save(shared, path.with_suffix(".plateau.pt"), plan)
            if now - saved > plan.save_every_s or step == plan.steps:
                _save(shared, path, plan)
                saved = time.monotonic()
        barrier.wait()


def train(build: Build, plan: Plan, path: Path) -> None:
    """Trains until `plan.steps`, going on from the checkpoint at `path` when there is one.

    `build` runs in every process (it must be picklable) and gives the model and its loss.
    """
    total = sum(p.numel() for p in trainable(build()[0]))
    vectors = {k: torch.zeros(total).share_memory_() for k in ("params", "ema", "first", "second")}
    shared = Shared(
        **vectors,
        grads=torch.zeros(plan.processes, total).share_memory_(),
        step=torch.zeros((), dtype=torch.int64).share_memory_(),
        losses=torch.zeros(plan.processes).share_memory_(),
        norms=torch.zeros(plan.processes).share_memory_(),
    )
    fresh = not path.exists()
    if not fresh:
        state = torch.load(path)
        for key, vector in vectors.items():
            vector.copy_(state[key])
        shared.step.fill_(state["step"])
    context = mp.get_context("spawn")
    barrier = context.Barrier(plan.processes)
    arguments = (build, plan, shared, barrier, path, fresh)
    mp.spawn(_work, args=arguments, nprocs=plan.processes)


def averaged(model: Model, path: Path) -> Model:
    """The model with the moving average of its checkpoint."""
    unflatten(model, torch.load(path)["ema"])
    model.eval()
    return model
