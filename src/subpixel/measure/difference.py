"""How far a result is from what it must be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def relative(result: NDArray[Any], expected: NDArray[Any], *, ignore_integers: bool = False) -> float:
    """Return the largest absolute difference, divided by the largest absolute value expected.

    Args:
        result: an array of any type, also complex.
        expected: what the result must be.
        ignore_integers: whether integers count as equal. Some are choices, for example an argmax, and
            rounding may turn a choice over.

    Returns:
        The difference; infinity where the shapes differ, or where only one array is infinite or not a number.

    Example:
        >>> relative(np.array([1.0, 2.5]), np.array([1.0, 2.0]))
        0.25
    """
    if result.shape != expected.shape:
        return float("inf")
    if ignore_integers and expected.dtype.kind in "biu":
        return 0.0
    result, expected = (array.astype(np.result_type(array, np.float64)) for array in (result, expected))
    finite = np.isfinite(expected)
    if not np.array_equal(result[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    # Where all that is expected is zero, the smallest normal number: any difference is then a large one.
    largest = np.abs(expected[finite]).max(initial=np.finfo(np.float64).tiny)
    error = np.abs(result[finite] - expected[finite]).max(initial=0) / largest
    return float(np.nan_to_num(error, nan=np.inf, posinf=np.inf))
