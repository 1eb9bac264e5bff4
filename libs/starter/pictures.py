"""The picture set: fetches the three npm packages, chooses pictures, renders them.

Owns what a picture is called and how it looks unchanged; `variations` recolours and moves
pictures, `captions` writes sentences about them.
"""

import io
import json
import re
import subprocess
import tarfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

PACKAGES = {
    "noto": "@iconify-json/noto@1.2.9",
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",
    "emojibase": "emojibase-data@17.0.0",
}
RENDERED_PX = 256
TRAINED_PX = 64

SMILEYS, PEOPLE, ANIMALS, FOOD, PLACES, PLAY, THINGS, SYMBOLS = 0, 1, 3, 4, 5, 6, 7, 8
WHOLE_GROUPS = {SMILEYS, ANIMALS, FOOD, PLACES, PLAY, THINGS}
EXTRA_SUBGROUPS = {"body-parts", "person-fantasy", "hand-prop", "religion"}
EXTRA_SLUGS = {
    "thumbs-up",
    "thumbs-down",
    "raised-fist",
    "waving-hand",
    "vulcan-salute",
    "ok-hand",
    "victory-hand",
    "handshake",
    "sign-of-the-horns",
    "folded-hands",
    "heart-hands",
    "baby",
    "boy",
    "girl",
    "man",
    "woman",
    "old-man",
    "old-woman",
    "man-beard",
    "astronaut",
    "police-officer",
    "firefighter",
    "artist",
    "cook",
    "farmer",
    "detective",
    "guard",
    "ninja",
    "princess",
    "prince",
    "construction-worker",
    "scientist",
    "judge",
    "ballet-dancer",
    "footprints",
    "fingerprint",
    "medical-symbol",
    "recycling-symbol",
    "fleur-de-lis",
    "trident-emblem",
    "check-mark",
    "cross-mark",
    "infinity",
    "plus",
    "warning",
    "no-entry",
    "prohibited",
    "radioactive",
    "biohazard",
    "heavy-dollar-sign",
    "red-question-mark",
    "red-exclamation-mark",
    "red-circle",
    "orange-circle",
    "yellow-circle",
    "green-circle",
    "blue-circle",
    "purple-circle",
    "brown-circle",
    "black-circle",
    "red-square",
    "orange-square",
    "yellow-square",
    "green-square",
    "blue-square",
    "purple-square",
}
LEFT_OUT = re.compile(r"oclock|thirty$|^(?:wo)?man-(?!beard)|^white-(?:large|medium|small)")
NOT_NAMES = {
    "red",
    "orange",
    "yellow",
    "green",
    "cyan",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
    "table",
    "garden",
    "room",
    "floor",
    "desk",
    "night",
    "morning",
    "park",
    "kitchen",
    "street",
    "wall",
    "snow",
    "grass",
    "plate",
    "forest",
    "light",
    "background",
    "small",
    "tiny",
    "left",
    "right",
    "mirrored",
    "flipped",
    "simple",
    "clean",
    "nothing",
    "pass",
    "cute",
    "beautiful",
    "nice",
    "picture",
    "photo",
}


@dataclass(frozen=True)
class Picture:
    """One drawing of the set: its slug, plain name, further unambiguous names, and SVG body."""

    slug: str
    name: str
    names: tuple[str, ...]
    body: str
    fluent_body: str | None


def fetch(work: Path) -> None:
    """Downloads and unpacks the packages into `work`/npm with the ordinary npm client, once."""
    for folder, package in PACKAGES.items():
        target = work / "npm" / folder
        if target.exists():
            continue
        (work / "npm").mkdir(parents=True, exist_ok=True)
        out = subprocess.run(
            ["npm", "pack", "--silent", package],
            cwd=work / "npm",
            check=True,
            capture_output=True,
            text=True,
        )
        with tarfile.open(work / "npm" / out.stdout.strip().splitlines()[-1]) as archive:
            archive.extractall(target, filter="data")


