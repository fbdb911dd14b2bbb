"""The protocol of the super-resolution tables: an HR image is reduced, enlarged again, and compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subpixel.degradation import bicubic_resize, crop_to_multiple, degrade, luma, to_uint8
from subpixel.evaluation.metrics import psnr, ssim
from subpixel.images import image_files, read_array

if TYPE_CHECKING:
    from subpixel.network import LRNetwork
    from subpixel.upscale import Upscaler

Pixels = NDArray[np.uint8]
Enlarge = Callable[[Pixels], Pixels]
ProgressReport = Callable[[float], object]


@dataclass(frozen=True)
class Score:
    """The PSNR in dB and the SSIM of an image, or their means over several images."""

    psnr: float
    ssim: float

    @classmethod
    def mean(cls, scores: Sequence["Score"]) -> "Score":
        """Return the means of the PSNRs and of the SSIMs, as the tables have it."""
        return cls(float(np.mean([s.psnr for s in scores])), float(np.mean([s.ssim for s in scores])))


def score(enlarge: Enlarge, image: Pixels, upscale_factor: int, *, colour: bool = False) -> Score:
    """Reduce an HR image, enlarge it again, and compare the luma of both.

    The image is cropped to a multiple of r. Its luma, rounded, is reduced, and is compared with r pixels
    shaved off each border.

    Args:
        enlarge: takes an LR image to an SR image of r times its size, both uint8: the luma plane (h, w), or
            with `colour` an image like `image`.
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
    """Enlarge by MATLAB's bicubic interpolation, the baseline of every table."""
    return to_uint8(bicubic_resize(image, upscale_factor))


@dataclass(frozen=True)
class Row:
    """The scores of one image of a test set: by a network, and by bicubic interpolation."""

    image: str
    network: Score
    bicubic: Score


def score_network(
    upscaler: "Upscaler", network: "LRNetwork", folder: Path, progress: ProgressReport | None = None
) -> list[Row]:
    """Score every image of a folder as a network enlarges it, with bicubic interpolation beside it.

    Args:
        upscaler: enlarges by the network, with the engine and the precision to measure.
        network: takes the luma as it stands if it has one channel, or R, G, B.
        folder: HR images.
        progress: called with the fraction done, in 0..1, after each image.
    """
    colour = network.channels == 3
    enlarge: Any = upscaler.image if colour else upscaler.plane
    return score_folder(enlarge, folder, network.upscale_factor, colour=colour, progress=progress)


def score_folder(
    enlarge: Enlarge,
    folder: Path,
    upscale_factor: int,
    *,
    colour: bool = False,
    progress: ProgressReport | None = None,
) -> list[Row]:
    """Score every image of a folder, in the order of their names; the arguments are those of `score`.

    Raises:
        ValueError: the folder holds no images, or one that cannot be scored.
    """
    files = image_files(folder)
    if not files:
        raise ValueError(f"a test set must be a folder of images; got {folder}, which holds none.")
    rows = []
    for file in files:
        image = read_array(file)
        try:
            network = score(enlarge, image, upscale_factor, colour=colour)
            bicubic = score(lambda lr: enlarge_bicubic(lr, upscale_factor), image, upscale_factor)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        rows.append(Row(file.name, network, bicubic))
        if progress is not None:
            progress(len(rows) / len(files))
    return rows


def mean_row(rows: Sequence[Row]) -> Row:
    """Return the means of a test set."""
    return Row("mean", Score.mean([row.network for row in rows]), Score.mean([row.bicubic for row in rows]))
