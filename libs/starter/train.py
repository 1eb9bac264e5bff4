"""Runs the training recipe: `python -m libs.starter.train [stage …]`, resumable at every stage.

The work folder (data, caches, checkpoints, logs) is `IMAGINEO_STARTER_WORK`, else `.imagineo/starter`.
"""

import argparse
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from . import autoencoder, curve, denoiser, loras, upscaler
from .dataset import pictures_of
from .export import WEIGHTS, export_base, write_lora_list
from .parallel import Plan, train, trainable
from .text import tokenizer_of

STAGES = ("autoencoder", "latents", "denoiser", "upscaler", "export", "loras")


@dataclass(frozen=True)
class Recipe:
    """One run of the recipe: where it works, and for how many steps where not as planned."""

    work: Path
    steps: int | None = None
    decay_steps: int | None = None

    def planned(self, plan: Plan) -> Plan:
        """The stage's plan with the steps asked for."""
        if self.steps is not None:
            plan = replace(plan, steps=self.steps, decay_steps=self.steps // 4)
        if self.decay_steps is not None:
            plan = replace(plan, decay_steps=self.decay_steps)
        return plan

    def autoencoder(self) -> None:
        """Pictures to latents and back."""
        train(autoencoder.BuildAutoencoder(self.work), self.planned(autoencoder.PLAN), self.work / "autoencoder.pt")

    def latents(self) -> None:
        """Every variation encoded, once."""
        if not (self.work / "latents.pt").exists():
            autoencoder.make_latents(self.work)

    def denoiser(self) -> None:
        """Words and noise to latents."""
        tokenizer_of(self.work, pictures_of(self.work))
        train(denoiser.BuildDenoiser(self.work), self.planned(denoiser.PLAN), self.work / "denoiser.pt")

    def upscaler(self) -> None:
        """Small pictures to large ones."""
        train(upscaler.BuildUpscaler(self.work), self.planned(upscaler.PLAN), self.work / "upscaler.pt")

    def export(self) -> None:
        """The base and the training curves, into the weights."""
        export_base(self.work)
        curve.draw(self.work, WEIGHTS / "training.png")

    def loras(self) -> None:
        """Every LoRA, on the exported base; one that belongs to an older base is trained anew."""
        base = WEIGHTS / "base"
        made_s = (base / "unet/diffusion_pytorch_model.safetensors").stat().st_mtime
        for style in loras.STYLE_LORAS:
            path = self.work / f"lora-{style.slug}.pt"
            if path.exists() and path.stat().st_mtime < made_s:
                path.unlink()
            plan = replace(loras.PLAN, steps=style.steps, decay_steps=style.steps // 2)
            train(
                loras.BuildLora(self.work, base, style.slug, rank=style.rank, between=style.between),
                self.planned(plan),
                path,
            )
            fresh = WEIGHTS / "loras" / f".{style.slug}.part.safetensors"
            loras.save_lora(base, path, style, fresh)
            fresh.replace(WEIGHTS / "loras" / f"{style.slug}.safetensors")
            write_lora_list()


def start_from_weights(work: Path) -> None:
    """Makes first checkpoints of the shipped weights, where the work folder has none."""
    path = work / "denoiser.pt"
    if path.exists():
        return
    model = loras.load_base(WEIGHTS / "base").requires_grad_(requires_grad=True)
    params = torch.cat([p.detach().flatten() for p in trainable(model)])
    zeros = torch.zeros_like(params)
    torch.save({"params": params, "ema": params, "first": zeros, "second": zeros, "step": 0}, path)
    shutil.copytree(WEIGHTS / "base/vae", work / "vae", dirs_exist_ok=True)
    shutil.copytree(WEIGHTS / "base/tokenizer", work / "tokenizer", dirs_exist_ok=True)
    if not (work / "latents.pt").exists():
        autoencoder.encode_all(work)


def main() -> None:
    """Runs the stages named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", help=f"default: all, in order: {', '.join(STAGES)}")
    parser.add_argument("--steps", type=int, help="train the named stages up to this step")
    parser.add_argument("--decay-steps", type=int, help="let the rate fall over the last steps; default: a quarter")
    parser.add_argument("--from-weights", action="store_true", help="begin with the shipped weights")
    arguments = parser.parse_args()
    unknown = set(arguments.stages) - set(STAGES)
    if unknown:
        parser.error(f"no such stage: {', '.join(sorted(unknown))}")
    work = Path(os.environ.get("IMAGINEO_STARTER_WORK", ".imagineo/starter")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    if arguments.from_weights:
        start_from_weights(work)
    recipe = Recipe(work, arguments.steps, arguments.decay_steps)
    for stage in arguments.stages or STAGES:
        getattr(recipe, stage)()


if __name__ == "__main__":
    main()
