"""Pixels changed after the network: resampled to a size, and without what a format cannot hold."""

from typing import Any

import numpy as np
import pyvips

from subpixel.images import libvips
from subpixel.images.formats import Format
from subpixel.raster import Layout, Raster

Size = tuple[int, int]


def resampled(image: Any, page: Raster, size: Size) -> Any:
    """Return an image whose pages are each resampled to an exact size.

    Resampling down is antialiased, and opacity weighs the colours.
    """
    tops = range(0, image.height, page.height)
    parts = [_resampled_page(image.crop(0, top, page.width, page.height), page, size) for top in tops]
    joined = pyvips.Image.arrayjoin(parts, across=1) if len(parts) > 1 else parts[0]
    if len(parts) > 1:
        joined.set_type(pyvips.GValue.gint_type, "page-height", size[1])
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
