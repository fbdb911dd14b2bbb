"""The protocol of the super-resolution tables: an HR image is shrunk, enlarged again, and compared."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subpixel.degradation import bicubic_resize, crop_to_multiple, degrade, luma, to_uint8
from subpixel.evaluation.metrics import psnr, ssim
from subpixel.images import image_files, read_array

Pixels = NDArray[np.uint8]
Enlarge = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM of an image, or their means over several."""

    psnr: float
    ssim: float

    @classmethod
    def mean(cls, scores: Sequence["Score"]) -> "Score":
        """The mean of the figures, as the tables have it: of the PSNRs, not of the errors."""
        return cls(float(np.mean([s.psnr for s in scores])), float(np.mean([s.ssim for s in scores])))


def score(enlarge: Enlarge, image: Pixels, upscale_factor: int, *, colour: bool = False) -> Score:
    """Shrink an HR image, enlarge it again, and compare the luma of both.

    The image is cropped to a multiple of r; its luma, rounded, is what is degraded and what is compared, with
    r pixels shaved off each border.

    Args:
        enlarge: an LR image to an SR one of r times its size, both uint8: the luma plane (h, w), or with
            `colour` what `image` is.
        image: HR, (H, W) taken as luma, or (H, W, 3) in R, G, B.
        upscale_factor: r.
        colour: hand R, G, B to `enlarge`, for networks of three channels; the luma is compared all the same.

    Example:
        >>> steps = np.arange(0, 240, 5, dtype=np.uint8)[None].repeat(48, axis=0)
        >>> round(score(lambda lr: enlarge_bicubic(lr, 2), steps, 2).psnr, 1)
        48.3
    """
    hr = crop_to_multiple(image, upscale_factor)
    truth = luma(hr)
    sr = luma(enlarge(degrade(hr if colour else truth, upscale_factor)))
    return Score(psnr(sr, truth, upscale_factor), ssim(sr, truth, upscale_factor))


def enlarge_bicubic(image: Pixels, upscale_factor: int) -> Pixels:
    """MATLAB's bicubic interpolation, the baseline of every table."""
    return to_uint8(bicubic_resize(image, upscale_factor))


@dataclass(frozen=True)
class Row:
    """An image of a test set: what a network reaches on it, and bicubic interpolation beside it."""

    image: str
    network: Score
    bicubic: Score


def score_folder(
    enlarge: Enlarge, folder: Path, upscale_factor: int, *, colour: bool = False
) -> Iterator[Row]:
    """Score every image of a folder, in the order of their names; the arguments are those of `score`.

    Raises:
        ValueError: the folder holds no images, or one that cannot be scored.
    """
    files = image_files(folder)
    if not files:
        raise ValueError(f"a test set must be a folder of images; got {folder}, which holds none.")
    for file in files:
        image = read_array(file)
        try:
            network = score(enlarge, image, upscale_factor, colour=colour)
            bicubic = score(lambda lr: enlarge_bicubic(lr, upscale_factor), image, upscale_factor)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        yield Row(file.name, network, bicubic)


def mean_row(rows: Sequence[Row]) -> Row:
    """The mean of a test set."""
    return Row("mean", Score.mean([row.network for row in rows]), Score.mean([row.bicubic for row in rows]))
