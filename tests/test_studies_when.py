"""The study of when to up-scale, and the networks of maps in both spaces that it is made with."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pixel_shuffle, pixel_unshuffle
from torch.utils.flop_counter import FlopCounterMode

from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.mixed import Maps, Mixed, MixedConv2d, cost, fitting, lift, operations
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Result
from subpixel.studies.when import FIXED, LEARNED, compute, draw
from subpixel.studies.when.search import BUDGET, DEPTHS, UNITS, Gates, Search

SURE = 100.0  # a logit


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The quick study."""
    torch.manual_seed(0)
    return compute(Bench(quick=True, samples=Samples(), folder=tmp_path_factory.mktemp("trials")))


def in_both_spaces(layer: MixedConv2d, lr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """What a mixed layer computes, by convolutions in the two spaces: LR maps, HR maps."""
    side = layer.to_lr.shape[-1]
    both = torch.cat((lr, pixel_unshuffle(hr, 2)), 1)
    lost = side // 2  # HR kernels reach half as far, so as many pixels of the HR maps are left over
    within = conv2d(hr, layer.within_hr)[..., lost:-lost, lost:-lost]
    lr_bias, hr_bias = layer.bias.split([len(layer.to_lr), len(layer.within_hr)])
    after_lr = conv2d(both, layer.to_lr, lr_bias)
    after_hr = pixel_shuffle(conv2d(lr, layer.to_hr), 2) + within + hr_bias[:, None, None]
    return after_lr, after_hr


@pytest.mark.parametrize("side", [3, 5])
def test_a_mixed_layer_works_in_both_spaces(side: int) -> None:
    """One LR convolution gives what convolutions in LR and in HR space give, in float64."""
    layer = MixedConv2d(Maps(3, 2), Maps(4, 3), side).double()
    nn.init.normal_(layer.bias)
    lr, hr = torch.randn(2, 3, 9, 8).double(), torch.randn(2, 2, 18, 16).double()
    expected_lr, expected_hr = in_both_spaces(layer, lr, hr)
    mixed = layer(torch.cat((lr, pixel_unshuffle(hr, 2)), 1))
    torch.testing.assert_close(mixed[:, :4], expected_lr, rtol=0, atol=1e-12)
    torch.testing.assert_close(pixel_shuffle(mixed[:, 4:], 2), expected_hr, rtol=0, atol=1e-12)
    with torch.no_grad():
        layer.within_hr[0, 0, 0, 0] += 1  # a wrong kernel is seen
    wrong = layer(torch.cat((lr, pixel_unshuffle(hr, 2)), 1))
    assert (pixel_shuffle(wrong[:, 4:], 2) - expected_hr).abs().max() > 0.1


def test_a_mixed_network_adds_to_the_bicubic_image() -> None:
    """With a last layer of zeros it is PyTorch's bicubic interpolation, away from the borders."""
    network = Mixed([Maps(2, 1), Maps(0, 2)])
    for parameter in network.layers[-1].parameters():
        nn.init.zeros_(parameter)
    plane = torch.rand(1, 1, 20, 18)
    spare = 2 * network.radius
    bicubic = interpolate(plane, scale_factor=2, mode="bicubic")[..., spare:-spare, spare:-spare]
    torch.testing.assert_close(network(plane), bicubic, rtol=0, atol=1e-5)


def test_operations_are_those_that_pytorch_counts() -> None:
    """Against PyTorch's counter, on the layers of the two spaces that a mixed layer stands for."""
    before, after = Maps(3, 2), Maps(5, 4)
    pixels = 10 * 10  # LR
    with torch.device("meta"):
        lr, hr = torch.zeros(1, before.lr, 10, 10), torch.zeros(1, before.hr, 20, 20)
        layers = [
            (nn.Conv2d(before.lr, after.lr, 3, padding=1), lr),
            (nn.ConvTranspose2d(before.lr, after.hr, 6, stride=2, padding=2), lr),
            (nn.Conv2d(before.hr, after.lr, 6, stride=2, padding=2), hr),
            (nn.Conv2d(before.hr, after.hr, 3, padding=1), hr),
        ]
        with FlopCounterMode(display=False) as counter:
            for layer, maps in layers:
                layer(maps)
    assert counter.get_total_flops() == 2 * pixels * operations(before, after)


def test_shares_cost_the_budget() -> None:
    """Networks of any shares are within 2 % of it, and have the shares to a map or two."""
    random = np.random.default_rng(0)
    for shares in random.random((8, DEPTHS)) ** 2:
        maps = fitting(list(shares), BUDGET)
        assert abs(cost(maps) / BUDGET - 1) < 0.02
        held = [4 * each.hr / each.channels for each in maps]
        assert np.abs(np.array(held) - shares).max() < 0.15
    assert all(each.hr == 0 for each in fitting([0] * DEPTHS, BUDGET))
    assert all(each.lr == 0 for each in fitting([1] * DEPTHS, BUDGET))


def decide(gates: Gates, on: Tensor) -> None:
    """Make each gate sure of itself."""
    with torch.no_grad():
        gates.logits.copy_(SURE * (2.0 * on - 1))


def test_a_search_expects_what_its_networks_cost() -> None:
    """With sure gates the cost of their network, otherwise the mean over drawn networks."""
    search = Search()
    assert float(search.operations().detach()) == pytest.approx(BUDGET, rel=0.06)  # where it begins

    def drawn(there: Tensor, in_hr: Tensor) -> int:
        maps = [Maps(int(4 * (there * (1 - hr)).sum()), int((there * hr).sum())) for hr in in_hr]
        return cost(maps)

    nn.init.normal_(search.there.logits, std=0.03)
    nn.init.normal_(search.in_hr.logits, std=0.03)
    with torch.no_grad():
        costs = [drawn(search.there.draw(), search.in_hr.draw()) for _ in range(1000)]
        error = np.std(costs) / len(costs) ** 0.5
        assert float(search.operations().detach()) == pytest.approx(np.mean(costs), abs=4 * error)
    there, in_hr = torch.rand(UNITS).round(), torch.rand(DEPTHS, UNITS).round()
    decide(search.there, there)
    decide(search.in_hr, in_hr)
    assert float(search.operations().detach()) == pytest.approx(drawn(there, in_hr), rel=1e-6)
    shares = [float((there * hr).sum() / there.sum()) for hr in in_hr]
    assert search.shares() == pytest.approx(shares, abs=1e-6)


def test_a_search_draws_networks_of_both_spaces() -> None:
    """With sure gates it computes what convolutions in the spaces that they choose compute."""
    search = Search().double()
    for layer in search.layers:
        nn.init.normal_(layer.bias)
    there = torch.tensor([1.0, 0, 1, 1, 0, 1, 1, 0])
    in_hr = torch.tensor([[0.0] * 8, [1.0] * 8, [1.0, 1, 0, 0, 1, 1, 0, 0], [0.0, 1] * 4])
    decide(search.there, there)
    decide(search.in_hr, in_hr)
    plane = torch.rand(1, 1, 22, 20).double()
    features = plane - 0.5
    spaces = [torch.zeros(0), *in_hr, torch.ones(1)]
    for depth, (layer, (before, after)) in enumerate(zip(search.layers, pairwise(spaces), strict=True)):
        outputs = conv2d(features, layer.free) + layer.bias.repeat_interleave(4)[:, None, None]
        for unit in range(len(after)):
            for other in range(len(before)):
                if after[unit] * before[other]:  # in HR space instead
                    ours, theirs = slice(4 * unit, 4 * unit + 4), slice(4 * other, 4 * other + 4)
                    outputs[:, ours] -= conv2d(features[:, theirs], layer.free[ours, theirs])
                    kernel = layer.within_hr[unit : unit + 1, other : other + 1]
                    in_hr_space = conv2d(pixel_shuffle(features[:, theirs], 2), kernel)[..., 1:-1, 1:-1]
                    outputs[:, ours] += pixel_unshuffle(in_hr_space, 2)
        features = (
            torch.relu(outputs) * there.repeat_interleave(4)[:, None, None] if depth < DEPTHS else outputs
        )
    spare = 2 * search.radius
    bicubic = interpolate(plane, scale_factor=2, mode="bicubic")[..., spare:-spare, spare:-spare]
    torch.testing.assert_close(search(plane), bicubic + pixel_shuffle(features, 2), rtol=0, atol=1e-5)


def test_gates_are_drawn_by_their_chances_and_learn() -> None:
    """The frequency of ones, zeros and ones alone, and a gradient that raises a chance where ones pay."""
    gates = Gates(3000, chance=0.3)
    drawn = gates.draw()
    assert set(drawn.detach().unique().tolist()) == {0.0, 1.0}
    assert float(drawn.detach().mean()) == pytest.approx(0.3, abs=4 * (0.21 / 3000) ** 0.5)
    assert torch.allclose(gates.chances().detach(), torch.tensor(0.3))
    (-drawn.sum()).backward()
    assert gates.logits.grad is not None
    assert (gates.logits.grad < 0).all()


def test_lifted_kernels_need_no_maps() -> None:
    """Where one side has no HR maps there is nothing to lift."""
    assert lift(torch.zeros(0, 2, 3, 3)).shape == (0, 8, 3, 3)
    assert lift(torch.zeros(2, 0, 3, 3)).shape == (8, 0, 3, 3)


def test_the_quick_study(result: Result) -> None:
    """What must hold holds; each network has two seeds and the budget; the answer names the best."""
    assert result.checks
    assert all(result.checks.values()), result.checks
    assert [(row["network"], row["seed"]) for row in result.table] == [
        (network, seed) for network in (*FIXED, LEARNED) for seed in (0, 1)
    ]
    for row in result.table:
        maps = [Maps(*(int(n) for n in each.split(" + "))) for each in str(row["maps, LR + HR"]).split(", ")]
        assert row["operations an LR pixel"] == cost(maps)
        assert abs(cost(maps) / BUDGET - 1) < 0.03
    psnr = {network: values.mean() for network, values in result.arrays.items() if network in FIXED}
    assert f"“{max(psnr, key=lambda network: psnr[network])}”" in result.findings[-1]
    courses = result.arrays["courses"]
    assert courses.shape == (2, 7, DEPTHS)
    assert np.allclose(courses[:, 0], 0.5)
    assert (courses[:, -1] != courses[:, 0]).all()


def test_the_pictures_say_what_they_show(result: Result) -> None:
    """Each has a caption, and each axis a label."""
    pictures = draw(result)
    assert [picture.name for picture in pictures] == ["shares", "psnr"]
    for picture in pictures:
        assert len(picture.caption) > 40
        for axes in picture.figure.axes:
            assert axes.get_xlabel()
    shares, psnr = (picture.figure.axes[0] for picture in pictures)
    assert shares.get_ylabel().endswith("%")
    assert [label.get_text() for label in psnr.get_yticklabels()] == [*FIXED, LEARNED]
