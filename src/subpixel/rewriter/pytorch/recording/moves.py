"""Up-sampling by moving pixels: shuffles and repetitions written with reshape, permute and expand.

No rule reads them, but a report that left them out would say that there is nothing to gain.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

MOVES = {
    "__getitem__", "broadcast_to", "contiguous", "expand", "expand_as", "flatten", "movedim", "permute",
    "repeat", "reshape", "swapaxes", "tile", "transpose", "unflatten", "unsqueeze", "view",
}  # fmt: skip
REASONS = {
    "fold": "no rule for overlapping patches that are summed",
    "shuffle": "it is written with reshape and permute; as nn.PixelShuffle it could be fused",
    "repeat": "it is written as a repetition; as nn.Upsample it could be fused",
}


class _Moved(NamedTuple):
    """The shape that a tensor had before a row of moves, and the most axes that it had on the way."""

    shape: torch.Size
    most: int


class Moves:
    """Follows tensors through the functions that only move or repeat values."""

    def __init__(self) -> None:
        self._moved: Any = WeakTensorKeyDictionary()

    def kind(self, name: str, args: Any, kwargs: Mapping[str, Any], result: Any) -> str | None:
        """Return what up-sampling a call completes, a key of `REASONS`, or None."""
        x = args[0] if args else None
        if not isinstance(x, Tensor) or not isinstance(result, Tensor):
            return None
        if name in ("fold", "col2im"):
            return "fold"
        if name == "repeat_interleave":
            axis = kwargs.get("dim", args[2] if len(args) > 2 else None)
            return "repeat" if axis is not None and axis % x.ndim > 1 else None
        # An index that drops pixels moves none.
        if name not in MOVES or (name == "__getitem__" and result.numel() != x.numel()):
            return None
        shape, most = self._moved.get(x, _Moved(x.shape, x.ndim))
        self._moved[result] = _Moved(shape, max(most, result.ndim))
        if result.ndim != len(shape) or most <= len(shape) or 0 in shape:
            return None
        return _kind(shape, result.shape, most)


def _kind(before: torch.Size, after: torch.Size, most: int) -> str | None:
    """Say what moves do that make one shape of another, with more axes on the way.

    All spatial axes but those of time must grow, where batch and channels do not: attention and windows
    reshape too.
    """
    if len(before) not in (3, 4, 5) or before[0] != after[0] or sorted(before) == sorted(after):
        return None
    grown = {axis for axis, (n, m) in enumerate(zip(before, after, strict=True)) if m > n > 1 and m % n == 0}
    other = {axis for axis, (n, m) in enumerate(zip(before, after, strict=True)) if m != n} - grown
    first, last = {1}, {len(before) - 1}  # where the channels may be
    if len(before) == 3:  # a signal, or an image whose pixels are in one axis
        channels, spatial = (first, last) if most == 4 else (last, first)
        fits = grown == spatial and other == channels
        return "shuffle" if fits and before.numel() == after.numel() else None
    end = len(before)
    for channels, spatial in ((first, {end - 2, end - 1}), (last, {end - 3, end - 2})):
        if spatial <= grown and not grown & channels:
            if other == channels and before.numel() == after.numel():
                return "shuffle"
            if not other:
                return "repeat"
    return None
