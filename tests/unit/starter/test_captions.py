"""Captions name what is drawn."""

import random

import pytest

from libs.starter.captions import article, caption, color_phrase
from libs.starter.pictures import Picture
from libs.starter.variations import VARIATIONS

APPLE = Picture("red-apple", "red apple", ("red apple", "fruit apple"), "<g/>", None)


def test_a_color_word_replaces_the_one_in_the_name() -> None:
    assert color_phrase("red apple", "blue") == "blue apple"
    assert color_phrase("coffee mug", "green") == "green coffee mug"


def test_a_bare_caption_is_the_name() -> None:
    rng = random.Random(0)  # noqa: S311
    assert caption(APPLE, "plain", rng, plain_share=1.0, other_names=False) == "red apple"


@pytest.mark.parametrize("variation", VARIATIONS)
def test_every_variation_has_captions_about_the_thing(variation: str) -> None:
    rng = random.Random(1)  # noqa: S311
    for _ in range(20):
        assert "apple" in caption(APPLE, variation, rng, plain_share=0.5)


def test_articles_follow_the_first_letter() -> None:
    assert (article("apple"), article("mug")) == ("an", "a")
