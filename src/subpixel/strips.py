"""A nearest resize and a convolution of three taps an axis, computed a strip of rows at a time on a CPU.

Written for speed: the maps between input and output are nine times the input in 2-D, so they are made strip
by strip in the same memory, which stays in the cache. Nothing here can be differentiated or recorded;
`subpixel.functional.resize_conv` knows when that does not matter.
"""

from collections.abc import Sequence
from math import prod

from subpixel.extras import needing

with needing("torch"):
    import torch
    from torch import Tensor

STRIP = 2**22  # bytes of maps at a time: what a core's second cache holds, twice over at most
COLUMNS = 512  # pixels of a strip, at least, for a matrix product to be worth its start


def resize_conv_in_strips(x: Tensor, products: Tensor, bias: Tensor | None, factors: Sequence[int]) -> Tensor:
    """Return what `subpixel.functional.resize_conv` returns for these upscale factors."""
    batch, c_in, *padded = x.shape
    sizes, (count, c_out, _) = [size - 2 for size in padded], products.shape
    pairs = [n for pair in zip(sizes, factors, strict=True) for n in pair]
    blocks = x.new_empty(batch, c_out, *pairs)  # (batch, c_out, n, r, n, r, ...): the result, unflattened
    rows = _rows(sizes, count * batch * max(c_in, c_out) * x.element_size())
    memory = [x.new_empty(count * batch * c * rows * prod(sizes[1:])) for c in (c_in, c_out)]
    for start in range(0, sizes[0], rows):
        strip = [min(rows, sizes[0] - start), *sizes[1:]]
        operands, terms = (
            part[: count * batch * c * prod(strip)].view(count, batch, c, prod(strip))
            for part, c in zip(memory, (c_in, c_out), strict=True)
        )
        thirds = [3] * len(strip)
        _write_differences(
            x.narrow(2, start, strip[0] + 2), operands.view(*thirds, batch, c_in, *strip), len(strip)
        )
        _multiply(operands, products, bias, terms)
        _write_sums(terms.view(*thirds, batch, c_out, *strip), blocks.narrow(2, start, strip[0]), 3)
    return blocks.view(batch, c_out, *(n * r for n, r in zip(sizes, factors, strict=True)))


def _rows(sizes: Sequence[int], pixel: int) -> int:
    """Return how many rows to do at a time where an LR pixel takes this many bytes; an input may be empty."""
    columns = prod(sizes[1:])
    rows = max(STRIP // max(1, pixel * columns), COLUMNS // max(1, columns))
    return max(1, min(sizes[0], rows))


def _write_differences(x: Tensor, operands: Tensor, ndim: int) -> None:
    """Write the pixels, and how their two neighbours differ from them, along each of the last axes."""
    low, pixels, high = (x.narrow(-ndim, start, x.shape[-ndim] - 2) for start in range(3))
    if ndim > 1:
        for part, operand in zip((low - pixels, pixels, high - pixels), operands, strict=True):
            _write_differences(part, operand, ndim - 1)
        return
    torch.sub(low, pixels, out=operands[0])
    operands[1].copy_(pixels)
    torch.sub(high, pixels, out=operands[2])


def _multiply(operands: Tensor, products: Tensor, bias: Tensor | None, terms: Tensor) -> None:
    for image in range(operands.shape[1]):
        torch.bmm(products, operands[:, image], out=terms[:, image])
    if bias is not None:
        terms[len(terms) // 2] += bias[:, None]  # the middle term, which every phase has once


def _write_sums(terms: Tensor, blocks: Tensor, axis: int) -> None:
    """Write each phase, the sum of its terms, to blocks (..., n, r, n, r, ...) whose first r is this axis."""
    low, pixels, high = terms
    *between, last = range(1, blocks.shape[axis])
    if axis + 1 == blocks.ndim:
        torch.add(low, pixels, out=blocks.select(axis, 0))
        torch.add(high, pixels, out=blocks.select(axis, last))
        for phase in between:
            blocks.select(axis, phase).copy_(pixels)
        return
    # Selecting a phase takes its axis away, so that the next one is where the next pixels were.
    _write_sums(low + pixels, blocks.select(axis, 0), axis + 1)
    _write_sums(high + pixels, blocks.select(axis, last), axis + 1)
    for phase in between:
        _write_sums(pixels, blocks.select(axis, phase), axis + 1)
