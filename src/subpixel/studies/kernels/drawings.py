"""Kernels as pictures: mosaics of many, one taken apart, one lifted."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.kernels import lift_conv, lr_to_transposed
from subpixel.studies.lab.canvas import IDLE, PIXEL, Canvas, colour, ink_on

with needing("study"):
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.patches import Rectangle

Kernels = NDArray[np.floating] | NDArray[np.integer]

PART = 16  # maps of an LR layer that are drawn: all would be too small to see
STRUCTURAL = "#FFE0A8"  # a weight that is zero whatever the network learns


def last_layer(weight: Kernels, r: int) -> Figure:
    """Draw the kernels of an LR convolution above those of the transposed convolution that it is.

    Args:
        weight: (r**2, c_in, K, K).
        r: the upscale factor.
    """
    transposed = lr_to_transposed(weight, r)[:, 0]
    largest = float(np.quantile(np.abs(weight), 0.999))
    strongest = int(np.abs(weight).sum(axis=(0, 2, 3)).argmax())
    figure = Figure((10, 8.4))
    grid = figure.add_gridspec(3, 1, height_ratios=(28, 27, 32))
    top, middle = (figure.add_subplot(grid[row]) for row in (0, 1))
    _mosaic(top, weight, largest)
    top.set_title(
        f"LR convolution {shape(weight)}: a row for each phase, a column for each input map", loc="left"
    )
    pitch = weight.shape[-1] + 1
    for phase in range(r**2):
        top.add_patch(
            Rectangle((-3.2, phase * pitch - 0.5), 2.2, pitch - 1, color=colour(phase), clip_on=False)
        )
        top.text(
            -2.1,
            phase * pitch + pitch / 2 - 1,
            str(phase),
            ha="center",
            va="center",
            fontsize=8,
            color=ink_on(colour(phase)),
        )
    columns = len(transposed) // 2
    _mosaic(middle, transposed.reshape(2, columns, *transposed.shape[1:]), largest)
    recreated = f"(1, {', '.join(map(str, transposed.shape))})"
    middle.set_title(
        f"The transposed convolution that it is {recreated}: a kernel for each input map", loc="left"
    )
    below = grid[2].subgridspec(1, 2)
    apart, interleaved = (figure.add_subplot(below[column]) for column in (0, 1))
    _mosaic(apart, weight[:, strongest].reshape(r, r, *weight.shape[2:]), largest)
    apart.set_title(f"Input map {strongest}: its kernel of each phase ...", loc="left")
    image = _mosaic(interleaved, transposed[strongest][None, None], largest)
    interleaved.set_title("... and the same numbers, interleaved", loc="left")
    _frame_phases(apart, interleaved, weight.shape[-1], r)
    figure.colorbar(image, ax=interleaved, label="weight")
    return figure


def _frame_phases(apart: Axes, interleaved: Axes, taps: int, r: int) -> None:
    """Frame each tap by its phase: where phases lie side by side, and where they are interleaved."""
    for (row, column), (y, x) in product(np.ndindex(r, r), np.ndindex(taps, taps)):
        phase = row * r + column
        # Taps are reversed: the last tap of a phase kernel comes first in the transposed kernel.
        places = (
            (apart, column * (taps + 1) + x, row * (taps + 1) + y),
            (interleaved, r * (taps - 1 - x) + column, r * (taps - 1 - y) + row),
        )
        for axes, left, top in places:
            axes.add_patch(
                Rectangle(
                    (left - 0.44, top - 0.44), 0.88, 0.88, fill=False, edgecolor=colour(phase), linewidth=2
                )
            )
            box = {"facecolor": colour(phase), "edgecolor": "none", "pad": 0.8}
            axes.text(
                left + 0.42,
                top + 0.4,
                str(phase),
                ha="right",
                va="bottom",
                fontsize=6.5,
                color=ink_on(colour(phase)),
                bbox=box,
            )


def lifted(hr: Kernels, in_lr: Kernels, free: Kernels) -> Figure:
    """Draw the kernels of an HR layer, of the LR layer that it is, and of an LR layer trained freely.

    Args:
        hr: (n, n, k, k).
        in_lr: (n * r**2, n * r**2, K, K), of which a part is drawn.
        free: the same shape.
    """
    figure = Figure((10, 4.3))
    panels = figure.subplots(1, 3, width_ratios=(3, 4, 4))
    words = (
        f"An HR layer {shape(hr)}\n{hr.size:,} weights\n",
        f"The LR layer that it is {shape(in_lr)}\n{hr.size:,} weights, repeated; zeros\n{PART} maps of it:",
        f"An LR layer trained freely {shape(free)}\n{free.size:,} weights\n{PART} maps of it:",
    )
    for axes, title, weight in zip(panels, words, (hr, in_lr, free), strict=True):
        part = weight[:PART, :PART]
        _mosaic(axes, part, float(np.quantile(np.abs(part[part != 0]), 0.98)))
        axes.set_title(title, loc="left")
        axes.set(xlabel="input map", ylabel="output map", anchor="N")
    return figure


def lift(taps: int, r: int) -> Figure:
    """Draw where each tap of one HR kernel goes when it is lifted, by the taps' numbers."""
    numbers = np.arange(1, 1 + taps**2).reshape(1, 1, taps, taps)
    tiles = lift_conv(numbers, r, padding=0)
    size, pitch = tiles.shape[-1], tiles.shape[-1] + 0.6
    canvas = Canvas(0.6 + taps + 4.4 + r**2 * pitch, 3 + r**2 * pitch)
    top = 2.6
    canvas.title(0.6, top, "HR kernel", shape(numbers))
    canvas.cells(0.6, top, numbers[0, 0], PIXEL)
    left = 0.6 + taps + 4
    canvas.arrow((left - 3.7, top + taps / 2), (left - 2.3, top + taps / 2))
    canvas.title(left, top - 0.6, "Lifted to LR", shape(tiles))
    for target, source in np.ndindex(r**2, r**2):
        x, y, values = left + source * pitch, top + target * pitch, tiles[target, source]
        canvas.cells(x, y, np.where(values == 0, np.nan, values), np.where(values == 0, IDLE, target))
        if target == 0:
            canvas.text(x + size / 2, top - 0.45, f"from phase {source}", size=9)
        if source == 0:
            canvas.text(left - 0.25, y + size / 2, f"to phase {target}", size=9, align="right")
    return canvas.figure


def _mosaic(axes: Axes, kernels: Kernels, largest: float) -> AxesImage:
    """Draw (rows, columns, k, k) kernels as tiles, a gap between them, from black to white."""
    rows, columns, *size = kernels.shape
    padded = np.pad(kernels.astype(float), ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    sheet = padded.swapaxes(1, 2).reshape(rows * (size[0] + 1), columns * (size[1] + 1))[:-1, :-1]
    image = axes.imshow(sheet, cmap="gray", vmin=-largest, vmax=largest, interpolation="nearest")
    structural = np.where(sheet == 0, 1.0, np.nan)
    axes.imshow(structural, cmap=ListedColormap([STRUCTURAL]), interpolation="nearest")
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return image


def shape(weight: Kernels) -> str:
    """Return the shape of kernels as text."""
    return f"({', '.join(map(str, weight.shape))})"
