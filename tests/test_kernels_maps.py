"""What all maps of weights have in common: linear, alike in every array library, clear in refusal."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch
from cases import Case, cases
from hypothesis import given, settings
from numpy.typing import NDArray

from subpixel import kernels
from subpixel.geometry import axes

# Each takes a case, for its geometry and groups, and a weight, as a transposed convolution has it.
MAPS: dict[str, Callable[[Case, Any], Any]] = {
    "aligned": lambda c, w: kernels.transposed_to_lr(w, c.geometry, form="aligned", groups=c.groups),
    "compact": lambda c, w: kernels.transposed_to_lr(w, c.geometry, form="compact", groups=c.groups),
    "strided": lambda c, w: kernels.strided_to_unshuffled(w, c.geometry, groups=c.groups),
    "sub-pixel": lambda c, w: kernels.sub_pixel_to_transposed(w, groups=c.groups),
    "back": lambda c, w: kernels.transposed_to_sub_pixel(w, groups=c.groups),
    "resize": lambda c, w: kernels.resize_conv_to_transposed(
        w, c.strides, dilation=[axis.dilation for axis in c.geometry], groups=c.groups
    ),
    "lift": lambda c, w: kernels.lift_conv(
        w, c.strides, padding=[axis.padding for axis in c.geometry], groups=c.groups
    ),
    "inverse": lambda c, w: kernels.lr_to_transposed(
        kernels.transposed_to_lr(w, c.geometry, groups=c.groups), c.strides, groups=c.groups
    ),
    "DCR": lambda c, w: kernels.crd_to_dcr(w, c.groups),
    "CRD": lambda c, w: kernels.dcr_to_crd(w, c.groups),
}


@pytest.mark.parametrize("name", MAPS)
@given(case=cases())
@settings(max_examples=100)
def test_linear(name: str, case: Case) -> None:
    """Exactly: on small integers nothing is rounded."""
    rng = np.random.default_rng(case.seed)
    u, v = (rng.integers(-9, 10, case.weight.shape).astype(np.float64) for _ in range(2))
    combined = MAPS[name](case, 3 * u - 5 * v)
    assert np.array_equal(combined, 3 * MAPS[name](case, u) - 5 * MAPS[name](case, v))


@pytest.mark.parametrize("name", MAPS)
@given(case=cases())
@settings(max_examples=100)
def test_identical_in_numpy_pytorch_and_the_strict_array_api(name: str, case: Case) -> None:
    """Bit for bit, and each library gets its own arrays back."""
    weight = case.weight.numpy()
    expected = MAPS[name](case, weight)
    from_torch = MAPS[name](case, case.weight)
    from_strict = MAPS[name](case, array_api_strict.asarray(weight))
    assert isinstance(expected, np.ndarray)
    assert isinstance(from_torch, torch.Tensor)
    assert isinstance(from_strict, array_api_strict._array_object.Array)
    assert np.array_equal(from_torch.numpy(), expected)
    assert np.array_equal(np.from_dlpack(from_strict), expected)


@given(case=cases())
@settings(max_examples=100)
def test_phases_are_linear(case: Case) -> None:
    rng = np.random.default_rng(case.seed)
    u, v = (rng.integers(-9, 10, case.weight.shape).astype(np.float64) for _ in range(2))
    split = (
        kernels.transposed_to_phases(w, case.geometry, groups=case.groups) for w in (3 * u - 5 * v, u, v)
    )
    for combined, first, second in zip(*split, strict=True):
        assert np.array_equal(combined.weight, 3 * first.weight - 5 * second.weight)


@given(case=cases())
@settings(max_examples=200)
def test_phases_are_identical_in_numpy_pytorch_and_the_strict_array_api(case: Case) -> None:
    def weights(array: Any) -> list[NDArray[np.float64]]:
        phases = kernels.transposed_to_phases(array, case.geometry, groups=case.groups)
        return [np.asarray(np.from_dlpack(phase.weight)) for phase in phases]

    array = case.weight.numpy()
    for others in zip(
        weights(array), weights(case.weight), weights(array_api_strict.asarray(array)), strict=True
    ):
        assert all(np.array_equal(others[0], other) for other in others)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.complex64])
@pytest.mark.parametrize("name", MAPS)
def test_keeps_the_dtype(name: str, dtype: type[np.generic]) -> None:
    case = Case(axes((3, 2), stride=2, padding=1, dilation=2), (3, 3), 1, 1, (2, 2), with_bias=False, seed=0)
    assert MAPS[name](case, case.weight.numpy().astype(dtype)).dtype == dtype


@pytest.mark.parametrize("name", MAPS)
def test_gradients_pass_through(name: str) -> None:
    case = Case(axes((3, 2), stride=2, padding=1, dilation=2), (3, 3), 1, 2, (2, 2), with_bias=False, seed=0)
    weight = case.weight.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: MAPS[name](case, w), weight)


def test_refuses_with_the_reason() -> None:
    weight = np.zeros((4, 6, 3, 3))
    with pytest.raises(
        ValueError, match=r"the weight must fit its geometry; got a kernel of \(3, 3\) for \(4, 4\)"
    ):
        kernels.transposed_to_lr(weight, axes((4, 4), stride=2))
    with pytest.raises(ValueError, match="the first axis of the weight must be a multiple of 3; got shape"):
        kernels.transposed_to_phases(weight, axes((3, 3), stride=2), groups=3)
    with pytest.raises(ValueError, match="the first axis of the weight must be a multiple of 9"):
        kernels.lr_to_transposed(weight, 3)
    with pytest.raises(ValueError, match="upscale_factor must be one integer or one an axis"):
        kernels.lift_conv(weight, (2, 2, 2), padding=1)
    with pytest.raises(ValueError, match="upscale_factor must be at least 1; got upscale_factor=0"):
        kernels.resize_conv_to_transposed(weight, 0)
    with pytest.raises(ValueError, match="dilation must be at least 1; got dilation=0"):
        kernels.resize_conv_to_transposed(weight, 2, dilation=0)
    with pytest.raises(TypeError, match="upscale_factor must be an integer; got"):
        kernels.lr_to_transposed(weight, 2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"the weight must have a spatial axis; got shape \(4, 3\)"):
        kernels.lr_to_transposed(np.zeros((4, 3)), 2)
    with pytest.raises(ValueError, match="must be a multiple of 0"):
        kernels.sub_pixel_to_transposed(weight, groups=0)
    with pytest.raises(ValueError, match="form must be one of"):
        kernels.transposed_to_lr(weight, axes((3, 3)), form="split")  # type: ignore[arg-type]


def test_importing_them_imports_no_pytorch() -> None:
    code = "import sys, subpixel.kernels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
