"""Images held in memory, and aligned LR and HR patches drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subpixel.degradation import crop_to_multiple, degrade, luma
from subpixel.images import image_files, read_array

Plane = NDArray[np.uint8]

HELD_BACK = 50  # every fiftieth image is validated on, not trained on


@dataclass(frozen=True)
class Pair:
    """An HR plane and its LR plane; the LR plane is padded by the context that a network reads."""

    padded_lr: Plane
    hr: Plane

    @classmethod
    def from_hr(cls, plane: Plane, upscale_factor: int, radius: int) -> "Pair":
        """Return the pair of an HR plane and its bicubic reduction."""
        hr = crop_to_multiple(plane, upscale_factor)
        return cls(np.pad(degrade(hr, upscale_factor), radius, mode="edge"), hr)


class Patches:
    """Random patches, uniform over all positions of all images, flipped and transposed at random.

    A batch depends on the seed and its index alone, so that a resumed run draws the same patches as an
    uninterrupted one.

    Args:
        pairs: images; those smaller than a patch are left out.
        upscale_factor: r.
        radius: LR pixels of context around a patch.
        size: side of a patch in LR pixels, context not counted.
        seed: any non-negative integers.
    """

    def __init__(
        self, pairs: Sequence[Pair], upscale_factor: int, radius: int, size: int, seed: tuple[int, ...]
    ) -> None:
        self._pairs = [pair for pair in pairs if min(pair.hr.shape) >= size * upscale_factor]
        if not self._pairs:
            raise ValueError(
                f"some training image must be at least {size * upscale_factor} pixels on each side; all "
                f"{len(pairs)} are smaller. Give larger images or a smaller patch."
            )
        self._factor, self._radius, self._size, self._seed = upscale_factor, radius, size, seed
        positions = [
            (pair.hr.shape[0] // upscale_factor - size + 1) * (pair.hr.shape[1] // upscale_factor - size + 1)
            for pair in self._pairs
        ]
        self._chances = np.array(positions) / sum(positions)

    def batch(self, index: int, count: int) -> tuple[Plane, Plane]:
        """Return batch number `index`: LR (count, 1, size + 2*radius, ...) and HR (count, 1, size*r, ...)."""
        random = np.random.default_rng((*self._seed, index))
        chosen = random.choice(len(self._pairs), count, p=self._chances)
        patches = [self._patch(self._pairs[which], random) for which in chosen]
        lr, hr = zip(*patches, strict=True)
        return np.stack(lr)[:, None], np.stack(hr)[:, None]

    def _patch(self, pair: Pair, random: np.random.Generator) -> tuple[Plane, Plane]:
        factor, size = self._factor, self._size
        y, x = (random.integers(side // factor - size + 1) for side in pair.hr.shape)
        context = size + 2 * self._radius
        lr = pair.padded_lr[y : y + context, x : x + context]
        hr = pair.hr[y * factor : (y + size) * factor, x * factor : (x + size) * factor]
        if random.integers(2):
            lr, hr = lr.T, hr.T
        rows, columns = (int(step) for step in random.choice((-1, 1), 2))
        return lr[::rows, ::columns], hr[::rows, ::columns]


def find_images(folders: Sequence[Path]) -> list[Path]:
    """Return all image files in some folders and in the folders below them.

    Raises:
        ValueError: a folder holds no images, or there is one image in all.
    """
    files: list[Path] = []
    for folder in folders:
        found = image_files(folder, recursive=True)
        if not found:
            raise ValueError(f"training data must be folders of images; got {folder}, which holds none.")
        files += found
    if len(files) == 1:
        raise ValueError(f"training takes two images or more, one to validate on; got {files[0]} alone.")
    return files


def load_pairs(files: Sequence[Path], upscale_factor: int, radius: int) -> tuple[list[Pair], list[Pair]]:
    """Read the luma of images, reduce it, and hold every fiftieth image back.

    Returns:
        The pairs to train on, and those to validate on.
    """
    pairs = [Pair.from_hr(luma(read_array(file)), upscale_factor, radius) for file in files]
    return [pair for index, pair in enumerate(pairs) if index % HELD_BACK], pairs[::HELD_BACK]
