"""Images through networks: the factors that reach a size, arrays, PIL images and files."""

from collections.abc import Callable
from itertools import combinations_with_replacement
from math import ceil, log2, prod
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from subpixel import engines
from subpixel.network import LRNetwork, default_names, load
from subpixel.raster import Layout, Raster
from subpixel.stage import Stage
from subpixel.tiles import enlarge, enlarge_array

if TYPE_CHECKING:
    from PIL.Image import Image

    from subpixel.images import Written

Pixels = NDArray[Any]
Factors = tuple[int, ...]
Size = tuple[int, int]
Progress = Callable[[float], object]
AnyImage = TypeVar("AnyImage", Pixels, "Image")

_DTYPES = ("uint8", "uint16", "float32", "float64")
_ARRAYS = {1: Layout("grey"), 2: Layout("grey", True), 3: Layout("rgb"), 4: Layout("rgb", True)}
_PIL_LAYOUTS = {
    "L": Layout("grey"),
    "I;16": Layout("grey"),
    "LA": Layout("grey", True),
    "RGB": Layout("rgb"),
    "RGBA": Layout("rgb", True),
    "CMYK": Layout("cmyk"),
}


class Upscaler:
    """Enlarges planes, images and image files by a network.

    Luma goes through the network; chroma and opacity through bicubic interpolation, as an LR convolution.
    Work is done in tiles, and the tiles together are exactly the whole.

    One upscaler serves any number of threads at once. It can be pickled: the settings and the network go
    along, and the engines are made anew where it is unpickled.

    Args:
        network: a shipped name, a safetensors file, or an LR network; None takes the shipped default for
            the scale that is asked for.
        engine: "native", "openvino", "onnxruntime", "torch", or "auto" for the one that is measured to be the
            fastest here; see `subpixel.engines.choice.fastest`.
        precision: "f32", or for luma "bf16" where the engine and the processor have it.

    Raises:
        ValueError: no such network.
        TypeError: the network is none of these.

    Example:
        >>> from subpixel.network import bicubic
        >>> Upscaler(bicubic(2)).image(np.full((4, 6, 3), 200, np.uint8)).shape
        (8, 12, 3)
    """

    def __init__(
        self,
        network: str | Path | LRNetwork | None = None,
        engine: engines.Name | Literal["auto"] = "auto",
        precision: engines.Precision = "f32",
    ) -> None:
        if isinstance(network, str | Path):
            network = load(network)
        if not isinstance(network, LRNetwork | None):
            raise TypeError(f"a network must be a name, a path or an LRNetwork; got {network!r}.")
        self._network = network
        self._default_names = default_names() if network is None else {}
        self._factors = tuple(self._default_names) if network is None else (network.upscale_factor,)
        self._engine = engine
        self._precision = precision
        self._stages: dict[int, Stage] = {}
        self._making = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_stages", "_making")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _stages={}, _making=Lock())

    def plane(self, plane: Pixels, scale: int | None = None) -> Pixels:
        """Enlarge a plane of Y as it stands, in studio range.

        Args:
            plane: (height, width), uint8, uint16, or floats in 0..1, all finite.
            scale: the factor; None is that of the given network, or 2 where none was given.

        Returns:
            (scale * height, scale * width) of the same type; integers are rounded, all is clipped.

        Example:
            >>> from subpixel.network import bicubic
            >>> Upscaler(bicubic(3)).plane(np.full((1, 2), 235, np.uint8))[0]
            array([235, 235, 235, 235, 235, 235], dtype=uint8)
        """
        _check_pixels(plane)
        return self._array(plane[..., None], Layout("y"), scale)[..., 0]

    def image(self, image: AnyImage, scale: int | None = None) -> AnyImage:
        """Enlarge an image: an array gives an array of the same type, a PIL image gives a PIL image.

        Args:
            image: (height, width) or (height, width, bands), uint8, uint16, or floats in 0..1; the bands are
                1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha). Or a PIL image of 8 bits, or grey of 16,
                whose EXIF orientation is left unapplied, as PIL leaves it.
            scale: the factor; None is that of the given network, or 2 where none was given.
        """
        if not isinstance(image, np.ndarray):
            return self._pil(image, scale)
        _check_pixels(image, *_ARRAYS)
        pixels = np.atleast_3d(image)
        enlarged = self._array(pixels, _ARRAYS[pixels.shape[2]], scale)
        return enlarged.reshape(*enlarged.shape[:2], *image.shape[2:])

    def file(
        self,
        source: str | Path,
        destination: str | Path,
        *,
        scale: int | None = None,
        size: tuple[int | None, int | None] | None = None,
        quality: int | None = None,
        progress: Progress | None = None,
    ) -> "Written":
        """Enlarge an image file of any size, in bounded memory, with all that it carries.

        Args:
            source: PNG, JPEG, WebP, TIFF, AVIF or GIF.
            destination: its suffix says the format; it is replaced if it exists, whole or not at all.
            scale: the factor; None is that of the given network, or 2 where none was given.
            size: the width and height to reach instead: by the next factors up, then a resampling down. One
                of them may be None, to keep the proportions.
            quality: 1 to 100 for formats that are lossy.
            progress: called with the fraction done, in 0..1.

        Returns:
            The file that was written, with notes on what its format could not hold, or was damaged before.

        Raises:
            ValueError: an argument is out of range, `scale` is given with `size`, the source is no image that
                can be kept whole, or the destination cannot hold it.
            OSError: a file cannot be read or written.
        """
        from subpixel import images  # noqa: PLC0415 (arrays need no image library)

        _check_options(scale, size, quality)
        source, destination = Path(source), Path(destination)
        picture = images.read(source)
        target = None if size is None else _proportional(size, picture.width, picture.height)
        factors = (
            (self.factor(scale),)
            if target is None
            else _reaching(target, picture.width, picture.height, self._factors)
        )
        dtype = images.dtype_for(picture, destination)
        pages = [self._enlarge(picture.page(index), factors, dtype) for index in range(picture.pages)]
        return images.write(destination, pages, picture, size=target, quality=quality, progress=progress)

    def factor(self, scale: int | None = None) -> int:
        """Return the factor for a scale; None is that of the given network, or 2 where none was given.

        Raises:
            ValueError: there is no network for it.
            TypeError: the scale is not an integer.
        """
        if scale is None:
            return self._factors[0]
        if not _is_integer(scale):
            raise TypeError(f"the scale must be an integer; got {scale!r}.")
        if scale not in self._factors:
            allowed = " or ".join(", ".join(map(str, self._factors)).rsplit(", ", 1))
            which = "" if self._default_names else ", as that of the network"
            raise ValueError(f"the scale must be {allowed}{which}; got {scale}.")
        return int(scale)  # NumPy's small integers would overflow in what is computed from it

    def prepare(self, scale: int | None = None) -> None:
        """Make the engine ready, so that what is wrong with it shows before any image.

        Raises:
            ValueError: the engine does not have the precision here, or there is no such engine.
            ImportError: the engine's package or library is missing; the message says what to do.
            RuntimeError: the engine does not start.
        """
        self._stage(self.factor(scale))

    def _array(self, pixels: Pixels, layout: Layout, scale: int | None) -> Pixels:
        return enlarge_array(pixels, layout, self._stage(self.factor(scale)))

    def _enlarge(self, raster: Raster, factors: Factors, dtype: np.dtype[Any]) -> Raster:
        """Enlarge by one factor after the other; only the last result is rounded."""
        for r in factors[:-1]:
            raster = enlarge(raster, self._stage(r), np.dtype(np.float32))
        for r in factors[-1:]:
            raster = enlarge(raster, self._stage(r), dtype)
        return raster

    def _stage(self, factor: int) -> Stage:
        with self._making:
            if factor not in self._stages:
                network = self._network or load(self._default_names[factor])
                self._stages[factor] = Stage(network, self._engine, self._precision)
            return self._stages[factor]

    def _pil(self, image: "Image", scale: int | None) -> "Image":
        import PIL.Image  # noqa: PLC0415 (installed where such an image comes from)

        if not isinstance(image, PIL.Image.Image):
            raise TypeError(f"an image must be a NumPy array or a PIL image; got {type(image).__name__}.")
        if 0 in image.size:
            raise ValueError(f"an image must have at least one pixel; got {image.width}x{image.height}.")
        image = _without_palette(image)
        if image.mode not in _PIL_LAYOUTS:
            raise ValueError(
                f"a PIL image must be of mode {', '.join(_PIL_LAYOUTS)}, 1 or P; got {image.mode}."
            )
        pixels = np.atleast_3d(np.asarray(image))
        enlarged = self._array(pixels, _PIL_LAYOUTS[image.mode], scale)
        height, width = enlarged.shape[:2]
        result = PIL.Image.frombytes(image.mode, (width, height), enlarged.tobytes())
        result.info = dict(image.info)
        return result


