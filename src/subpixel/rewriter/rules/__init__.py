"""The rules, a file each: an identity between layers, where it holds, and what it gives.

Each file starts with its identity in symbols, for one axis: axes do not interact, and channels, groups and
biases go along. An index outside its array reads 0. The letters are the same everywhere:

    x, y            input and output
    c, w, k         taps of a convolution, taps of a transposed convolution, how many there are
    r, d            factor or stride, dilation
    low, high       zeros before and after the input of a convolution
    reach           d*(k - 1), the pixels from the first tap to the last
    p, extra        padding and output_padding of a transposed convolution

    convolution             y[h] = sum of c[t] * x[h + d*t - low] over t
    transposed convolution  y[h] = sum of w[t] * x[n] over n*r + d*t = h + p
    shuffle                 y[m*r + f] = x_f[m] for each phase f < r
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from subpixel.rewriter.layers import Chain


@dataclass(frozen=True)
class Rule:
    """An identity between chains of layers.

    Attributes:
        name: for the report.
        pattern: a regular expression over the names of the layers in a row, a space between them.
        check: returns the reason why a chain of this pattern must be kept, or None.
        rewrite: returns the equal chains by the name of their form.
        concerns: whether a chain of this pattern is worth a line in the report.
    """

    name: str
    pattern: str
    check: Callable[[Chain], str | None]
    rewrite: Callable[[Chain], dict[str, Chain]]
    concerns: Callable[[Chain], bool] = lambda _: True

    def matches(self, chain: Chain) -> bool:
        """Return whether the whole chain is of the pattern, and of concern."""
        names = " ".join(type(layer).__name__ for layer in chain)
        return re.fullmatch(self.pattern, names) is not None and self.concerns(chain)
