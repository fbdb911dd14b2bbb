"""The study of checkerboards: the measure against NumPy's Fourier transform, the theory against PyTorch."""

import numpy as np
import pytest
import torch

from subpixel.studies.checkerboard import (
    FLAT,
    ICNR,
    LAYERS,
    ORDINARY,
    RESIZE,
    STUDY,
    generator,
    pattern,
    phase_sums,
    stride_energy,
)
from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Result


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return STUDY.compute(Bench(quick=True, samples=Samples(), folder=tmp_path_factory.mktemp("trials")))


def test_every_check_holds(result) -> None:
    """The laws that the page prints."""
    assert len(result.checks) == 5
    assert all(result.checks.values()), result.checks


def test_only_equal_phases_start_flat(result) -> None:
    """The claim of ICNR and of resize-convolution; all others have a pattern that one would see."""
    for name in LAYERS:
        before = result.arrays[f"pattern, {name}"][:, 0]
        assert (before < FLAT).all() if name in {ICNR, RESIZE} else (before > 1).all()
    assert (result.arrays[f"pattern, {RESIZE}"] < FLAT).all()
    # The first steps of training part the phases again, from zero.
    assert (result.arrays[f"pattern, {ICNR}"][:, -1] > FLAT).all()
    assert (result.arrays[f"pattern, {ICNR}"][:, -1] < result.arrays[f"pattern, {ORDINARY}"][:, -1]).all()


@pytest.mark.parametrize("r", [2, 3])
def test_the_energy_is_the_power_at_the_strides_frequencies(r) -> None:
    """By NumPy's Fourier transform of each block; a shorter period is not counted."""
    side = 8 * r
    plane = np.random.default_rng(0).random((3 * side + 5, 2 * side + 1))
    expected = []
    for y in range(0, 3 * side, side):
        for x in range(0, 2 * side, side):
            power = np.abs(np.fft.fft2(plane[y : y + side, x : x + side]) / side**2) ** 2
            expected.append(power[::8, ::8].sum() - power[0, 0])
    assert np.isclose(stride_energy(plane, r), np.mean(expected), rtol=1e-12)
    other = np.cos(2 * np.pi * 3 * np.arange(side) / side)  # 3/8 of the stride's frequency
    assert stride_energy(np.tile(other, (side, 1)), r) < 1e-20


@pytest.mark.parametrize("name", LAYERS)
def test_the_phase_sums_are_those_of_pytorchs_output(name) -> None:
    """On a constant map of each channel alone, in the middle, by the layer itself; unequal maps matter."""
    r, make = LAYERS[name]
    layer = make(3).double()
    with torch.no_grad():
        maps = torch.eye(3, dtype=torch.float64)[:, :, None, None].expand(-1, -1, 5, 5)
        output = layer(maps) - layer(torch.zeros_like(maps))
        expected = output[:, 0, 2 * r : 3 * r, 2 * r : 3 * r].flatten(1).T
        assert torch.allclose(phase_sums(layer, r), expected, rtol=0, atol=1e-12)


def test_kernels_of_different_phases_with_equal_sums_are_flat() -> None:
    """Flat if and only if the sums are equal, whatever the kernels: a pattern before and after."""
    network = generator(ORDINARY, 0).double()
    layer = network[4]
    assert pattern(network, 2) > 1
    with torch.no_grad():
        layer.bias.fill_(0.1)
        sums = layer.weight.sum((2, 3), keepdim=True)
        layer.weight += (sums.mean(0) - sums) / 9
    assert pattern(network, 2) < 1e-9
    assert float(layer.weight.detach().var(0).min()) > 1e-6
    with torch.no_grad():
        layer.bias[1] += 0.1
    # One of four phases is 25.5 grey levels higher.
    assert pattern(network, 2) == pytest.approx(25.5 * (3 / 16) ** 0.5, rel=1e-9)


def test_a_network_reads_what_it_says() -> None:
    """Unpadded: h + 8 pixels give r*h; the features of a seed are the same for all layers."""
    features = []
    for name, (r, _) in LAYERS.items():
        network = generator(name, 1)
        assert network(torch.zeros(1, 1, 15, 13)).shape == (1, 1, 7 * r, 5 * r)
        features.append(torch.cat([parameter.flatten() for parameter in network[:4].parameters()]))
    assert all(torch.equal(feature, features[0]) for feature in features)


def test_pictures_are_drawn(result) -> None:
    """Three pictures with captions; axes with ticks have labels."""
    pictures = STUDY.draw(result)
    assert [picture.name for picture in pictures] == ["patterns", "curves", "details"]
    for picture in pictures:
        assert len(picture.caption) > 40
        picture.figure.draw_without_rendering()
    for axis in pictures[1].figure.axes:
        assert axis.get_xlabel()
        assert axis.get_ylabel()
