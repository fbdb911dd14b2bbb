"""The study of explicit up-sampling, and the two tasks of its encoder-decoder."""

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from subpixel.studies import skip
from subpixel.studies.lab import dense
from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.dense import Dense, EncoderDecoder
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Picture, Result


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The quick study."""
    return skip.compute(Bench(quick=True, samples=Samples(), folder=tmp_path_factory.mktemp("trials")))


def test_what_must_hold_holds(result: Result) -> None:
    """Equal costs, and interpolation as an LR convolution."""
    assert [check for check, holds in result.checks.items() if not holds] == []
    assert len(result.checks) == 2


def test_the_table_is_made_from_the_curves(result: Result) -> None:
    """Means, deviations, differences and intervals against NumPy and SciPy; a row for each network."""
    assert len(result.table) == len(skip.CASES) == 10
    for row in result.table:
        ends, plain = (
            result.arrays[f"curve, {row['task']}, {variant}"][:, -1]
            for variant in (row["explicit up-sampling"], skip.NONE)
        )
        assert row["mean and deviation"] == f"{ends.mean():.2f} ± {ends.std(ddof=1):.2f}"
        if row["explicit up-sampling"] == skip.NONE:
            assert row["verdict"] == ""
            continue
        low, high = stats.t.interval(0.95, 1, loc=(ends - plain).mean(), scale=stats.sem(ends - plain))
        printed = [float(bound) for bound in str(row["95 % interval"]).split(" to ")]
        assert np.allclose(printed, (low, high), atol=0.006, rtol=1e-4)
        expected = "more" if low > 0 else "less" if high < 0 else "no difference beyond chance"
        assert row["verdict"] == expected


def test_training_gets_somewhere(result: Result) -> None:
    """Even a few steps raise the PSNR of networks that begin with nothing."""
    for task in ("super-resolution", "denoising"):
        curve = result.arrays[f"curve, {task}, {skip.NONE}"]
        assert (curve[:, -1] > curve[:, 0] + 2).all()
        assert curve.shape[1] == len(result.arrays["steps"])


def test_the_pictures_say_what_they_show(result: Result) -> None:
    """Captions, labels with units, and an image for each network."""
    curves, *examples = skip.draw(result)
    labels = [axes.get_ylabel() for axes in _figure(curves).axes]
    assert labels[:3] == [task.score for task in skip.TASKS.values()]
    assert labels[3:] == ["more than none, in dB", "more than none, in %", "more than none, in dB"]
    assert all(axes.get_xlabel() == "steps" for axes in _figure(curves).axes)
    for picture, task in zip(examples, skip.TASKS.values(), strict=True):
        assert [axes.get_title() for axes in _figure(picture).axes] == ["seen", "truth", *task.variants]
        assert all(variant in picture.caption for variant in task.variants)


def _figure(picture: Picture) -> Figure:
    assert picture.caption.endswith(".")
    return picture.figure


def _curves(**shifts: float) -> dict[skip.Case, Any]:
    """Return curves of denoising: two seeds, two marks, and what each network has more at the end."""
    plain = np.array([[10.0, 20.0], [10.5, 20.5]])
    curves = {("denoising", skip.NONE): plain}
    for variant, shift in shifts.items():
        more = np.array([[2.0, shift], [2.01, shift + 0.01]])
        curves["denoising", variant.replace("_", " ")] = plain + more
    return curves


@pytest.mark.parametrize(
    ("shifts", "answer"),
    [
        ({"image_skip": 1.0, "bilinear_features": -1.0}, "is not needed"),
        ({"image_skip": -1.0, "bilinear_features": 1.0}, "scores more (bilinear features)"),
        ({"image_skip": 0.0, "bilinear_features": 0.0}, "is not needed"),
    ],
)
def test_a_finding_follows_the_figures(shifts: dict[str, float], answer: str) -> None:
    """What is up-sampled and scores more is named; the image, of full resolution already, does not count."""
    finding = skip._finding("denoising", _curves(**shifts), np.array([1, 2]))
    assert finding.startswith(f"Denoising, 2 steps: explicit up-sampling {answer}. Without it")
    assert "20.25 ± 0.35" in finding


def test_the_rate_is_that_of_the_lowest_loss() -> None:
    """The loss, which comes from photographs to train on, and not the score, which comes from test sets."""

    class Kept(Bench):
        def trials(self, runs: Any) -> Any:
            return {name: {"loss": abs(float(name.rpartition(" ")[2]) - 0.01)} for name in runs}

    bench = Kept(quick=False, samples=Samples(), folder=None)  # type: ignore[arg-type]
    assert set(skip._tune(bench, {}, 8, (0.005, 0.01, 0.02)).values()) == {0.01}


@pytest.mark.parametrize(("decoder", "maps"), [("shuffle", 0), ("outputs", 1), ("features", 9)])
def test_operations_are_those_that_pytorch_counts(decoder: dense.Decoder, maps: int) -> None:
    """PyTorch's counter of convolutions, and four multiplications a pixel of each interpolated map."""
    network = EncoderDecoder(decoder)
    with FlopCounterMode(display=False) as counter:
        output = network(torch.zeros(1, 1, 32, 64))
    assert output.shape == (1, 1, 32, 64)
    assert network.macs_per_pixel == counter.get_total_flops() / 2 / (32 * 64) + 4 * maps


