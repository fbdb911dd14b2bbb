"""The vocabulary of choices: what a site may become."""

from dataclasses import dataclass
from typing import Literal

from subpixel.rewriter.layers import (
    Chain,
    Convolution,
    Pad,
    Pointwise,
    Resize,
    ResizeConvolution,
    Shuffle,
    Split,
    UnshuffledConvolution,
)

ORIGINAL = "original"  # the site's own layers: only the memory format changes
PRODUCTS = "products"  # of `ResizeConvolution`, whose blocks have a layout of their own in memory
UNSHUFFLED = "unshuffled"  # of `UnshuffledConvolution`, which ONNX writes for inputs of one size

# All that the rules give, by name.
FORMS = {
    "transposed": "one transposed convolution",
    "aligned": "an LR convolution and a shuffle that needs no crop at the start",
    "compact": "an LR convolution of the fewest taps, a shuffle and a crop",
    "split": "one small convolution for each phase",
    PRODUCTS: "a resize and a convolution that share their products among the phases",
    "depthwise": "a depthwise LR convolution and a shuffle",
    "dropped": "nothing: the site changes nothing",
    UNSHUFFLED: "an unshuffle and a convolution of stride 1",
}
IN_LR_SPACE = (Convolution, ResizeConvolution, Split, UnshuffledConvolution, Shuffle, Pad, Pointwise)

MemoryFormat = Literal["contiguous", "channels last"]


@dataclass(frozen=True)
class Choice:
    """What one site may become.

    Attributes:
        form: a name of `FORMS`, `ORIGINAL`, or the form of `KEPT`.
        memory_format: the one to compute in; None is the one that the input has.
    """

    form: str
    memory_format: MemoryFormat | None = None

    def __str__(self) -> str:
        """Return the name in the report and in the cache."""
        return self.form if self.memory_format is None else f"{self.form}, {self.memory_format}"


KEPT = Choice("kept")  # the site as it is


def in_lr_space(chain: Chain) -> bool:
    """Return whether a chain has neither a transposed convolution nor a resize nor an insertion of zeros."""
    return all(isinstance(layer, IN_LR_SPACE) for layer in chain)


def gathered(chain: Chain) -> Chain:
    """Return an equal chain whose pointwise functions stand side by side, where they see the fewest pixels.

    A resize that repeats pixels commutes with a pointwise function f, which therefore goes before the resize;
    a shuffle too: f(shuffle(x)) = shuffle(f(x)), and f goes after it, where the other forms have it.
    """
    pointwise = tuple(layer for layer in chain if isinstance(layer, Pointwise))
    others = tuple(layer for layer in chain if not isinstance(layer, Pointwise))
    return (*pointwise, *others) if isinstance(chain[0], Pointwise | Resize) else (*others, *pointwise)