def slugify(label: str) -> str:
    """The icon name that a label has in the icon sets."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"['.]", "", plain.replace("&", "and"))
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def choose(work: Path) -> list[Picture]:
    """The pictures of the set in a fixed order: about 1,150, each with names no other one has."""
    noto = json.loads((work / "npm/noto/package/icons.json").read_text())
    fluent = json.loads((work / "npm/fluent/package/icons.json").read_text())
    emoji = json.loads((work / "npm/emojibase/package/en/data.json").read_text())
    messages = json.loads((work / "npm/emojibase/package/en/messages.json").read_text())
    subgroup = {entry["order"]: entry["key"] for entry in messages["subgroups"]}

    chosen: dict[str, dict[str, Any]] = {}
    for entry in emoji:
        slug = slugify(entry["label"])
        wanted = (
            entry.get("group") in WHOLE_GROUPS
            or subgroup.get(entry.get("subgroup", -1)) in EXTRA_SUBGROUPS
            or slug in EXTRA_SLUGS
        )
        left_out = LEFT_OUT.search(slug) and slug not in EXTRA_SLUGS
        if slug in noto["icons"] and wanted and not left_out:
            chosen[slug] = entry

    names: dict[str, list[str]] = {slug: [slug.replace("-", " ")] for slug in chosen}
    for alias, target in noto["aliases"].items():
        if target["parent"] in names and "tone" not in alias:
            names[target["parent"]].append(alias.replace("-", " "))
    for slug, entry in chosen.items():
        tags = entry.get("tags", [])
        names[slug].extend(tag.lower() for tag in tags if re.fullmatch(r"[a-zA-Z ]{4,}", tag))
    plain = {known[0] for known in names.values()} | NOT_NAMES
    uses: dict[str, int] = {}
    for known in names.values():
        for name in set(known):
            uses[name] = uses.get(name, 0) + 1

    def own(slug: str) -> tuple[str, ...]:
        first, *others = names[slug]
        clear = dict.fromkeys(n for n in others if uses[n] == 1 and n not in plain)
        return (first, *clear)

    return [
        Picture(
            slug=slug,
            name=names[slug][0],
            names=own(slug),
            body=noto["icons"][slug]["body"],
            fluent_body=(fluent["icons"].get(slug) or {}).get("body"),
        )
        for slug in sorted(chosen)
    ]


def render(body: str, view_px: int, side_px: int) -> Pixels:
    """Draws an SVG body on white: (side_px, side_px, 3)."""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {view_px} {view_px}">{body}</svg>'
    )
    data = resvg_py.svg_to_bytes(svg_string=svg, width=side_px, height=side_px)
    drawn = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    ground = Image.new("RGBA", drawn.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(ground, drawn).convert("RGB"))


def rendered(work: Path, pictures: list[Picture], style: str = "noto") -> Pixels:
    """All pictures at 256 px, cached: (pictures, 256, 256, 3); those without a body are white."""
    path = work / f"{style}-{RENDERED_PX}.npy"
    if not path.exists():
        view_px = 128 if style == "noto" else 32
        bodies = [p.body if style == "noto" else p.fluent_body for p in pictures]
        white = np.full((RENDERED_PX, RENDERED_PX, 3), 255, np.uint8)
        np.save(path, np.stack([render(b, view_px, RENDERED_PX) if b else white for b in bodies]))
    return np.asarray(np.load(path))


def shrink(pixels: Pixels, side_px: int = TRAINED_PX) -> Pixels:
    """Averages square blocks: (batch, big, big, 3) to (batch, side_px, side_px, 3)."""
    batch, big, _, channels = pixels.shape
    step = big // side_px
    blocks = pixels.reshape(batch, side_px, step, side_px, step, channels).astype(np.float32)
    return np.asarray(blocks.mean((2, 4)).round().astype(np.uint8))
