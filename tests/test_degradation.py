"""MATLAB's `imresize`, held against figures that MATLAB printed and against Pillow."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from subpixel.degradation import bicubic_resize, crop_to_multiple, degrade, to_uint8

# The input of Octave's own compatibility tests and what MATLAB makes of it (image package, imresize.m).
# MATLAB's integer arithmetic is its own, so Octave allows a difference of 1, and so do we.
IMAGE = np.array(
    [
        [116, 227, 153, 69, 146, 194, 59, 130, 139, 106],
        [2, 47, 137, 249, 90, 75, 16, 24, 158, 44],
        [155, 68, 46, 84, 166, 156, 69, 204, 32, 152],
        [71, 221, 137, 230, 210, 153, 192, 115, 30, 118],
        [107, 143, 108, 52, 51, 73, 101, 21, 175, 90],
        [54, 158, 143, 77, 26, 168, 113, 229, 165, 225],
        [9, 47, 133, 135, 130, 207, 236, 43, 19, 73],
        [129, 60, 59, 243, 64, 181, 249, 56, 32, 86],
    ],
    np.uint8,
)
HALVED = [
    [105, 140, 126, 81, 109],
    [110, 134, 153, 114, 93],
    [108, 108, 94, 127, 146],
    [67, 126, 162, 149, 62],
]
THIRD = [[115, 135, 97, 101], [113, 119, 124, 125], [81, 157, 118, 64]]
FIRST_ROW_BY_FOUR_THIRDS = [116, 203, 221, 141, 62, 110, 180, 191, 70, 104, 143, 136, 111, 106]


@pytest.mark.parametrize(("scale", "expected"), [(Fraction(1, 2), HALVED), (Fraction(1, 3), THIRD)])
def test_shrinking_is_matlabs(scale: Fraction, expected: list[list[int]]) -> None:
    """Antialiased bicubic shrinking gives MATLAB's figures, borders and sizes rounded up included."""
    np.testing.assert_allclose(to_uint8(bicubic_resize(IMAGE, scale)), expected, rtol=0, atol=1)


def test_enlarging_is_matlabs() -> None:
    """Enlarging by 4/3 gives MATLAB's 11 x 14 pixels."""
    enlarged = to_uint8(bicubic_resize(IMAGE, Fraction(4, 3)))
    assert enlarged.shape == (11, 14)
    np.testing.assert_allclose(enlarged[0], FIRST_ROW_BY_FOUR_THIRDS, rtol=0, atol=1)


def test_borders_are_mirrored() -> None:
    """MATLAB prints 10.2777…, 8, 5.7222… for a row of 10, 6 enlarged to three."""
    row = bicubic_resize(np.array([[10.0, 6.0]] * 2), Fraction(3, 2))[0]
    np.testing.assert_allclose(row, [10.27777777777777, 8, 5.72222222222222], rtol=0, atol=1e-13)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_degradation_agrees_with_pillow_inside(factor: int) -> None:
    """Pillow's BICUBIC has the same kernel; only its rounding and its borders differ."""
    image = np.random.default_rng(0).integers(0, 256, (24 * factor, 20 * factor, 3), dtype=np.uint8)
    pillow = np.asarray(Image.fromarray(image).resize((20, 24), Image.Resampling.BICUBIC))
    ours = degrade(image, factor)
    assert ours.shape == (24, 20, 3)
    difference = np.abs(ours.astype(int) - pillow)[2:-2, 2:-2]
    assert difference.max() <= 1


def test_rounding_is_half_up_and_clipped() -> None:
    """MATLAB's uint8() rounds a half away from zero, where NumPy would round it to even."""
    np.testing.assert_array_equal(to_uint8(np.array([-3.0, 0.5, 2.5, 254.5, 300.0])), [0, 1, 3, 255, 255])


def test_crop_keeps_the_top_left() -> None:
    """What does not fill a multiple is cut from the bottom and the right."""
    image = np.arange(35, dtype=np.uint8).reshape(5, 7)
    np.testing.assert_array_equal(crop_to_multiple(image, 3), image[:3, :6])
