"""The study of representation: who is trained on what, who is compared with whom, and what the words say."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from subpixel.studies.lab.bench import Arrays, Bench
from subpixel.studies.lab.networks import InLR
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Result
from subpixel.studies.lab.super_resolution import SuperResolution
from subpixel.studies.representation import STUDY
from subpixel.studies.representation.shapes import Shape, equal_operations
from subpixel.studies.representation.times import equal_time
from subpixel.studies.representation.training import FREED, FURTHER, HR, LONGER, LR, TANH, TIMED

LABELS = (LR, HR, TIMED, FREED, FURTHER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("representation")


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return STUDY.compute(Bench(quick=True, samples=Samples(), folder=folder))


def test_every_check_holds(result: Result) -> None:
    assert len(result.checks) == 3
    assert [check for check, holds in result.checks.items() if not holds] == []


def test_the_hidden_layers_are_the_notes() -> None:
    """32 x 32 x 3 x 3 against 8 x 8 x 6 x 6, four times as many weights at the same cost."""
    lr, hr = (shape.build(0).convolutions[1].weight for shape in equal_operations(2))
    assert (lr.shape, hr.shape) == ((32, 32, 3, 3), (8, 8, 6, 6))


@pytest.mark.parametrize("r", [2, 3])
def test_operations_are_equal_by_pytorchs_counter(r: int) -> None:
    """Of large frames, where the context that unpadded layers read hardly counts: within 3 %."""
    side, counts = 500, []
    for shape in equal_operations(r):
        network = shape.build(0)
        reach = side + 2 * network.radius
        with FlopCounterMode(display=False) as counter, torch.device("meta"):
            network.to("meta")(torch.empty(1, 1, reach, reach))
        counts.append(counter.get_total_flops() / 2 / side**2)
    assert counts == pytest.approx(
        [shape.build(0).macs_per_lr_pixel for shape in equal_operations(r)], rel=0.03
    )
    assert counts[0] == pytest.approx(counts[1], rel=0.03)


def test_the_table_has_each_network_once_a_factor(result: Result) -> None:
    """Weights by shape; at equal operations the same figure."""
    rows = {(row["r"], row["network"]): row for row in result.table}
    assert list(rows) == [
        *((2, label) for label in (*LABELS, *TANH, *LONGER)),
        *((3, label) for label in LABELS),
    ]
    assert rows[2, LR]["weights"] == 32 * 36 + 32 + 32 * 32 * 9 + 32 + 4 * 32 * 9 + 4
    assert rows[2, HR]["weights"] == 8 * 36 + 8 + 8 * 8 * 36 + 8 + 8 * 36 + 1
    for r in (2, 3):
        assert rows[r, LR]["operations"] == rows[r, HR]["operations"]
        assert int(rows[r, TIMED]["operations"]) <= int(rows[r, HR]["operations"])


def test_further_training_begins_where_training_ended(result: Result) -> None:
    """The same validated PSNR, seed by seed: exactly as it is, within float32's rounding lifted."""
    for r in (2, 3):
        ended = result.arrays[f"x{r}, {HR}"][:, -1, 1]
        assert np.array_equal(result.arrays[f"x{r}, {FURTHER}"][:, 0, 1], ended)
        np.testing.assert_allclose(result.arrays[f"x{r}, {FREED}"][:, 0, 1], ended, rtol=0, atol=1e-3)
        assert len(set(ended.tolist())) == len(ended)  # seeds differ


