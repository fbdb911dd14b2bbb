"""The study of residual networks with branches in both spaces."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle
from torch.utils.flop_counter import FlopCounterMode

from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Result
from subpixel.studies.lab.super_resolution import SuperResolution
from subpixel.studies.residual import NETWORKS, added_by_branches, compute, draw, measure
from subpixel.studies.residual.network import BLOCKS, HIDDEN, Block, Residual, cost


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The quick study."""
    return compute(Bench(quick=True, samples=Samples(), folder=tmp_path_factory.mktemp("trials")))


@pytest.fixture
def network() -> Residual:
    """A network of both branches whose layers are all of ordinary size."""
    network = Residual(8)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


def branches(block: Block, features: Tensor) -> Iterator[Tensor]:
    """What the LR and the HR branch of a block give, by convolutions in their spaces."""
    first, _, second = block["LR"]
    yield conv2d(conv2d(features, first.to_lr, first.bias).relu(), second.to_lr, second.bias)
    first, _, second = block["HR"]
    hidden = conv2d(pixel_shuffle(features, 2), first.within_hr, first.bias).relu()
    yield pixel_unshuffle(conv2d(hidden, second.within_hr, second.bias)[..., 2:-2, 2:-2], 2)


def test_a_block_adds_convolutions_in_both_spaces(network: Residual) -> None:
    """In float64; without a branch that is cut."""
    block = network.blocks[0].double()
    assert isinstance(block, Block)
    features = torch.randn(2, 16, 9, 10).double()
    lr, hr = branches(block, features)
    kept = features[..., 2:-2, 2:-2]
    assert min(lr.abs().max(), hr.abs().max()) > 0.1
    for cut, expected in (
        ((), kept + lr + hr),
        ({"LR"}, kept + hr),
        ({"HR"}, kept + lr),
        (("LR", "HR"), kept),
    ):
        block.cut = cut
        torch.testing.assert_close(block(features), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("in_hr", [0, 4, 16])
def test_the_cost_is_what_pytorch_counts(in_hr: int) -> None:
    """Against PyTorch's counter, on ordinary layers of the same shapes; the same for all networks."""
    with torch.device("meta"):
        lr, hr, image = torch.zeros(1, 16, 10, 10), torch.zeros(1, 4, 20, 20), torch.zeros(1, 1, 10, 10)
        with FlopCounterMode(display=False) as counter:
            nn.Conv2d(1, 16, 5, padding=2)(image)
            for _ in range(BLOCKS):
                for features, hidden in ((lr, HIDDEN - in_hr), (hr, in_hr)):
                    if hidden:
                        maps = features.shape[1]
                        inner = nn.Conv2d(maps, hidden, 3, padding=1)(features)
                        nn.Conv2d(hidden, maps, 3, padding=1)(inner)
            nn.Conv2d(16, 4, 3, padding=1)(lr)
    assert counter.get_total_flops() == 2 * 100 * cost(in_hr)
    assert cost(in_hr) == cost(0)


def test_what_branches_add_is_measured(network: Residual) -> None:
    """The root of the mean square, against a direct computation for the first block."""
    plane = torch.rand(1, 1, 24, 25)
    with torch.no_grad():
        ratios = added_by_branches(network, lambda: float(network(plane).mean()))
        features = network.first(plane - 0.5)
        expected = [float(each.square().mean().sqrt()) for each in branches(network.blocks[0], features)]
        size = float(features.square().mean().sqrt())
    assert ratios.shape == (BLOCKS, 2)
    assert ratios[0] == pytest.approx(np.array(expected) / size, rel=1e-4)
    alone = Residual(0)
    lr, hr = added_by_branches(alone, lambda: float(alone(plane).mean().detach())).T
    assert (lr > 0).all()
    assert (hr == 0).all()


def test_a_cut_is_undone(network: Residual) -> None:
    """The PSNR without a branch is that of one that gives zero; afterwards the network is whole again."""
    task = SuperResolution(Samples(), 2)
    (name,) = task.psnr(network, network.radius)
    whole = measure(task, network, name)
    without = measure(task, network, name, [(1, "HR")])
    assert measure(task, network, name) == whole
    for parameter in network.blocks[1]["HR"][-1].parameters():
        nn.init.zeros_(parameter)
    assert without != whole
    assert measure(task, network, name) == pytest.approx(without, abs=1e-3)


def test_the_quick_study(result: Result) -> None:
    """What must hold holds; each network has its two seeds; what is not there is not missed."""
    assert result.checks
    assert all(result.checks.values()), result.checks
    assert [(row["network"], row["seed"]) for row in result.table] == [
        (network, seed) for network in NETWORKS for seed in (0, 1)
    ]
    for row in result.table:
        for space in ("LR", "HR"):
            assert (row[f"hidden maps, {space}"] == 0) == (row[f"lost without {space}, dB"] == 0)
    assert (result.arrays["added"] > 0).all()


def test_the_pictures_say_what_they_show(result: Result) -> None:
    """Each has a caption, and each axis a label."""
    pictures = draw(result)
    assert [picture.name for picture in pictures] == ["psnr", "branches"]
    for picture in pictures:
        assert len(picture.caption) > 40
        for axes in picture.figure.axes:
            assert axes.get_xlabel()
    assert all(axes.get_ylabel() for axes in pictures[1].figure.axes)
    labels = pictures[0].figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == [*NETWORKS]
