"""Guards in a rewritten forward: a call that the recording does not cover is an error, not a wrong result.

A guard is a part of the model that the user takes home, so it knows nothing of the recording.
"""

import torch
from torch.fx.node import has_side_effect


class OtherBranchError(RuntimeError):
    """A call for which a rewritten forward has no code."""


@has_side_effect
def require(value: object, expected: object, where: str) -> None:
    """Raise `OtherBranchError` unless `value` is what it was in the example.

    Args:
        value: what Python branched on when the forward was recorded.
        expected: the same in the example.
        where: the class of the rewritten module, for the error.
    """
    if isinstance(value, torch.Tensor) and value.numel() == 1 and isinstance(expected, int | float):
        value = value.item()  # `torch.jit.trace` has such tensors for sizes, too
    if isinstance(value, torch.Tensor) or value != expected:
        got = type(value).__name__ if isinstance(value, torch.Tensor) else repr(value)
        raise OtherBranchError(
            f"a rewritten {where} must be called as with the example inputs, where a value that it branches "
            f"on was {expected!r}; got {got}. Rewrite the model with example inputs of this kind."
        )
