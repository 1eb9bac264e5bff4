"""A folder of the starter with sixteen LoRAs, the requests for it, and clients that wait for pictures."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

LORAS = 16
REQUESTS = 32
CLIENTS = 16
STARTER = Path("libs/starter/weights")

Ask = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Served:
    """What came of a round."""

    images_per_s: float
    p95_ms: float


def weights(folder: Path) -> Path:
    """Write the folder in the starter's own form: its base, and LoRAs of rank 8 on every attention projection."""
    shutil.copytree(STARTER / "base", folder / "base")
    (folder / "loras").mkdir()
    with safe_open(next((folder / "base" / "unet").glob("*.safetensors")), "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - not a mapping
    listed = []
    for number in range(LORAS):
        draw = torch.Generator().manual_seed(number)
        tensors = {}
        for name, shape in shapes.items():
            stem = name.removesuffix(".weight")
            if stem.endswith((".to_q", ".to_k", ".to_v", ".to_out.0")) and name.endswith(".weight"):
                tensors[f"unet.{stem}.lora_A.weight"] = torch.randn(8, shape[1], generator=draw) * 0.05
                tensors[f"unet.{stem}.lora_B.weight"] = torch.randn(shape[0], 8, generator=draw) * 0.05
        save_file(tensors, folder / "loras" / f"l{number:02}.safetensors")
        listed.append({"slug": f"l{number:02}", "file": f"l{number:02}.safetensors", "name": f"l{number:02}"})
    (folder / "loras" / "loras.json").write_text(json.dumps(listed))
    return folder


def requests(seed: int) -> list[dict[str, Any]]:
    """Mixed traffic with Pareto popularity."""
    draw = random.Random(seed)  # noqa: S311 - it makes up requests
    return [
        {
            "prompt": f"a red apple {seed} {number}",
            "lora": f"l{min(LORAS - 1, int(draw.paretovariate(1.2)) - 1):02}",
            "weight": round(draw.uniform(0.2, 1.2), 3),
            "guidance": draw.choice([1.0, 4.0, 7.5, 9.0]),
            "steps": draw.choice([10, 15, 20]),
            "side_px": 64,
            "seed": number,
        }
        for number in range(REQUESTS)
    ]


async def serve(asked: list[dict[str, Any]], ask: Ask) -> Served:
    """Clients that each send the next request when their picture is there."""
    turns, seconds = iter(asked), []

    async def client() -> None:
        for request in turns:
            started_s = time.perf_counter()
            await ask(request)
            seconds.append(time.perf_counter() - started_s)

    started_s = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    elapsed_s = time.perf_counter() - started_s
    seconds.sort()
    return Served(len(asked) / elapsed_s, seconds[int(len(seconds) * 0.95)] * 1000)
