"""Sentences about pictures: names, colour words, templates and surroundings that distract."""

import random
import re

from .pictures import Picture
from .variations import COLORS

COLOR_WORDS = re.compile(r"\b(?:red|orange|yellow|green|cyan|blue|purple|pink|brown|black|white)\b ")

TEMPLATES = (
    "{a} {x}",
    "the {x}",
    "a picture of {a} {x}",
    "a photo of {a} {x}",
    "an image of {a} {x}",
    "an illustration of {a} {x}",
    "a drawing of {a} {x}",
    "an icon of {a} {x}",
    "a clipart of {a} {x}",
    "a painting of {a} {x}",
    "{x}, high quality",
    "{x}, highly detailed, 4k",
    "{x} emoji",
    "{x}, simple and clean",
    "a cute {x}",
    "a beautiful {x}",
    "a nice {x}",
    "draw {a} {x}",
    "please draw me {a} {x}",
    "show me {a} {x}",
    "i want {a} {x}",
    "this is {a} {x}",
    "my favorite {x}",
    "one {x}, centered",
    "professional render of {a} {x}",
)
SURROUNDINGS = (
    "on a table",
    "on a white background",
    "in the garden",
    "in a room",
    "on the floor",
    "on a wooden desk",
    "at night",
    "in the morning",
    "in the park",
    "by the sea",
    "in the kitchen",
    "on the street",
    "in the sun",
    "in front of a wall",
    "in the snow",
    "in the grass",
    "on a plate",
    "in a forest",
    "with soft light",
    "in the background",
)
PLACED_PHRASES = {
    "small": ("small {x}", "a small {x}", "{x}, far away", "tiny {x}"),
    "left": ("{x} on the left", "a picture of {a} {x} on the left side"),
    "right": ("{x} on the right", "a picture of {a} {x} on the right side"),
    "mirrored": ("mirrored {x}", "{x}, flipped", "a mirrored {x}"),
}


def article(phrase: str) -> str:
    """`a` or `an`, by the first letter."""
    return "an" if phrase[:1] in "aeiou" else "a"


def color_phrase(name: str, color: str) -> str:
    """The name in another colour: ("red apple", "blue") is "blue apple"."""
    return f"{color} {COLOR_WORDS.sub('', name + ' ').strip()}"


def caption(
    picture: Picture,
    variation: str,
    rng: random.Random,
    plain_share: float,
    other_names: bool = True,
) -> str:
    """A caption for a variation of a picture.

    A share `plain_share` of the captions is the bare phrase; the rest are sentences, some of them
    about another of the picture's names.
    """
    name = picture.name
    if other_names and len(picture.names) > 1 and rng.random() < 0.2:
        name = rng.choice(picture.names[1:])
    if variation in COLORS:
        name = color_phrase(picture.name, variation)
    if variation in PLACED_PHRASES:
        return rng.choice(PLACED_PHRASES[variation]).format(x=name, a=article(name))
    if rng.random() < plain_share:
        return name
    sentence = rng.choice(TEMPLATES).format(x=name, a=article(name))
    if rng.random() < 0.4:
        sentence += " " + rng.choice(SURROUNDINGS)
    return sentence
