"""The study of decoders: of equal size, of one function where it says so, and drawn."""

import numpy as np
import pytest
import torch

from subpixel.studies.autoencoder import LR, MAPPED, NAMES, STUDY, as_transposed, autoencoder
from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Result


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return STUDY.compute(Bench(quick=True, samples=Samples(), folder=tmp_path_factory.mktemp("trials")))


def test_every_check_holds(result) -> None:
    """The laws that the page prints."""
    assert len(result.checks) == 2
    assert all(result.checks.values()), result.checks


def test_decoders_are_of_equal_size(result) -> None:
    """Parameters of the first four within 0.2 %, operations of those that are said to have as many."""
    rows = {row["decoder"]: row for row in result.table}
    assert list(rows) == list(NAMES)
    parameters = {name: row["parameters"] for name, row in rows.items()}
    # Features of 2 * 16 * 9 weights and 16 biases; 16 * (16 + 1) pairs of maps, with 36 weights each.
    assert parameters[LR] == parameters["transposed"] == parameters[MAPPED] == 304 + 272 * 36
    assert (
        parameters["resize 5x5, wider"]
        == 304 + (16 * 23 + 23) * 25
        == pytest.approx(parameters[LR], rel=2e-3)
    )
    operations = {name: row["multiply-accumulates a digit"] for name, row in rows.items()}
    # A digit of 8x8 has a code of 2x2: 4 pixels of features, then 4 and 16 pixels of r**2 = 4 phases.
    assert operations[LR] == 4 * 288 + 9 * 4 * (4 * 256 + 16 * 16)
    assert operations[LR] == operations["transposed"] == operations["resize 3x3"]


def test_a_seed_gives_all_decoders_the_same_start() -> None:
    """All but the up-sampling layers: 3 + 1 convolutions with their biases."""
    networks = [list(autoencoder(name, 5).parameters())[:8] for name in NAMES]
    for parameters in networks[1:]:
        assert all(torch.equal(a, b) for a, b in zip(parameters, networks[0], strict=True))


def test_the_transposed_form_is_the_same_network() -> None:
    """In float64, by PyTorch's own transposed convolution; a kernel that is reversed is another network."""
    lr = autoencoder(LR, 3).double()
    transposed = as_transposed(lr)
    x = torch.rand(2, 1, 8, 12, dtype=torch.float64)
    assert torch.allclose(lr(x), transposed(x), rtol=0, atol=1e-12)
    assert isinstance(transposed[-1], torch.nn.ConvTranspose2d)
    transposed[-1].weight.data = transposed[-1].weight.flip(-1)
    assert not torch.allclose(lr(x), transposed(x), rtol=0, atol=1e-3)


def test_training_from_the_same_start_is_the_same(result) -> None:
    """In float32 too, over the few steps of a quick study; another start is not."""
    losses = {name: result.arrays[f"losses of {name}"] for name in NAMES}
    assert np.allclose(losses[MAPPED], losses[LR], rtol=1e-3)
    assert not np.allclose(losses["transposed"], losses[LR], rtol=1e-2)
    for curve in losses.values():
        assert (curve[:, -5:].mean(axis=1) < 0.8 * curve[:, 0]).all()


def test_pictures_are_drawn(result) -> None:
    """Both have captions, and every axis that has ticks has labels."""
    pictures = STUDY.draw(result)
    assert [picture.name for picture in pictures] == ["digits", "errors"]
    for picture in pictures:
        assert len(picture.caption) > 40
        picture.figure.draw_without_rendering()
        axes = picture.figure.axes
        assert all(axis.get_xlabel() or not axis.get_xticks().size or axis.get_ylabel() for axis in axes)
