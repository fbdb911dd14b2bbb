"""What studies are trained and measured on: a few images that ship, or a folder of the usual sets."""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from subpixel.degradation import luma
from subpixel.images import image_files, read_array

Plane = NDArray[np.uint8]
Kind = Literal["images", "digits"]
NumberT = TypeVar("NumberT", bound=np.number)

PARTS = ("train", "test", "mnist")
_SHIPPED = Path(__file__).with_name("data")
_PHOTO = 160  # pixels: the side of a photograph in photos.png
_DIGIT = 8  # pixels: the side of a digit in digits.png
_DIGITS = 1797  # in rows of 43
LARGEST = 2**28  # bytes of an idx file: five times MNIST
HELD_BACK = 4  # of the photographs that ship, to measure on


@dataclass(frozen=True)
class Samples:
    """Images and digits to train on, and others to measure on.

    Attributes:
        folder: holds train/ (folders of images), test/ (one folder a set) and mnist/ (the four idx files,
            gzipped); None for what ships.

    Raises:
        ValueError: a part is missing from the folder.
    """

    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.folder is not None:
            for part in PARTS:
                if not (self.folder / part).is_dir():
                    raise ValueError(
                        f"the data must hold the folders {', '.join(PARTS)}; {self.folder / part} is missing."
                    )

    def describe(self, kinds: Sequence[Kind]) -> str:
        """Return what the samples of some kinds are, in words."""
        if self.folder is None:
            shipped = {"images": "16 photographs that ship", "digits": "1,797 digits that ship"}
            return "; ".join(shipped[kind] for kind in kinds)
        names = sorted(path.name for path in self._part("train").iterdir() if path.is_dir())
        images = f"images of {', '.join(names) or self._part('train').name}"
        return "; ".join({"images": images, "digits": "MNIST"}[kind] for kind in kinds)

    @cached_property
    def photos(self) -> list[Plane]:
        """Luma of the images to train on."""
        if self.folder is None:
            return self._shipped_photos[:-HELD_BACK]
        return _planes(self._part("train"), recursive=True)

    @cached_property
    def tests(self) -> Mapping[str, list[Plane]]:
        """Luma of the images to measure on, by set."""
        if self.folder is None:
            return {"held back": self._shipped_photos[-HELD_BACK:]}
        sets = sorted(path for path in self._part("test").iterdir() if path.is_dir())
        if not sets:
            raise ValueError(f"{self._part('test')} must hold a folder of images for each set; it has none.")
        return {path.name: _planes(path) for path in sets}

    @cached_property
    def digits(self) -> tuple[Plane, Plane]:
        """Digits to train on and to measure on, (n, side, side): sides of 28 pixels, or 8 in what ships."""
        if self.folder is None:
            sheet = read_array(_SHIPPED / "digits.png")
            rows, columns = (side // _DIGIT for side in sheet.shape)
            tiles = sheet.reshape(rows, _DIGIT, columns, _DIGIT).swapaxes(1, 2).reshape(-1, _DIGIT, _DIGIT)
            return tiles[: _DIGITS - 297], tiles[_DIGITS - 297 : _DIGITS]
        folder = self._part("mnist")
        return read_idx(folder / "train-images-idx3-ubyte.gz"), read_idx(folder / "t10k-images-idx3-ubyte.gz")

    @cached_property
    def _shipped_photos(self) -> list[Plane]:
        sheet = read_array(_SHIPPED / "photos.png")
        return list(sheet.reshape(-1, _PHOTO, sheet.shape[1]))

    def _part(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / name


def middle(plane: NDArray[NumberT], side: int) -> NDArray[NumberT]:
    """Return the square in the middle of a plane.

    Example:
        >>> middle(np.arange(12).reshape(3, 4), 2)
        array([[1, 2],
               [5, 6]])
    """
    top, left = ((size - side) // 2 for size in plane.shape)
    return plane[top : top + side, left : left + side]


def _planes(folder: Path, *, recursive: bool = False) -> list[Plane]:
    """Return the luma of the images of a folder."""
    planes = [luma(read_array(file)) for file in image_files(folder, recursive=recursive)]
    if not planes:
        raise ValueError(f"{folder} must hold images; it has none.")
    return planes


def read_idx(file: Path) -> NDArray[np.uint8]:
    """Return the bytes of a gzipped idx file as an array.

    Args:
        file: magic number 0, 0, 8, n; n sizes of four bytes, the highest first; the bytes.

    Raises:
        ValueError: it is another file, damaged, or shorter or longer than it says.

    References: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
    """
    try:
        with gzip.open(file) as stream:
            head = stream.read(4)
            sizes = np.frombuffer(stream.read(4 * head[3]), ">u4").astype(float)
            if head[:3] != b"\0\0\x08" or sizes.prod() > LARGEST:
                raise ValueError("it has another header")
            array = np.frombuffer(stream.read(int(sizes.prod())), np.uint8).reshape(sizes.astype(int))
            if stream.read(1):  # at the end of the file its checksum is compared as well
                raise ValueError("it goes on after the array")
            return array
    except (EOFError, gzip.BadGzipFile, IndexError, ValueError, zlib.error) as error:
        raise ValueError(f"{file} must be a whole gzipped idx file; {error}.") from error
