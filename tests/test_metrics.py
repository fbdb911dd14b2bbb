"""PSNR and SSIM, held against scikit-image."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from subpixel.evaluation.metrics import psnr, ssim


@pytest.fixture
def planes() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.integers(0, 256, (40, 33)).cumsum(1).astype(np.uint8)
    noisy = np.clip(truth + random.normal(0, 9, truth.shape), 0, 255).astype(np.uint8)
    return noisy, truth


@pytest.mark.parametrize("shave", [0, 3])
def test_psnr_is_scikit_images(planes: tuple[np.ndarray, np.ndarray], shave: int) -> None:
    image, truth = planes
    inner = slice(shave, -shave or None)
    expected = peak_signal_noise_ratio(truth[inner, inner], image[inner, inner], data_range=255)
    assert psnr(image, truth, shave) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("shave", [0, 4])
def test_ssim_is_scikit_images(planes: tuple[np.ndarray, np.ndarray], shave: int) -> None:
    image, truth = planes
    inner = slice(shave, -shave or None)
    expected = structural_similarity(
        image[inner, inner],
        truth[inner, inner],
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert ssim(image, truth, shave) == pytest.approx(expected, abs=1e-10)


def test_equal_planes_are_perfect(planes: tuple[np.ndarray, np.ndarray]) -> None:
    _, truth = planes
    assert psnr(truth, truth) == float("inf")
    assert ssim(truth, truth) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("measure", [psnr, ssim])
@pytest.mark.parametrize(
    ("shape", "shave", "complaint"), [((12, 13), 0, "one shape"), ((12, 12), 6, "larger than what is shaved")]
)
def test_planes_that_do_not_fit_are_refused(measure, shape, shave, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        measure(np.zeros(shape, np.uint8), np.zeros((12, 12), np.uint8), shave)


def test_ssim_needs_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11x11"):
        ssim(np.zeros((10, 30), np.uint8), np.zeros((10, 30), np.uint8))
