"""The feature space tells colours and outlines apart."""

import numpy as np

from libs.starter.features import distances, features, lab


def test_white_and_black_have_their_lightness() -> None:
    ends = lab(np.array([[255, 255, 255], [0, 0, 0]], np.uint8))
    assert np.allclose(ends, [[100, 0, 0], [0, 0, 0]], atol=0.2)


def test_a_picture_is_nearest_to_itself() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3)).astype(np.uint8)
    away = distances(features(pictures), features(pictures))
    assert (away.argmin(1) == np.arange(6)).all()


def test_stripes_of_two_directions_differ() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::4] = 255
    both = np.stack([stripes, stripes.transpose(1, 0, 2)])
    rows = features(both)
    assert distances(rows, rows)[0, 1] > 1
