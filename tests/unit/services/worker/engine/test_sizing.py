from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.engine.sizing import Size, crop_box, drawn_size, upscale_count

sides = st.integers(8, 256).map(lambda eighths: eighths * 8)


@given(sides, sides)
def test_a_direct_base_draws_at_the_size_asked(width, height):
    assert drawn_size(Size(width, height), native_px=512, upscales=False) == Size(width, height)


@given(st.integers(64, 2048), st.integers(64, 2048), st.sampled_from([64, 512, 1024]))
def test_an_upscaling_base_draws_near_its_native_area_in_multiples_of_8(width, height, native_px):
    size = drawn_size(Size(width, height), native_px=native_px, upscales=True)
    assert size.width_px % 8 == size.height_px % 8 == 0
    if 1 / 3 <= width / height <= 3:
        assert size.width_px * size.height_px == pytest.approx(native_px**2, rel=0.4)
        assert size.width_px / size.height_px == pytest.approx(width / height, rel=0.2)


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [((64, 64), (64, 64)), ((1024, 1024), (64, 64)), ((1024, 256), (128, 32)), ((256, 1024), (32, 128))],
)
def test_simple_aspects_are_met_exactly(asked, drawn):
    assert drawn_size(Size(*asked), native_px=64, upscales=True) == Size(*drawn)


@pytest.mark.parametrize(
    ("asked", "count"), [((64, 64), 0), ((65, 64), 1), ((256, 256), 1), ((257, 9), 2), ((1024, 1024), 2)]
)
def test_upscaling_goes_on_until_both_sides_reach(asked, count):
    assert upscale_count(Size(64, 64), Size(*asked), 4) == count


@given(st.integers(8, 4096), st.integers(8, 4096), st.integers(8, 4096), st.integers(8, 4096))
def test_the_box_has_the_aspect_asked_and_lies_inside(have_width, have_height, width, height):
    left, top, right, bottom = crop_box(Size(have_width, have_height), Size(width, height))
    assert (right - left) / (bottom - top) == pytest.approx(width / height)
    assert -1e-6 <= left <= right <= have_width + 1e-6
    assert -1e-6 <= top <= bottom <= have_height + 1e-6
    assert right - left == pytest.approx(have_width) or bottom - top == pytest.approx(have_height)