def _without_palette(image: "Image") -> "Image":
    """Return the image with a value for each band of each pixel, instead of an index or a bit."""
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert("L") if image.mode == "1" else image


def _reaching(size: Size, width: int, height: int, factors: Factors) -> Factors:
    """Return the factors, small first, whose product is the least that reaches a size; () where 1 does."""
    needed = max(size[0] / width, size[1] / height)
    if needed > 1 and max(factors) == 1:
        raise ValueError(f"a network must enlarge, to reach {size[0]}x{size[1]}; its factor is 1.")
    most = max(0, ceil(log2(needed)))
    chains = (chain for count in range(most + 1) for chain in combinations_with_replacement(factors, count))
    return min((prod(chain), len(chain), chain) for chain in chains if prod(chain) >= needed)[2]


def _proportional(size: tuple[int | None, int | None], width: int, height: int) -> Size:
    """Return the size, a missing side in proportion to the other."""
    to_width, to_height = (None if side is None else int(side) for side in size)
    return (
        to_width or max(1, round(width * (to_height or 0) / height)),
        to_height or max(1, round(height * (to_width or 0) / width)),
    )


def _check_options(
    scale: int | None, size: tuple[int | None, int | None] | None, quality: int | None
) -> None:
    if size is not None:
        if scale is not None:
            raise ValueError(f"scale must not be given with size; got scale={scale}, size={size}.")
        sides = [side for side in size if side is not None]
        if not sides or len(size) != 2 or not all(_is_integer(side) and side > 0 for side in sides):
            raise ValueError(f"size must be two integers from 1, one of them perhaps None; got {size}.")
    if quality is not None and not (_is_integer(quality) and 1 <= quality <= 100):
        raise ValueError(f"quality must be an integer from 1 to 100; got {quality}.")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer)


def _check_pixels(pixels: Any, *bands: int) -> None:
    """Raise an error unless the pixels are a plane, or an image with one of these numbers of bands."""
    if not isinstance(pixels, np.ndarray):
        raise TypeError(f"pixels must be a NumPy array; got {type(pixels).__name__}.")
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in bands)
    if not fits or pixels.size == 0 or pixels.dtype.name not in _DTYPES:
        raise ValueError(
            "pixels must be (height, width), or an image's (height, width, 1 to 4 bands), of "
            f"{', '.join(_DTYPES)}; got {pixels.shape} of {pixels.dtype}."
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("pixels must be finite; got NaN or infinity.")
