"""The study of training: the pairs are equal at the start, and its distances are what they are said to be."""

import numpy as np
import pytest
import torch

from subpixel.geometry import axes
from subpixel.kernels import transposed_to_lr
from subpixel.studies import training
from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Result
from subpixel.studies.training import STUDY
from subpixel.studies.training.pairs import (
    BIASES_6,
    FREE_5,
    FREE_6,
    MAPPED_5,
    MAPS,
    RADIUS,
    networks,
    same_gradients,
    to_lr,
    zero_taps,
)
from subpixel.training.loop import soap


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return STUDY.compute(Bench(quick=True, samples=Samples(), folder=tmp_path_factory.mktemp("training")))


def test_every_check_holds(result: Result) -> None:
    assert len(result.checks) == 5
    assert [check for check, holds in result.checks.items() if not holds] == []


@pytest.mark.parametrize("layers", [FREE_6, FREE_5, MAPPED_5, BIASES_6])
def test_a_pair_is_equal_at_the_start(layers: str) -> None:
    """PyTorch's transposed convolution is the oracle; the other layer of the same function follows it."""
    transposed, other = networks(layers, 0, torch.float64)
    assert type(transposed[-1]) is torch.nn.ConvTranspose2d
    assert transposed[-1].weight.shape[-1] == int(layers[0])
    x = torch.rand(2, 1, 9 + 2 * RADIUS, 7 + 2 * RADIUS, dtype=torch.float64)
    expected = transposed(x)
    assert expected.shape == (2, 1, 18, 14)
    assert torch.allclose(other(x), expected, rtol=0, atol=1e-14)
    with torch.no_grad():
        other[-1].weight.copy_(other[-1].weight.flip(-1))
    assert not torch.allclose(other(x), expected, rtol=0, atol=1e-3)


def test_zero_taps_are_the_distance_from_the_nearest_transposed_convolution() -> None:
    """Against least squares over all kernels of 5x5."""
    kernels = torch.eye(25, dtype=torch.float64).reshape(25, 1, 5, 5)
    family = torch.stack([transposed_to_lr(k[None], axes((5, 5), 2)).flatten() for k in kernels], dim=1)
    lr = torch.randn(MAPS, 36, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    zeros = zero_taps(5)  # (phases, maps, 3, 3)
    assert int(zeros.sum()) == MAPS * (36 - 25)
    for index in range(MAPS):
        nearest = family.numpy() @ np.linalg.lstsq(family.numpy(), lr[index].numpy(), rcond=None)[0]
        distance = float(np.linalg.norm(lr[index].numpy() - nearest))
        assert abs(distance - float(lr[index, zeros[:, index].flatten()].norm())) < 1e-12


def test_an_optimizer_of_matrices_does_not_commute() -> None:
    """What the check of the elementwise ones must be able to tell."""
    assert same_gradients(soap, 1e-3) > 1e-5


def test_a_bias_for_the_image_is_one_for_each_phase() -> None:
    transposed, _ = networks(BIASES_6, 0, torch.float32)
    weight, bias = to_lr(transposed[-1])
    assert (tuple(weight.shape), tuple(bias.shape)) == ((4, MAPS, 3, 3), (4,))
    assert set(bias.tolist()) == set(transposed[-1].bias.tolist())


def test_free_zeros_part_and_mapped_ones_do_not(result: Result) -> None:
    """The rows say the same as the checks, for losses as for weights."""
    for row in result.table:
        parts = row["layers"] in {FREE_5, BIASES_6} or row["optimizer"] == "SOAP"
        limit = 1e-12 if row["precision"] == "float64" else 1e-4
        assert (float(row["apart at the end, largest"]) > limit) == parts
        assert (float(row["losses apart, largest"]) > limit) == parts


def test_what_findings_say_of_losses_and_distances() -> None:
    """A distance that grows as the square root of the steps; a second network with a tenth less loss."""
    steps = np.unique(np.geomspace(1, 400, 25).round())
    grown = {"steps": steps, "apart": 1e-9 * np.sqrt(steps)}
    assert abs(training._growth(grown) - 0.5) < 1e-12
    losses = np.stack([np.ones(40), np.full(40, 0.9)])
    trials = [{"losses": losses * scale} for scale in (1, 2, 3)]
    assert training._against(trials) == "less (-10.0%, -10.0%, -10.0%)"
    losses[1, 5] = 1.5
    assert training._losses_apart({"losses": losses}) == 0.5


def test_pictures_say_what_they_show(result: Result) -> None:
    for picture in STUDY.draw(result):
        assert len(picture.caption) > 50
        assert all(axes_.get_xlabel() for axes_ in picture.figure.axes)
        picture.figure.draw_without_rendering()
