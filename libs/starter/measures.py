"""What is measured of the shipped model, and what must hold; no clock but for the speed lines."""

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import upscaler
from .autoencoder import decode, encode, to_pixels
from .captions import color_phrase
from .dataset import base_pixels, colorable, has_style, pictures_of, style_pixels
from .export import MANIFEST, load_pipeline, load_upscaler, shipped_bytes
from .features import distances, features
from .looks import Looks, disturbed
from .loras import STYLE_LORAS, Style
from .pictures import TRAINED_PX, Picture, Pixels, rendered, shrink
from .variations import COLORS, hue_histogram

STEPS, STRONG_GUIDANCE = 20, 7.5
GUIDANCE = float(str(MANIFEST["default_guidance"]))
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
ADAPTER_PROMPTS, PATH_PROMPTS, STRONG_PROMPTS, ZERO_PROMPTS = 50, 20, 12, 5


@dataclass(frozen=True)
class Line:
    """One figure; `must` and `aim` are lower bounds unless `most` says that they are upper."""

    name: str
    value: float
    unit: str
    must: float | None = None
    aim: float | None = None
    most: bool = False

    def as_json(self) -> dict[str, object]:
        """The line as it is printed."""
        good = self.must is None or (self.value <= self.must if self.most else self.value >= self.must)
        return {
            "name": f"starter.{self.name}",
            "value": round(self.value, 4),
            "unit": self.unit,
            "must": self.must,
            "aim": self.aim,
            "holds": good,
        }


@dataclass
class Studio:
    """The shipped pipeline and the reference pictures, loaded when first asked for."""

    work: Path
    weights: Path
    sheets: dict[str, tuple[Pixels, int]] = field(default_factory=dict)
    plain: dict[tuple[str, ...], Pixels] = field(default_factory=dict)

    @cached_property
    def pictures(self) -> list[Picture]:
        """The picture set."""
        return pictures_of(self.work)

    @cached_property
    def references(self) -> Pixels:
        """(pictures, 64, 64, 3)."""
        return base_pixels(self.work, self.pictures)[:, 0]

    @cached_property
    def reference_features(self) -> np.ndarray:
        """(pictures, 288)."""
        return features(self.references)

    @cached_property
    def pipeline(self) -> Any:
        """The stock pipeline with the shipped base."""
        return load_pipeline(self.weights / "base")

    def draw(
        self,
        prompts: list[str],
        negative: list[str] | None = None,
        guidance: float = GUIDANCE,
        batch: int = 25,
    ) -> Pixels:
        """Draws each prompt with its own fixed seed: (prompts, 64, 64, 3)."""
        parts = []
        for start in range(0, len(prompts), batch):
            rows = range(start, min(start + batch, len(prompts)))
            images = self.pipeline(
                [prompts[row] for row in rows],
                negative_prompt=[negative[row] for row in rows] if negative else None,
                num_inference_steps=STEPS,
                guidance_scale=guidance,
                width=TRAINED_PX,
                height=TRAINED_PX,
                generator=[torch.Generator().manual_seed(1000 + row) for row in rows],
                output_type="pt",
            ).images
            parts.append(to_pixels(images * 2 - 1))
        return np.concatenate(parts)

    def draw_plain(self, prompts: list[str]) -> Pixels:
        """Draws with the base alone, once for the same prompts."""
        key = tuple(prompts)
        if key not in self.plain:
            self.plain[key] = self.draw(prompts)
        return self.plain[key]

    def some(self, count: int, seed: int) -> list[int]:
        """Rows of pictures chosen at random."""
        return random.Random(seed).sample(range(len(self.pictures)), count)


def retrieval(studio: Studio) -> list[Line]:
    """Is the drawing nearest to the picture its prompt names, among all pictures?"""
    rows = studio.some(200, seed=11)
    lines = []
    plain, sentence = "{}", "a photo of a {} on a table"
    forms = {
        "": (plain, GUIDANCE),
        "_sentence": (sentence, GUIDANCE),
        f"_guidance_{STRONG_GUIDANCE}": (plain, STRONG_GUIDANCE),
    }
    for suffix, (form, guidance) in forms.items():
        drawn = studio.draw([form.format(studio.pictures[row].name) for row in rows], guidance=guidance)
        away = distances(features(drawn), studio.reference_features)
        rank = np.array([(away[i] < away[i, row]).sum() for i, row in enumerate(rows)])
        must = (0.60, 0.80) if form == plain else (None, None)
        lines += [
            Line(f"retrieval_top1{suffix}", float((rank < 1).mean()), "ratio", must[0], 0.9),
            Line(f"retrieval_top5{suffix}", float((rank < 5).mean()), "ratio", must[1], 0.95),
            Line(f"retrieval_median_rank{suffix}", float(np.median(rank)), "rank", most=True),
        ]
        pairs = np.stack([studio.references[rows], drawn], 1).reshape(-1, *drawn.shape[1:])
        studio.sheets[f"retrieval{suffix}"] = (pairs, 20)
    return lines


