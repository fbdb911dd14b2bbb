"""Figures 2 to 7 of the note, drawn from tensors that PyTorch computes, for any kernel, factor and padding.

The note explains with them how r² channels become an image. Here every number in a picture is a result and
can be checked by hand.

- **Figure 2** (section 1): "convolution with stride 2 in 1D", and its matrix.
- **Figure 3**: (a) the transposed convolution, whose matrix is that of figure 2 transposed; (b) the
  sub-pixel convolution, where "the only difference [...] is that the indices of the weights used when
  contributing to y from x are different".
- **Figures 4 to 6** (section 2): zeros go between the pixels of a 4x4 image, a 4x4 kernel slides over them,
  and "the different sets of weights [...] are activated independently from each other".
- **Figure 7**: the same image by four 2x2 kernels on the LR image itself, and a periodic shuffle. Each kernel
  reads the zeros on its own side of the image. One convolution for all four, padded on both sides, makes a
  row and a column more of each channel, and the HR image is cropped; it is compared as well.
- **The uneven filter** at the end of section 2: f = (1, 2, 3) becomes (2) and (1, 3).

A colour is a phase, that is HR index modulo r, and its number stands in the corner of each cell. Taps are
numbered 1, 2, 3, ..., so that they can be followed from picture to picture. A convolution is PyTorch's,
which reads taps from left to right.

What the pictures show of one kernel is compared for others too, with random numbers in float64, and with
PyTorch's own operators on the other side: a kernel of 9 for r = 3, as our networks have it; an uneven one;
one so small that some phases have no tap.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from subpixel.extras import needing
from subpixel.functional import conv_transpose, sub_pixel_conv
from subpixel.geometry import Axis
from subpixel.studies.figures import images, signals
from subpixel.studies.figures.example import Example, matrix_of
from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.study import Picture, Result, Row, Study

with needing("study"):
    import torch
    from torch import Tensor
    from torch.nn import functional as F  # noqa: N812 (its usual name)

Sides = tuple[str, str, Tensor, Tensor]  # the figure, what is compared, and its two sides

TOLERANCE = 1e-12  # sums of at most 81 products of numbers around 1, in float64

# The note's layers: x of 5 and y of 8 in figures 2 and 3, x of 4x4 and y of 8x8 from figure 4 on.
SIGNAL, IMAGE = Example.of(Axis(4, 2, 2), 1, 5), Example.of(Axis(4, 2, 1), 2, 4)
UNEVEN_SIGNAL, UNEVEN_IMAGE = (Example.of(Axis(3, 2, 1, 1), ndim, 6 - ndim) for ndim in (1, 2))
OTHERS = (Axis(9, 3, 3), Axis(5, 3, 1), Axis(2, 3))


def compute(_bench: Bench) -> Result:
    """Compare both sides of each figure, for the layers that are drawn and for others."""
    drawn = [SIGNAL, UNEVEN_SIGNAL, IMAGE, UNEVEN_IMAGE]
    others = [Example.of(axis, ndim, 6, seed=7) for ndim in (1, 2) for axis in OTHERS]
    rows = [row for example in (*drawn, *others) for row in _rows(example)]
    largest: dict[str, float] = {}
    for row in rows:
        check = f"{row['figure']}: equal are {row['compared']}"
        largest[check] = max(largest.get(check, 0), float(row["largest difference"]))
    finding = (
        f"In {len(rows)} comparisons, of {len(drawn)} layers that are drawn and {len(others)} others, the "
        f"largest difference is {max(largest.values()):.2g}, in float64."
    )
    checks = {check: difference <= TOLERANCE for check, difference in largest.items()}
    return Result(rows, [finding, _work(IMAGE)], checks)


def draw(_result: Result) -> Sequence[Picture]:
    """Draw the note's layers, and the uneven filter."""
    return [
        Picture(
            "figure-2",
            "Figure 2: a convolution of stride 2 takes x of 8, with two zeros on each side, to y of 5. "
            "Each arrow is a product by the tap that is written on it. The matrix has the same taps, a row "
            "for each y.",
            signals.strided_convolution(SIGNAL.reversed()),
        ),
        Picture(
            "figure-3",
            "Figure 3: (a) the transposed convolution takes x of 5 to y of 8, after cropping. Its matrix "
            "is that of figure 2, transposed. (b) The sub-pixel convolution by the same f reaches the same "
            "pixels by other taps; with the indices of f reversed it gives the numbers of (a).",
            signals.transposed_and_sub_pixel(SIGNAL),
        ),
        Picture(
            "figure-4",
            "Figure 4: the LR image and the sub-pixel image. Dark grey are the zeros between the pixels, "
            "light grey the border of zeros that the kernel reads.",
            images.zero_insertion(IMAGE),
        ),
        Picture(
            "figure-5",
            "Figure 5: the kernel at four neighbouring places in the sub-pixel image. The weights that "
            "meet an LR pixel are coloured, those that meet a zero are grey. Each weight works for one "
            "phase alone.",
            images.active_weights(IMAGE),
        ),
        Picture(
            "figure-6",
            "Figure 6: the sub-pixel image, convolved by the kernel, gives the HR image. Its pixels have "
            "the colour of the weights that made them: under the black window four of 16 weights meet a "
            "pixel. Taken apart by colour, the kernel is four kernels of 2x2.",
            images.full_view(IMAGE),
        ),
        Picture(
            "figure-7",
            "Figure 7: the LR image itself, convolved by the four kernels, gives four channels, and the "
            "periodic shuffle makes of them the HR image of figure 6, number by number. Framed in black: "
            "one LR pixel, what each channel has there, and the four HR pixels that this becomes. The "
            "coloured frames are what each kernel reads for it.",
            images.lr_convolution(IMAGE),
        ),
        Picture(
            "filters",
            "Section 2: a filter of four taps is two filters of two taps, one for each phase; a filter of "
            "three is one of one tap and one of two. What they make of the LR signal is shuffled.",
            signals.phase_filters([SIGNAL, UNEVEN_SIGNAL]),
        ),
        Picture(
            "figure-5-uneven",
            "Figure 5 for a kernel of 3x3: of its weights one, two, two and four meet LR pixels.",
            images.active_weights(UNEVEN_IMAGE),
        ),
        Picture(
            "figure-7-uneven",
            "Figure 7 for a kernel of 3x3: its phase kernels differ in size, and nothing else changes.",
            images.lr_convolution(UNEVEN_IMAGE),
        ),
    ]


