"""The protocol: what is cropped, rounded, shaved and compared."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from subpixel.degradation import luma
from subpixel.evaluation.metrics import psnr
from subpixel.evaluation.protocol import Row, Score, enlarge_bicubic, mean_row, score, score_folder


def photo(height: int = 61, width: int = 76) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    waves = [127 + 90 * np.sin(rows / (5 + band) + columns / (9 - band)) for band in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_perfect_enlargement_scores_perfectly(factor: int) -> None:
    """Only the r border pixels may be wrong; one wrong pixel inside them counts."""
    truth = luma(photo()[: 61 - 61 % factor, : 76 - 76 % factor])

    def enlarge(inner_error: int) -> Score:
        sr = truth.copy()
        sr[:factor] = sr[-factor:] = sr[:, :factor] = sr[:, -factor:] = 0
        sr[factor, factor] += inner_error
        return score(lambda _: sr, photo(), factor)

    assert enlarge(0) == Score(float("inf"), pytest.approx(1))
    assert np.isfinite(enlarge(1).psnr)


def test_luma_is_matlabs() -> None:
    """The corners of the colour cube have the luma that MATLAB's rgb2ycbcr prints."""
    cube = np.array([[[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(luma(cube)[0], [16, 81, 145, 41, 235])


def test_grey_images_are_luma_as_they_stand() -> None:
    """A grey file is not squeezed to studio range; that would score 1.32 dB higher."""
    grey = photo()[..., 0]
    assert score(lambda lr: enlarge_bicubic(lr, 2), grey, 2).psnr == pytest.approx(
        psnr(enlarge_bicubic(degraded(grey, 2), 2), grey[:60], 2), abs=1e-12
    )


def degraded(plane: np.ndarray, factor: int) -> np.ndarray:
    seen: list[np.ndarray] = []

    def enlarge(lr: np.ndarray) -> np.ndarray:
        seen.append(lr)
        return enlarge_bicubic(lr, factor)

    score(enlarge, plane, factor)
    return seen[0]


@pytest.mark.parametrize("colour", [False, True])
def test_networks_of_three_channels_see_colour(colour: bool) -> None:
    shapes = []

    def enlarge(lr: np.ndarray) -> np.ndarray:
        shapes.append(lr.shape)
        return enlarge_bicubic(lr, 2)

    score(enlarge, photo(), 2, colour=colour)
    assert shapes == [(30, 38, 3) if colour else (30, 38)]


def test_a_folder_is_scored_image_by_image(tmp_path: Path) -> None:
    """In the order of the names, bicubic beside the network; the mean is of the figures."""
    for name in ("b.png", "a.png"):
        Image.fromarray(photo()).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    done: list[float] = []
    rows = score_folder(lambda lr: enlarge_bicubic(lr, 3), tmp_path, 3, progress=done.append)
    assert done == [0.5, 1.0]
    assert [row.image for row in rows] == ["a.png", "b.png"]
    assert all(row.network == row.bicubic for row in rows)
    assert mean_row(rows).network.psnr == pytest.approx(rows[0].network.psnr)
    assert mean_row([Row("", Score(30, 0.8), Score(1, 0)), Row("", Score(40, 1), Score(3, 1))]) == Row(
        "mean", Score(35, 0.9), Score(2, 0.5)
    )


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds none"):
        score_folder(lambda lr: lr, tmp_path, 2)
