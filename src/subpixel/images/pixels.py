"""Pixels changed after the network: resampled to a size, and without what a format cannot hold."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyvips

from subpixel.images import libvips
from subpixel.images.formats import Format
from subpixel.raster import Layout, Raster

Size = tuple[int, int]

THRESHOLD = 128  # between black and white, as 0 and 255


def resampled(image: Any, page: Raster, size: Size) -> Any:
    """Return an image whose pages are each resampled to an exact size.

    Resampling down is antialiased, and opacity weighs the colours.
    """
    return _page_by_page(image, page.height, lambda part: _resampled_page(part, page, size))


def cleaned(image: Any, height: int) -> Any:
    """Return grey pages of this height, enlarged from 1 bit a pixel, in black and white.

    Networks ring at edges as hard as these, and the ringing crosses the threshold in single pixels. A small
    blur before the threshold removes them, and keeps dots and lines of one pixel of the original.
    """
    return _page_by_page(image, height, lambda page: _blurred(page) >= THRESHOLD)


def softened(image: Any, height: int) -> Any:
    """Return pages of this height in black and white with outlines whose steps are grey."""
    return _page_by_page(image, height, _blurred)


def _blurred(image: Any) -> Any:
    """Return an image smoothed by (1, 2, 1) / 4: half of a single pixel's height goes to its neighbours."""
    return image.convsep(pyvips.Image.new_from_array([[1, 2, 1]], scale=4), precision="integer")


def _page_by_page(image: Any, height: int, change: Callable[[Any], Any]) -> Any:
    """Change each page by itself, so that no row of one touches another."""
    tops = range(0, image.height, height)
    pages = [change(image.crop(0, top, image.width, height)) for top in tops]
    joined = pyvips.Image.arrayjoin(pages, across=1) if len(pages) > 1 else pages[0]
    if len(pages) > 1:
        libvips.set_page_height(joined, pages[0].height)
    return joined


def fitted(image: Any, target: Format, layout: Layout, original: Any) -> Any:
    """Return an image without the opacity or the CMYK that its format cannot hold."""
    if layout.alpha and not target.alpha:
        peak = np.iinfo(libvips.DTYPES[image.format]).max
        image = image.flatten(background=[0 if layout.colour == "cmyk" else peak], max_alpha=peak)
    if layout.colour == "cmyk" and not target.cmyk:
        image = libvips.with_fields(image, original, ["icc-profile-data"])
        depth = 8 * libvips.DTYPES[image.format].itemsize
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=depth)
    return image


def _resampled_page(image: Any, page: Raster, size: Size) -> Any:
    kind, interpretation = image.format, image.interpretation
    peak = np.iinfo(page.dtype).max
    if page.layout.alpha:
        image = image.premultiply(max_alpha=peak)
    image = image.resize(size[0] / page.width, vscale=size[1] / page.height, kernel="lanczos3")
    if page.layout.alpha:
        image = image.unpremultiply(max_alpha=peak)
    return image.rint().cast(kind).copy(interpretation=interpretation)