def _rows(example: Example) -> Iterator[Row]:
    axis = example.axis
    for figure, compared, one, other in (_signal_sides if example.ndim == 1 else _image_sides)(example):
        yield {
            "figure": figure,
            "axes": example.ndim,
            "k": axis.kernel_size,
            "r": axis.stride,
            "p": axis.padding,
            "compared": compared,
            "numbers": one.numel(),
            "largest difference": float((one.double() - other.double()).abs().max()),
        }


def _signal_sides(example: Example) -> Iterator[Sides]:
    axis, weight, size = example.axis, example.weight, len(example.x)
    r, p, output_padding = axis.stride, axis.padding, axis.output_padding
    up = matrix_of(lambda x: F.conv_transpose1d(x, weight, None, r, p, output_padding), size)
    down = matrix_of(lambda y: F.conv1d(y, weight, None, r, p), len(example.output))
    yield (
        "Figures 2, 3a",
        "the transposed convolution's matrix, and the convolution's, transposed",
        up,
        down.T,
    )
    taps, options = weight.flip(-1), {"stride": r, "padding": p, "output_padding": output_padding}
    reverse = matrix_of(lambda x: sub_pixel_conv(x, taps, None, groups=1, **options), size)
    yield (
        "Figure 3b",
        "the sub-pixel convolution's matrix, its taps reversed, and the transposed one's",
        reverse,
        up,
    )
    yield (
        "Section 2",
        "a convolution a phase, shuffled, and the transposed one",
        example.shuffled,
        example.output,
    )


def _image_sides(example: Example) -> Iterator[Sides]:
    r, p, output_padding = example.axis.stride, example.axis.padding, example.axis.output_padding
    border = example.axis.kernel_size - 1 - p
    pixels, zeros = slice(border, border + r * len(example.x), r), torch.zeros_like(example.sub_pixels)
    zeros[pixels, pixels] = example.x
    yield "Figure 4", "the sub-pixel image, and zeros with each r-th pixel set", example.sub_pixels, zeros
    places = list(np.ndindex(*example.output.shape))
    active, expected = (torch.stack(list(map(each, places))) for each in (example.active, example.of_phase))
    yield "Figure 5", "the weights that meet a pixel, and the weights of the phase", active, expected
    hr = example.output
    yield (
        "Figure 6",
        "the sub-pixel image, convolved, and the transposed convolution",
        example.sub_pixel_output,
        hr,
    )
    yield "Figure 7", "a convolution a phase, shuffled, and the transposed one", example.shuffled, hr
    x, weight = example.x[None, None], example.weight
    at_once = conv_transpose(x, weight, None, r, p, output_padding, form="compact")[0, 0]
    yield (
        "Figure 7",
        "one convolution to r² channels, shuffled and cropped, and the transposed one",
        at_once,
        hr,
    )


def _work(example: Example) -> str:
    """Return how much of figure 6 is multiplied in vain, counted where its weights are."""
    products = example.kernel.numel() * example.output.numel()
    met = sum(int(example.active(place).sum()) for place in np.ndindex(*example.output.shape))
    lr = sum(phase.weight.numel() * m.numel() for phase, m in zip(example.phases, example.maps, strict=True))
    return (
        f"Figure 6 takes {products:,} products, of which {met} meet an LR pixel and {products - met} a zero. "
        f"Figure 7 takes {lr} for the same image, of which {lr - met} meet a zero, all of them on the border."
    )


STUDY = Study("figures", "The note's figures, computed", __doc__, compute, draw, ())
