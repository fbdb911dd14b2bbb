"""What PyTorch's operator refuses, every form refuses: the same type of error, with the values named."""

from typing import Any

import pytest
import torch

from subpixel.functional import Form, conv_transpose

X = torch.ones(1, 4, 5, 5)
WEIGHT = torch.ones(4, 3, 3, 3)

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "output_padding": (
        {"stride": 2, "output_padding": 2},
        "output_padding must be smaller .*; got output_padding=2",
    ),
    "negative padding": ({"padding": -1}, "padding must be at least 0; got padding=-1"),
    "no stride": ({"stride": 0}, "stride must be at least 1"),
    "no dilation": ({"dilation": 0}, "dilation must be at least 1"),
    "too many strides": ({"stride": (1, 2, 3)}, "stride must be one integer or one an axis"),
    "no output left": ({"padding": 9}, "the output must have at least one pixel; got"),
    "no input": ({"x": X[..., :0]}, "the input must have at least one pixel"),
    "other channels": ({"x": X[:, :3]}, r"x must be \(batch, 4, 2 sizes\).* got \(1, 3, 5, 5\)"),
    "too few axes": ({"x": X[0, 0]}, r"got \(5, 5\)"),
    "too many axes": ({"x": X[None]}, r"got \(1, 1, 4, 5, 5\)"),
    "another bias": ({"bias": torch.ones(4)}, r"bias must be \(3,\); got \(4,\)"),
    "another dtype": ({"x": X.double()}, "dtype|type"),
    "no input channels": ({"x": X[:, :0], "weight": WEIGHT[:0]}, r"weight must have channels; got \(0, 3"),
    "no output channels": ({"weight": WEIGHT[:, :0]}, r"weight must have channels; got \(4, 0, 3, 3\)"),
    "no groups": ({"groups": 0}, "input channels must be a multiple of groups; got 4, groups=0"),
    "groups": ({"groups": 3}, "input channels must be a multiple of groups; got 4, groups=3"),
}


@pytest.mark.parametrize("form", ["aligned", "compact", "split"])
@pytest.mark.parametrize("bad", BAD)
def test_refuses_what_pytorch_refuses(bad: str, form: Form) -> None:
    arguments, message = BAD[bad]
    arguments = {"x": X, "weight": WEIGHT, **arguments}
    with pytest.raises(RuntimeError):
        torch.nn.functional.conv_transpose2d(
            arguments["x"], **{k: v for k, v in arguments.items() if k != "x"}
        )
    with pytest.raises(RuntimeError, match=message):
        conv_transpose(**arguments, form=form)


@pytest.mark.parametrize("form", ["transposed", "compact"])
@pytest.mark.parametrize("ndim", [0, 4])
def test_refuses_other_dimensions(ndim: int, form: Form) -> None:
    x, weight = torch.ones(1, 4, *[3] * ndim), torch.ones(4, 2, *[2] * ndim)
    with pytest.raises(RuntimeError, match="weight must have 1 to 3 spatial axes; got"):
        conv_transpose(x, weight, form=form)


def test_refuses_an_unknown_form() -> None:
    with pytest.raises(ValueError, match="got 'fast'"):
        conv_transpose(X, WEIGHT, form="fast")  # type: ignore[arg-type]
