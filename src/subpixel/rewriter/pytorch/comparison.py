"""Two runs of a model, compared: all that it returns, whatever the structure."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from subpixel.measure.difference import relative

_ONE_AT_A_TIME = threading.RLock()  # all threads draw their random numbers from one generator


def run_model(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], seed: int) -> Any:
    """Return what a model returns for the same random numbers and for copies of the inputs.

    Copies, since the model may write to its inputs.
    """
    args, kwargs = copied((args, dict(kwargs)))
    with _ONE_AT_A_TIME, torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        return model(*args, **kwargs)


def copied(arguments: Any) -> Any:
    """Return the arguments of a call with tensors of their own."""
    return tree_map(lambda value: value.detach().clone() if isinstance(value, Tensor) else value, arguments)


def difference(result: Any, expected: Any, *, ignore_integers: bool = False) -> float:
    """Return the largest difference among all tensors, each relative to the largest value of its tensor.

    It is infinite where the results differ in anything but the values of tensors and of fractions.

    Args:
        result: of one model.
        expected: of the other one.
        ignore_integers: see `relative`.
    """
    (found, given), (wanted, structure) = tree_flatten(result), tree_flatten(expected)
    if given != structure:
        return float("inf")
    pairs = zip(found, wanted, strict=True)
    return max((_of_leaves(a, b, ignore_integers) for a, b in pairs), default=0.0)


def _of_leaves(a: Any, b: Any, ignore_integers: bool) -> float:
    if type(a) is not type(b) or (isinstance(a, Tensor) and a.dtype != b.dtype):
        return float("inf")
    if isinstance(a, Tensor):
        return relative(_array(a), _array(b), ignore_integers=ignore_integers)
    if isinstance(a, float):
        return relative(np.asarray(a), np.asarray(b))
    if hasattr(a, "__dict__"):  # an output class of somebody's own
        return difference(vars(a), vars(b), ignore_integers=ignore_integers)
    return 0.0 if a == b else float("inf")


def _array(x: Tensor) -> NDArray[Any]:
    """NumPy has no bfloat16."""
    array: NDArray[Any] = (x.double() if x.is_floating_point() else x).detach().cpu().numpy()
    return array
