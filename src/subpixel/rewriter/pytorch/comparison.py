"""Two runs of a model, compared: all that it returns, whatever the structure."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from subpixel.measure.difference import relative
from subpixel.rewriter.pytorch.precision import bound, doubled

_ONE_AT_A_TIME = threading.RLock()  # all threads draw their random numbers from one generator


def run_model(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], seed: int) -> Any:
    """Return what a model returns for the same random numbers and for copies of the inputs.

    Copies, since the model may write to its inputs.
    """
    args, kwargs = clone_arguments((args, dict(kwargs)))
    with _ONE_AT_A_TIME, torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        return model(*args, **kwargs)


def clone_arguments(arguments: Any) -> Any:
    """Return the arguments of a call with tensors of their own."""
    return tree_map(lambda value: value.detach().clone() if isinstance(value, Tensor) else value, arguments)


def difference(result: Any, expected: Any) -> float:
    """Return the largest difference among all tensors, each relative to the largest value of its tensor.

    It is infinite where the results differ in anything but the values of tensors and of fractions.
    """
    return max((error for error, _ in differences(result, expected)), default=0.0)


def differences(
    result: Any, expected: Any, *, ignore_integers: bool = False
) -> Iterator[tuple[float, float]]:
    """Yield the relative difference of each value in two results, and the bound of its precision.

    Args:
        result: of one model.
        expected: of the other one.
        ignore_integers: see `relative`.
    """
    (found, found_structure), (wanted, structure) = tree_flatten(result), tree_flatten(expected)
    if found_structure != structure:
        yield float("inf"), 0.0
        return
    for ours, theirs in zip(found, wanted, strict=True):
        if hasattr(theirs, "__dict__") and not isinstance(theirs, Tensor) and type(ours) is type(theirs):
            yield from differences(vars(ours), vars(theirs), ignore_integers=ignore_integers)
        else:  # all but an output class of somebody's own
            yield _of_leaves(ours, theirs, ignore_integers), bound(theirs)


def _of_leaves(a: Any, b: Any, ignore_integers: bool) -> float:
    if type(a) is not type(b) or (isinstance(a, Tensor) and a.dtype != b.dtype):
        return float("inf")
    if isinstance(a, Tensor):
        return relative(_array(a), _array(b), ignore_integers=ignore_integers)
    if isinstance(a, float):
        return relative(np.asarray(a), np.asarray(b))
    return 0.0 if a == b else float("inf")


def _array(x: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = doubled(x).detach().cpu().numpy()  # NumPy has no bfloat16
    return array
