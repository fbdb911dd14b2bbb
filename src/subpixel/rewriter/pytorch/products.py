"""Nearest resize and convolution by shared products: `functional.resize_conv`, strip by strip."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from subpixel.functional import resize_conv

STRIP = 2**22  # bytes of maps at a time, to stay in the cache
COLUMNS = 512  # at least, for a matrix product to be worth its start


class SharedResizeConv(nn.Module):
    """Convolve a nearest resize by three taps an axis: three products an axis, whatever the factor.

    Args:
        products: (3**d, c_out, c_in), of `kernels.resize_conv_to_products`.
        bias: (c_out,) or None.
        upscale_factors: of each spatial axis, from 2.
    """

    def __init__(self, products: Tensor, bias: Tensor | None, upscale_factors: Sequence[int]) -> None:
        super().__init__()
        self.products = nn.Parameter(products.contiguous(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.upscale_factors = tuple(upscale_factors)

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, c_out, *(n * r)) for (batch, c_in, *(n + 2)), which is padded already."""
        if self._plain(x):
            return self._in_strips(x)
        return resize_conv(x, self.products, self.bias, self.upscale_factors)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"upscale_factors={self.upscale_factors}"

    def _plain(self, x: Tensor) -> bool:
        """Whether nothing but numbers is wanted: no gradient, no recording, no other precision."""
        learns = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *self.parameters()))
        recorded = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None  # noqa: SLF001
        mapped = torch._C._functorch.is_functorch_wrapped_tensor(x)  # noqa: SLF001 (there is no public way)
        special = learns or recorded or mapped or torch.is_autocast_enabled("cpu")
        return x.device.type == "cpu" and not special

    def _in_strips(self, x: Tensor) -> Tensor:
        """The same, through the same memory again and again."""
        batch, c_in, *padded = x.shape
        sizes, count, c_out = [size - 2 for size in padded], *self.products.shape[:2]
        row = count * batch * max(c_in, c_out) * prod(sizes[1:]) * x.element_size()
        rows = min(sizes[0], max(1, STRIP // row, COLUMNS // prod(sizes[1:])))
        pairs = (n for pair in zip(sizes, self.upscale_factors, strict=True) for n in pair)
        blocks = x.new_empty(batch, c_out, *pairs)
        memory = [x.new_empty(count * batch * c * rows * prod(sizes[1:])) for c in (c_in, c_out)]
        for start in range(0, sizes[0], rows):
            size = [min(rows, sizes[0] - start), *sizes[1:]]
            operands, terms = (
                part[: count * batch * c * prod(size)].view(*[3] * len(size), batch, c, *size)
                for part, c in zip(memory, (c_in, c_out), strict=True)
            )
            _differences(x.narrow(2, start, size[0] + 2), operands, len(size))
            self._multiply(operands, terms)
            _add(terms, blocks.narrow(2, start, size[0]), 3)
        return blocks.view(batch, c_out, *(n * r for n, r in zip(sizes, self.upscale_factors, strict=True)))

    def _multiply(self, operands: Tensor, terms: Tensor) -> None:
        count, c_out, c_in = self.products.shape
        batch = operands.shape[len(self.upscale_factors)]
        matrices, results = operands.view(count, batch, c_in, -1), terms.view(count, batch, c_out, -1)
        for index in range(batch):
            torch.bmm(self.products, matrices[:, index], out=results[:, index])
        if self.bias is not None:  # every output has the middle term once
            results[count // 2] += self.bias[:, None]


def _differences(x: Tensor, out: Tensor, ndim: int) -> None:
    """How the neighbours along each axis differ from the pixels."""
    low, pixels, high = (x.narrow(-ndim, start, x.shape[-ndim] - 2) for start in range(3))
    if ndim > 1:
        for each, part in zip((low - pixels, pixels, high - pixels), out, strict=True):
            _differences(each, part, ndim - 1)
        return
    torch.sub(low, pixels, out=out[0])
    out[1].copy_(pixels)
    torch.sub(high, pixels, out=out[2])


def _add(terms: Tensor, blocks: Tensor, axis: int) -> None:
    """Add the terms of each phase, which lies along this axis of the blocks and every one behind the next."""
    low, pixels, high = terms
    *between, last = range(1, blocks.shape[axis])
    if axis + 1 == blocks.ndim:
        torch.add(low, pixels, out=blocks.select(axis, 0))
        torch.add(high, pixels, out=blocks.select(axis, last))
        for phase in between:
            blocks.select(axis, phase).copy_(pixels)
        return
    _add(low + pixels, blocks.select(axis, 0), axis + 1)
    _add(high + pixels, blocks.select(axis, last), axis + 1)
    for phase in between:
        _add(pixels, blocks.select(axis, phase), axis + 1)