def named_color(pixels: Pixels) -> str | None:
    """The colour word whose hue is nearest to the dominant hue of one picture."""
    histogram = hue_histogram(pixels)
    if histogram.sum() == 0:
        return None
    smooth = histogram + 0.5 * (np.roll(histogram, 1) + np.roll(histogram, -1))
    hue = float(np.argmax(smooth)) * 10 + 5
    return min(COLORS, key=lambda c: abs((hue - COLORS[c][0] + 180) % 360 - 180))


def color(studio: Studio) -> list[Line]:
    """Has "<colour> <thing>" the colour named as its dominant hue?"""
    rng = random.Random(12)
    allowed = colorable(studio.pictures)
    colors = list(COLORS)
    asked: list[tuple[int, str]] = []
    while len(asked) < 60:
        row, column = rng.randrange(len(studio.pictures)), rng.randrange(len(colors))
        if allowed[row, column]:
            asked.append((row, colors[column]))
    drawn = studio.draw([color_phrase(studio.pictures[row].name, c) for row, c in asked])
    studio.sheets["colors"] = (drawn, 12)
    right = [named_color(p) == c for p, (_, c) in zip(drawn, asked, strict=True)]
    return [Line("color_accuracy", float(np.mean(right)), "ratio", 0.7, 0.9)]


def adapter(studio: Studio, style: Style, path: Path) -> list[Line]:
    """How one LoRA leads from the base to its style as its weight grows."""
    present = np.flatnonzero(has_style(studio.pictures, style.slug))
    goal = style_pixels(studio.work, studio.pictures, style.slug)[present]
    looks = Looks.of(studio.pipeline.vae, goal, studio.references[present])
    place = {int(row): at for at, row in enumerate(present)}
    asked = [row for row in studio.some(200, seed=13) if row in place][:ADAPTER_PROMPTS]
    prompts, rows = [studio.pictures[row].name for row in asked], [place[row] for row in asked]
    base = studio.draw_plain(prompts)
    studio.pipeline.load_lora_weights(path, adapter_name="style")

    unet = studio.pipeline.unet
    studio.pipeline.set_adapters(["style"], [0.0])
    zero = studio.draw(prompts[:ZERO_PROMPTS])
    own = {name: tensor.clone() for name, tensor in unet.state_dict().items()}

    def at(weight: float, count: int, guidance: float = GUIDANCE) -> Pixels:
        studio.pipeline.set_adapters(["style"], [1.0])
        studio.pipeline.fuse_lora(lora_scale=weight, adapter_names=["style"])  # drawn sooner than beside the base
        drawn = studio.draw(prompts[:count], guidance=guidance)
        studio.pipeline.unfuse_lora()
        unet.load_state_dict(own)
        return drawn

    def nearer(drawn: Pixels) -> float:
        to_style, to_base = looks.away(drawn, rows[: len(drawn)])
        return float((to_style < to_base).mean())

    between = [at(weight, PATH_PROMPTS) for weight in WEIGHTS[1:-1]]
    full = at(1.0, ADAPTER_PROMPTS)
    strong = at(1.0, STRONG_PROMPTS, STRONG_GUIDANCE)
    studio.pipeline.unload_lora_weights()
    untouched = studio.draw(prompts[:ZERO_PROMPTS])

    way = [base[:PATH_PROMPTS], *between, full[:PATH_PROMPTS]]
    away = [float(looks.away(drawn, rows[:PATH_PROMPTS])[0].mean()) for drawn in way]
    falls = all(after < before for before, after in pairwise(away))
    strip = [drawn[:12] for drawn in (*way, goal[rows])]
    studio.sheets[f"lora-{style.slug}"] = (np.concatenate(strip), 12)
    name = f"lora.{style.slug}"
    told = _told_apart(studio, looks, goal[rows], studio.references[asked], rows)
    return [
        *(Line(f"{name}.distance_at_{w}", d, "look", most=True) for w, d in zip(WEIGHTS, away, strict=True)),
        Line(f"{name}.falls_monotonically", float(falls), "bool", 1.0),
        Line(f"{name}.weight_0_is_base", float(np.array_equal(zero, untouched)), "bool", 1.0),
        Line(f"{name}.nearer_to_style", nearer(full), "ratio", 0.9, 1.0),
        Line(f"{name}.nearer_to_style_guidance_{STRONG_GUIDANCE}", nearer(strong), "ratio"),
        Line(f"{name}.base_nearer_to_style", nearer(base), "ratio", 0.1, 0.0, most=True),
        Line(f"{name}.disturbed_references_told_apart", told, "ratio", aim=0.95),
    ]


def _told_apart(studio: Studio, looks: Looks, goal: Pixels, base: Pixels, rows: list[int]) -> float:
    """How sure the measure itself is: the share of faulty reference pictures that it puts on their own side."""
    vae = studio.pipeline.vae
    to_style, to_base = looks.away(disturbed(vae, goal), rows)
    from_style, from_base = looks.away(disturbed(vae, base), rows)
    return float(np.concatenate([to_style < to_base, from_base < from_style]).mean())


