"""Trained kernels as transposed and as lifted convolutions, against PyTorch's own layers."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from torch import nn

from subpixel.kernels import lift_conv, lr_to_transposed
from subpixel.network import load
from subpixel.studies import kernels
from subpixel.studies.kernels import STUDY, drawings, equality
from subpixel.studies.kernels.equality import as_lifted, as_transposed
from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.networks import InHR
from subpixel.studies.lab.palette import STYLE
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Result

PHOTO = Samples().tests["held back"][0][:60, :48]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    bench = Bench(quick=True, samples=Samples(), folder=tmp_path_factory.mktemp("trials"))
    return STUDY.compute(bench)


def test_all_that_must_hold_holds(result) -> None:
    """Six layers, each equal to what it is rewritten as on every photograph; the shapes of the note."""
    assert all(result.checks.values())
    assert len(result.checks) == 3
    shapes = {(row["network"], row["kernels"], row["rewritten"]) for row in result.table}
    assert ("espcn-x3", "(9, 32, 3, 3)", "(1, 32, 9, 9)") in shapes
    assert ("HR network", "(8, 8, 5, 5)", "(32, 32, 3, 3)") in shapes
    assert all(row["photographs"] == 4 and row["largest difference"] < 1e-12 for row in result.table)
    assert len({tuple(row) for row in result.table}) == 1


def test_the_weights_are_counted(result) -> None:
    """No zero in a transposed layer; four of each HR weight in a lifted one."""
    for row in result.table:
        zeros, repeats = row["zeros among them"], 4 if row["network"] == "HR network" else 1
        assert row["weights rewritten"] - zeros == repeats * row["weights"]
        assert (zeros > 0) == (repeats == 4)


def test_other_kernels_would_differ(monkeypatch) -> None:
    """Phases in another order, or taps reversed, are not taken for the right ones."""
    monkeypatch.setattr(equality, "lr_to_transposed", lambda w, r: lr_to_transposed(w.flip(0), r))
    monkeypatch.setattr(
        equality, "lift_conv", lambda w, r, padding: lift_conv(w.flip(-1), r, padding=padding)
    )
    difference, _ = as_transposed(load("espcn-x3"), [PHOTO])
    assert difference > 1e-3
    torch.manual_seed(0)
    assert min(as_lifted(InHR(2, (8, 8), (5, 5, 5)), [PHOTO])) > 1e-3


def test_one_layer_that_differs_fails_its_check() -> None:
    """Of several layers of a kind the first one, too."""
    differences = {"last, transposed": (1.0, 0.0), "first, lifted": (0.0, 0.0)}
    rows = [
        {"layer": layer, "largest difference": difference}
        for layer, of_networks in differences.items()
        for difference in of_networks
    ]
    assert list(kernels._checks(rows, [], []).values()) == [False, True, True]


def test_the_transposed_layer_is_pytorchs() -> None:
    """`nn.ConvTranspose2d` with the recreated kernels ends ESPCN as its own last layer does."""
    network = load("espcn-x3")
    last = network.convolutions[-1]
    features = torch.randn(1, 32, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layer = nn.ConvTranspose2d(32, 1, 9, stride=3, padding=6, bias=False).double()
    # The note's "inverse operation", tap by tap: phase (a, b), tap (y, x), reversed.
    with torch.no_grad():
        for phase, y, x in np.ndindex(9, 3, 3):
            a, b = divmod(phase, 3)
            layer.weight[:, 0, 3 * (2 - y) + a, 3 * (2 - x) + b] = torch.from_numpy(
                last.weight[phase, :, y, x].astype(float)
            )
        expected = layer(features)
    weight = torch.from_numpy(last.weight.astype(float))
    actual = nn.functional.pixel_shuffle(nn.functional.conv2d(features, weight), 3)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def test_pictures(result) -> None:
    """Three pictures with captions; each tap of the HR kernel is drawn once for each phase of the output."""
    with mpl.rc_context(STYLE):
        pictures = {picture.name: picture for picture in STUDY.draw(result)}
        for picture in pictures.values():
            picture.figure.draw_without_rendering()
            assert len(picture.caption) > 60
    assert list(pictures) == ["last-layer", "lift", "lifted"]
    words = [text.get_text() for text in drawings.lift(5, 2).axes[0].texts]
    assert all(words.count(str(tap)) == 1 + 4 for tap in range(5, 26))  # below, phases are written as well
