"""The rules, a file each: which layers in a row, why not, and what equals them."""

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
        wanted: whether a chain of this pattern is worth a line in the report.
        check: gives the reason why a chain of this pattern must be kept, or None.
        rewrite: gives the equal chains by the name of their form.
    """

    name: str
    pattern: str
    check: Callable[[Chain], str | None]
    rewrite: Callable[[Chain], dict[str, Chain]]
    wanted: Callable[[Chain], bool] = lambda _: True

    def matches(self, chain: Chain) -> bool:
        """Whether the whole chain is of the pattern."""
        names = " ".join(type(layer).__name__ for layer in chain)
        return re.fullmatch(self.pattern, names) is not None and self.wanted(chain)