def adapters(studio: Studio) -> list[Line]:
    """Does each LoRA lead from the base to its style in proportion to its weight?"""
    files = [(style, studio.weights / "loras" / f"{style.slug}.safetensors") for style in STYLE_LORAS]
    return [line for style, path in files if path.exists() for line in adapter(studio, style, path)]


def steering(studio: Studio) -> list[Line]:
    """Guidance leads away from what is drawn without a prompt, a negative prompt from what it names."""
    rows = studio.some(40, seed=14)
    names = [studio.pictures[row].name for row in rows]
    own = studio.reference_features[rows]
    blank = [""] * len(rows)
    found, away_from_blank = {}, {}
    for guidance in (1.0, STRONG_GUIDANCE):
        drawn = features(studio.draw(names, guidance=guidance))
        unprompted = features(studio.draw(blank, guidance=guidance))
        away = distances(drawn, studio.reference_features)
        rank = np.array([(away[i] < away[i, row]).sum() for i, row in enumerate(rows)])
        found[guidance] = float((1 / (1 + rank)).mean())
        away_from_blank[guidance] = np.linalg.norm(drawn - unprompted, axis=1)
    # Without a prompt, what another picture's name as negative prompt does is to lead away from it.
    free = features(studio.draw(blank))
    led = features(studio.draw(blank, negative=names))
    led_farther = away_from_blank[STRONG_GUIDANCE] > away_from_blank[1.0]
    farther = np.linalg.norm(led - own, axis=1) > np.linalg.norm(free - own, axis=1)
    return [
        Line("guidance_gain_in_reciprocal_rank", found[STRONG_GUIDANCE] - found[1.0], "ratio"),
        Line("guidance_leads_from_unprompted", float(led_farther.mean()), "ratio", 0.9, 1.0),
        Line("negative_leads_away", float(farther.mean()), "ratio", 0.7),
    ]


def enlargement(studio: Studio) -> list[Line]:
    """The upscaler against bicubic interpolation on the pictures it never saw."""
    model = load_upscaler(studio.weights / "base")
    real = rendered(studio.work, studio.pictures)[upscaler.held_out(len(studio.pictures))]
    made, cubic = upscaler.gain_db(model, real)
    small = studio.draw([studio.pictures[row].name for row in studio.some(12, seed=15)])
    studio.sheets["upscaled"] = (upscaler.upscale(model, small), 4)
    return [
        Line("upscaler_psnr", made, "dB"),
        Line("upscaler_gain_over_bicubic", made - cubic, "dB", 2.0, 4.0),
    ]


def decoding(studio: Studio) -> list[Line]:
    """How well the autoencoder keeps the pictures."""
    vae = studio.pipeline.vae
    made = decode(vae, encode(vae, studio.references))
    return [Line("autoencoder_psnr", upscaler.psnr(made, studio.references), "dB", aim=26.0)]


def speed(studio: Studio) -> list[Line]:
    """Seconds for one picture at the trained size, and for a 1024x1024 one."""
    model = load_upscaler(studio.weights / "base")
    small_s, large_s = [], []
    for turn in range(6):
        start = time.perf_counter()
        picture = studio.draw(["red apple"], guidance=STRONG_GUIDANCE)
        drawn = time.perf_counter()
        if turn < 3:
            upscaler.upscale(model, upscaler.upscale(model, picture))
            large_s.append(time.perf_counter() - start)
        small_s.append(drawn - start)
    return [
        Line("seconds_64px_20_steps", statistics.median(small_s[1:]), "s", 1.0, 0.5, most=True),
        Line("seconds_1024px", statistics.median(large_s), "s", 20.0, 5.0, most=True),
        Line("shipped_megabytes", shipped_bytes(studio.weights) / 1e6, "MB", 64.0, most=True),
    ]


SHOWN = ("a red apple", "dog face", "sunflower", "a rocket", "cat face", "strawberry", "pizza", "blue butterfly")
SHOWN_STYLES = ("pixel-art", "pencil-sketch", "neon")


def showcase(studio: Studio) -> list[Line]:
    """The picture of the README: some prompts, by the base and in some styles; measures nothing."""
    rows = [studio.draw(list(SHOWN))]
    for slug in SHOWN_STYLES:
        studio.pipeline.load_lora_weights(studio.weights / "loras" / f"{slug}.safetensors", adapter_name="style")
        rows.append(studio.draw(list(SHOWN)))
        studio.pipeline.unload_lora_weights()
    enlarged = upscaler.upscale(load_upscaler(studio.weights / "base"), np.concatenate(rows))
    studio.sheets["pictures"] = (shrink(enlarged, 128), len(SHOWN))
    return []


MEASURES: dict[str, Callable[[Studio], list[Line]]] = {
    "retrieval": retrieval,
    "color": color,
    "adapters": adapters,
    "steering": steering,
    "enlargement": enlargement,
    "decoding": decoding,
    "speed": speed,
    "showcase": showcase,
}

__all__ = ["MEASURES", "Line", "Studio", "named_color"]
