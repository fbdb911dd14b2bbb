"""Zero insertion as people write it; what only looks like it is left alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_models import assert_same_function, forcibly, form, noise, seeded
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

EXAMPLES = (noise(1, 4, 5, 4),), (noise(2, 4, 6, 7),)
FORMS = ["transposed", "compact", "split", "original, channels last"]
Insert = Callable[[Tensor], Tensor]


def assigned(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    zeros = x.new_zeros(b, c, 2 * h, 2 * w)
    zeros[:, :, ::2, ::2] = x
    return zeros


def assigned_unevenly(x: Tensor) -> Tensor:
    zeros = x.new_zeros(x.shape[0], x.shape[1], 2 * x.shape[2] - 1, 3 * x.shape[3])
    zeros[..., ::2, ::3] = x
    return zeros


def assigned_to_a_list_of_sizes(x: Tensor) -> Tensor:
    zeros = x.new_zeros([x.size(0), x.size(1), x.size(2) * 2, x.size(3)])
    zeros[:, :, ::2] = x
    return zeros


def reshaped(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    x = F.pad(x.reshape(b, c, h, 1, w, 1), [0, 1, 0, 0, 0, 1])
    return F.pad(x.reshape(b, c, 2 * h, 2 * w), [1, 1, 1, 0])


INSERTIONS: list[Insert] = [assigned, assigned_unevenly, assigned_to_a_list_of_sizes, reshaped]


class Inserting(nn.Module):
    def __init__(self, insert: Insert) -> None:
        super().__init__()
        self.insert, self.conv = insert, nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.insert(x))


@pytest.mark.parametrize("insert", INSERTIONS)
@pytest.mark.parametrize("choice", FORMS)
def test_a_zero_insertion_is_found(insert: Insert, choice: str) -> None:
    model = seeded(Inserting(insert))
    changed, report = forcibly(model, EXAMPLES[0], form(choice))
    assert [record.was for record in report.sites] == ["zero insertion + convolution"]
    assert report.changed
    assert_same_function(changed, model, *EXAMPLES)


def shifted(x: Tensor) -> Tensor:
    zeros = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    zeros[:, :, 1::2, ::2] = x
    return zeros


def on_ones(x: Tensor) -> Tensor:
    ones = x.new_ones(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    ones[:, :, ::2, ::2] = x
    return ones


def interleaved(x: Tensor) -> Tensor:
    """Both halves of a pixel interleave."""
    both = x.new_zeros(*x.shape[:2], 2 * x.shape[2], x.shape[3])
    both[:, :, ::2] = x
    both[:, :, 1::2] = x.flip(1)
    return both


def assigned_and_scaled(x: Tensor) -> Tensor:
    zeros = x.new_zeros(*x.shape[:2], 2 * x.shape[2], x.shape[3])
    zeros[:, :, ::2] = x
    zeros.mul_(2).add_(1)
    return zeros


def read_before(x: Tensor) -> Tensor:
    zeros = x.new_zeros(*x.shape[:2], 2 * x.shape[2], x.shape[3])
    before = zeros.mean()
    zeros[:, :, ::2] = x
    return zeros + before


def some_channels(x: Tensor) -> Tensor:
    zeros = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    zeros[:, :2, ::2, ::2] = x[:, :2]
    return zeros


def a_frame(x: Tensor) -> Tensor:
    """Zeros beyond what a stride makes."""
    zeros = x.new_zeros(*x.shape[:2], 2 * x.shape[2] + 4, 2 * x.shape[3])
    zeros[:, :, : 2 * x.shape[2] : 2, ::2] = x
    return zeros


def channels_spread(x: Tensor) -> Tensor:
    zeros = x.new_zeros(x.shape[0], 2 * x.shape[1], 2 * x.shape[2], 2 * x.shape[3])
    zeros[:, ::2, ::2, ::2] = x
    return zeros[:, :4]


def another_precision(x: Tensor) -> Tensor:
    """The assignment rounds."""
    zeros = torch.zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3], dtype=torch.float32)
    zeros[:, :, ::2, ::2] = x
    return zeros.to(x.dtype)


def broadcast(x: Tensor) -> Tensor:
    zeros = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    zeros[:, :, ::2, ::2] = x[:, :1]
    return zeros


def padded_by_ones(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    x = F.pad(x.reshape(b, c, h, 1, w, 1), [0, 1, 0, 0, 0, 1], value=1.0)
    return x.reshape(b, c, 2 * h, 2 * w)


def padded_in_front(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    x = F.pad(x.reshape(b, c, h, 1, w, 1), [1, 0, 0, 0, 0, 1])
    return x.reshape(b, c, 2 * h, 2 * w)


def reshaped_otherwise(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    x = F.pad(x.reshape(b, c, h, 1, w, 1), [0, 1, 0, 0, 0, 1])
    return x.reshape(b, c, 4 * h, w)


def sized_by_another(x: Tensor) -> Tensor:
    """The zeros know more than what is put on them."""
    y = x.tanh() if x.shape[0] else x
    zeros = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    zeros[:, :, ::2, ::2] = y
    return zeros


def made_by_torch(x: Tensor) -> Tensor:
    zeros = torch.zeros(x.shape[0], x.shape[1], 2 * x.shape[2], 2 * x.shape[3], dtype=x.dtype)
    zeros[:, :, ::2, ::2] = x
    return zeros


LOOK_ALIKES: list[Insert] = [
    shifted, on_ones, interleaved, assigned_and_scaled, read_before, some_channels, a_frame, channels_spread,
    another_precision, broadcast, padded_by_ones, padded_in_front, reshaped_otherwise,
    sized_by_another, made_by_torch,
]  # fmt: skip


@pytest.mark.parametrize("insert", LOOK_ALIKES)
@pytest.mark.parametrize("choice", ["compact", "original, channels last"])
def test_what_only_looks_like_it_stays_right(insert: Insert, choice: str) -> None:
    model = seeded(Inserting(insert))
    changed, _ = forcibly(model, EXAMPLES[0], form(choice))
    assert_same_function(changed, model, *EXAMPLES)