class Altered(Bench):
    """A bench on which the LR networks did better or worse than they did."""

    gains: Mapping[str, float]

    def trials(self, runs: Any) -> dict[str, Arrays]:
        done = super().trials(runs)
        for name, arrays in done.items():
            for part, gain in self.gains.items():
                if part in name and "PSNR held back" in arrays:
                    arrays["PSNR held back"] = np.array(30 + gain)
        return done


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        (
            {"InLR": 0.25, "InHR": 0.0, "freed": -0.5},
            {"+0.250 dB on held back (+0.250 to +0.250)", "as the note says", "-0.500 dB", "loses beyond"},
        ),
        (
            {"InLR": -0.25, "InHR": 0.0, "freed": 0.5},
            {"-0.250 dB on held back (-0.250 to -0.250)", "against the note", "+0.500 dB", "gains beyond"},
        ),
        ({"InLR": 0.0, "InHR": 0.0}, {"+0.000 dB", "no difference beyond chance"}),
    ],
)
@pytest.mark.usefixtures("result")
def test_findings_are_made_from_the_figures(folder: Path, gains: Mapping[str, float], said: set[str]) -> None:
    """The same trials with other PSNR are told in other words, for either factor."""
    bench = Altered(quick=True, samples=Samples(), folder=folder)
    bench.gains = gains
    findings = STUDY.compute(bench).findings
    for words in said:
        assert sum(words in finding for finding in findings) >= 2
    more, less = (6 * (gains["InLR"] == sign) for sign in (0.25, -0.25))
    assert findings[0].startswith("Of 6 comparisons on held back the LR network has the higher PSNR beyond")
    assert f"beyond chance in {more} (" in findings[0]
    assert f"the lower one in {less} (" in findings[0]
    assert f"({'none' if gains['InLR'] <= 0 else 'x2 at equal operations; '}" in findings[0]
    for words in {"as the note says", "against the note", "gains beyond", "loses beyond"} - said:
        assert not any(words in finding for finding in findings)


def test_equal_time_is_for_the_largest_networks_that_take_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With times that follow from the shape, against a search by hand."""

    def seconds(shape: Shape) -> float:
        return 1.0 if shape.kind is InLR else 0.08 * shape.maps + 0.11 * shape.kernel_sizes[0]

    def race(runs: Any, _seconds: float, seed: int, **_options: object) -> dict[Any, list[float]]:
        shapes = {key: key[0] if isinstance(key, tuple) else key for key in runs}
        layouts = {key: key[1] if isinstance(key, tuple) else 0 for key in runs}
        return {key: [seconds(shapes[key]) * (1 + layouts[key] + seed)] * 3 for key in runs}

    monkeypatch.setattr("subpixel.studies.representation.times.race", race)
    lr, hr = equal_operations(2)
    times = equal_time(lr, hr, 4, 0.0, lambda _done: None)
    fit = [
        (4 * (2 * maps * k**2 + maps**2 * k**2), maps, k, 0.08 * maps + 0.11 * k)
        for maps in range(1, 9)
        for k in range(2, 7)
        if 0.08 * maps + 0.11 * k <= 1.05
    ]
    largest = sorted(fit, reverse=True)[:3]
    assert [*zip(times["maps"], times["kernel"], strict=True)] == [(maps, k) for _, maps, k, _ in largest]
    np.testing.assert_allclose(times["ratio"], [ratio for *_, ratio in largest], rtol=1e-12)
    assert float(times["whole"]) == pytest.approx(0.08 * 8 + 0.11 * 6)


def test_both_kinds_learn_from_the_same_patches() -> None:
    """The same targets, and inputs that differ in their context alone."""
    task = SuperResolution(Samples(), 2, patch=8, batch=3)
    (small, target), (large, same) = (task.batches(5, radius)(7) for radius in (2, 6))
    assert torch.equal(target, same)
    assert torch.equal(small, large[..., 4:-4, 4:-4])
    assert not torch.equal(target, task.batches(6, 2)(7)[1])


def test_images_held_back_are_validated_on_and_not_trained_on() -> None:
    """White images among black ones: batches are black, and black images are off by 1, which is 0 dB."""
    photos = [np.full((32, 32), 255 if index in {0, 4} else 0, np.uint8) for index in range(8)]
    samples: Any = SimpleNamespace(photos=photos, tests={})
    task = SuperResolution(samples, 2, patch=8, batch=4, held_back=2)
    assert max(float(task.batches(0, 2)(index)[1].max()) for index in range(20)) == 0

    class Grey(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, plane: torch.Tensor) -> torch.Tensor:
            return torch.full((len(plane), 1, 16, 16), self.value)

    assert task.validate(Grey(0.0), 2) == pytest.approx(0, abs=1e-6)
    assert task.validate(Grey(0.9), 2) == pytest.approx(20, abs=1e-4)


def test_pictures_have_captions_and_axes(result: Result) -> None:
    pictures = STUDY.draw(result)
    assert [picture.name for picture in pictures] == ["learning-curves", "variants", "freeing"]
    for picture in pictures:
        assert len(picture.caption) > 50
        for axes in picture.figure.axes:
            assert axes.get_xlabel() == "steps"
            assert "(dB)" in axes.get_ylabel()