def test_the_decoders_enlarge_as_they_say() -> None:
    """Logits or features through PyTorch's bilinear interpolation; the skip adds the image."""
    image = torch.rand(1, 1, 16, 24)
    for decoder, place in (("outputs", 3), ("features", 1)):
        layers = EncoderDecoder(decoder).decoder
        maps = layers[:place](torch.rand(1, 32, 4, 6))
        enlarged = interpolate(maps, scale_factor=4, mode="bilinear", align_corners=False)
        assert torch.allclose(layers[place](maps), enlarged, rtol=0, atol=1e-6)
    network = EncoderDecoder("shuffle")
    plain = network(image)
    network.skip = True
    assert torch.allclose(network(image), plain + image, rtol=0, atol=1e-6)


def test_digits_lie_where_their_mask_is() -> None:
    """On grey, a digit differs most from its ground where the mask is; some are lighter and some darker."""
    digits, grey = Samples().digits[0], np.full((48, 48), 128, np.uint8)  # of that size: one digit
    signs = set()
    for seed in range(20):
        image, mask = dense.add_digits(grey, digits, np.random.default_rng(seed))
        change = 255 * image - 128
        on, off = np.abs(change[mask == 1]), np.abs(change[mask == 0])
        assert on.min() >= off.max() - 1e-9
        assert on.min() >= dense.CONTRASTS[0] / 2 - 1e-9
        assert on.max() <= dense.CONTRASTS[1] + 1e-9
        assert set(np.unique(mask)) == {0, 1}
        signs |= set(np.sign(change[mask == 1]))
    assert signs == {-1, 1}


def test_noise_is_gaussian_and_the_truth_is_the_photograph() -> None:
    """The deviation within a standard error of four; the truth without an error."""
    photo = Samples().photos[0]
    noisy, truth = dense.add_noise(photo, photo, np.random.default_rng(0))
    noise = 255 * noisy - photo
    assert np.isclose(noise.std(), dense.SIGMA, rtol=4 / (2 * noise.size) ** 0.5)
    assert stats.kstest(noise.ravel() / dense.SIGMA, "norm").pvalue > 0.001
    assert np.array_equal(dense.as_image(truth), photo)


def test_batches_depend_on_the_seed_alone() -> None:
    """The same twice, another for another seed or index, inputs around 0 and of the size that is said."""
    task = Dense(Samples(), dense.add_digits)
    inputs, masks = task.batches(1)(5)
    again, _ = task.batches(1)(5)
    assert torch.equal(inputs, again)
    assert inputs.shape == masks.shape == (8, 1, 64, 64)
    assert -0.5 <= inputs.min() < 0 < inputs.max() <= 0.5
    for other, _ in (task.batches(2)(5), task.batches(1)(6)):
        assert not torch.equal(inputs, other)


def test_overlap_is_that_of_sets() -> None:
    """Against Python's sets of pixels."""
    random = np.random.default_rng(0)
    logits, masks = random.normal(size=(3, 6, 7)), random.integers(0, 2, (3, 6, 7)).astype(float)
    found = {tuple(place) for place in np.argwhere(logits > 0)}
    truth = {tuple(place) for place in np.argwhere(masks)}
    expected = 100 * len(found & truth) / len(found | truth)
    assert np.isclose(dense.overlap(logits, [(mask, mask) for mask in masks]), expected, rtol=1e-12)
