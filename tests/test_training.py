"""Training: aligned patches, repeatable and resumable runs, an export that computes what the model does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from subpixel.degradation import bicubic_resize, degrade, to_uint8
from subpixel.evaluation.metrics import psnr
from subpixel.models.espcn import ESPCN
from subpixel.training.data import Pair, Patches
from subpixel.training.loop import ProgressReport, train, validate
from subpixel.training.recipe import Recipe

RECIPE = Recipe(steps=12, batch=4, patch=8, warm_up=2)


def picture(seed: int = 0, side: int = 60) -> np.ndarray:
    """Something smooth with edges, not noise."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (side // 6, side // 6))
    return to_uint8(bicubic_resize(coarse, 6))


def pairs(factor: int = 3) -> list[Pair]:
    return [Pair.from_hr(picture(seed), factor, ESPCN.radius) for seed in range(3)]


def run(tmp_path: Path, recipe: Recipe = RECIPE, **options) -> tuple[np.ndarray, list[ProgressReport]]:
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.seed_everything(recipe.seed, verbose=False)
    reports: list[ProgressReport] = []
    options = {"report": reports.append, **options}
    checkpoint = tmp_path / "run.checkpoint"
    model = train(ESPCN(3), recipe, pairs(), pairs()[:1], fabric=fabric, checkpoint=checkpoint, **options)
    return model.lr_network().convolutions[1].weight, reports


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_patches_are_aligned(factor: int) -> None:
    """An LR patch is the degraded HR patch, however it was flipped: inside, where borders cannot be seen."""
    lr, hr = Patches(pairs(factor), factor, radius=4, size=12, seed=(0,)).batch(0, 40)
    assert lr.shape == (40, 1, 20, 20)
    assert hr.shape == (40, 1, 12 * factor, 12 * factor)
    for low, high in zip(lr[:, 0], hr[:, 0], strict=True):
        np.testing.assert_array_equal(low[6:-6, 6:-6], degrade(high, factor)[2:-2, 2:-2])


def test_patches_show_every_flip() -> None:
    """All eight orientations of the one patch of a small image are drawn."""
    pair = Pair.from_hr(picture(side=24), 3, radius=0)
    _, hr = Patches([pair], 3, radius=0, size=8, seed=(0,)).batch(0, 100)
    assert len({patch.tobytes() for patch in hr}) == 8


def test_batches_depend_on_seed_and_index_alone() -> None:
    first, again, other = (Patches(pairs(), 3, 4, 8, seed=(seed,)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.batch(5, 4)[0], again.batch(5, 4)[0])
    assert not np.array_equal(first.batch(5, 4)[0], first.batch(6, 4)[0])
    assert not np.array_equal(first.batch(5, 4)[0], other.batch(5, 4)[0])


def test_images_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 63 pixels"):
        Patches(pairs(), 3, 4, 21, seed=(0,))


def test_two_runs_are_equal(tmp_path: Path) -> None:
    """The same recipe and seed give the same weights, another seed others."""
    (tmp_path / "a").mkdir()
    weights, _ = run(tmp_path)
    np.testing.assert_array_equal(weights, run(tmp_path / "a")[0])
    assert not np.array_equal(weights, run(tmp_path, Recipe(**{**RECIPE.__dict__, "seed": 1}))[0])


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    """Stopped after its first checkpoint and resumed, a run ends at the same weights."""

    class InterruptedRunError(Exception):
        pass

    def stop(progress: ProgressReport) -> None:
        if progress.step == 6:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        run(tmp_path, every=4, report=stop)
    resumed, reports = run(tmp_path, resume=True, every=4)
    assert [progress.step for progress in reports] == list(range(5, 13))
    (tmp_path / "whole").mkdir()
    np.testing.assert_array_equal(resumed, run(tmp_path / "whole")[0])


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(
        ValueError, match=r"must be the one of its checkpoint .*; got batch=5, it has batch=\d+\. Give"
    ):
        run(tmp_path, Recipe(**{**RECIPE.__dict__, "batch": 5}), resume=True)


def test_training_learns(tmp_path: Path) -> None:
    """A hundred and fifty steps on three small pictures beat bicubic interpolation on one of them."""
    recipe = Recipe(steps=150, batch=4, patch=8, learning_rate=3e-3, warm_up=20, average=0.9)
    _, reports = run(tmp_path, recipe)
    (pair, *_) = pairs()
    bicubic = to_uint8(bicubic_resize(pair.padded_lr[4:-4, 4:-4], 3))
    assert reports[-1].validation_psnr > psnr(bicubic, pair.hr, 3)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_export_computes_what_the_model_does(activation: str) -> None:
    """Convolving by hand with the exported arrays gives the model's output; the shift is in the biases."""
    model = ESPCN(2, activation=activation).double()
    network = model.lr_network()
    plane = torch.rand(1, 1, 15, 13, dtype=torch.float64)
    features = plane
    for convolution in network.convolutions:
        weight, bias = (torch.tensor(array).double() for array in (convolution.weight, convolution.bias))
        features = torch.nn.functional.conv2d(features, weight, bias)
        features = {"tanh": torch.tanh, "relu": torch.relu, None: lambda x: x}[convolution.activation](
            features
        )
    expected = torch.nn.functional.pixel_shuffle(features, 2)
    torch.testing.assert_close(model(plane).double(), expected, rtol=0, atol=2e-6)
    assert network.radius == model.radius


def test_starting_from_a_network() -> None:
    """The same factor takes all of it, another all but the last; what does not fit is refused."""
    source = ESPCN(3)
    plane = torch.rand(1, 1, 12, 12)
    same, other = ESPCN(3), ESPCN(4)
    same.start_from(source.lr_network())
    other.start_from(source.lr_network())
    torch.testing.assert_close(same(plane), source(plane), rtol=0, atol=1e-6)
    torch.testing.assert_close(other.convolutions[1].weight, source.convolutions[1].weight, rtol=0, atol=0)
    with pytest.raises(ValueError, match="must be an ESPCN's with relu"):
        ESPCN(3, activation="relu").start_from(source.lr_network())


def test_validation_is_the_protocols_psnr() -> None:
    """Rounded to 8 bits, r pixels shaved: the figure of `evaluation.metrics`."""
    model, (pair, *_) = ESPCN(3), pairs()
    sr = model(torch.from_numpy(pair.padded_lr)[None, None] / 255)[0, 0].detach().numpy()
    expected = psnr(to_uint8(sr * 255), pair.hr, shave=3)
    assert validate(model, [pair], Fabric(accelerator="cpu", devices=1)) == pytest.approx(expected, abs=1e-3)
