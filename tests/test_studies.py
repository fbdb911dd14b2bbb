"""Studies: what they share. Each study has a test file of its own."""

import csv
import errno
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats
from skimage.io import imsave
from skimage.metrics import peak_signal_noise_ratio

import subpixel.studies
from subpixel.cli import main
from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.comparison import interval
from subpixel.studies.lab.resize import ResizeConv2d
from subpixel.studies.lab.samples import Samples, read_idx
from subpixel.studies.lab.study import Picture, Result, Study
from subpixel.studies.lab.super_resolution import SuperResolution

Run = Callable[..., int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["subpixel", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return int(exit_.value.code or 0)

    return run


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A study named "sums" with two trials; the list says which have been computed."""
    computed: list[str] = []

    def trial(name: str) -> dict[str, int]:
        computed.append(name)
        return {"sum": sum(map(int, name.split("+")))}

    def compute(bench: Bench) -> Result:
        trials = bench.trials({name: lambda _, name=name: trial(name) for name in ("1+2", "3+4")})
        rows = [{"sum": name, "value": int(trial["sum"])} for name, trial in trials.items()]
        return Result(rows, ["sums are sums"], {"1 + 2 = 3": rows[0]["value"] == 3, "3 + 4 = 8": False})

    def draw(result: Result) -> list[Picture]:
        figure = Figure((2, 1))
        figure.subplots().plot([row["value"] for row in result.table])
        return [Picture("line", "a line from 3 to 7", figure)]

    sums = Study("sums", "Sums", "What adds up.", compute, draw)
    monkeypatch.setattr(subpixel.cli.study, "NAMES", ("sums",))
    monkeypatch.setattr(subpixel.studies, "load", lambda _name: sums)
    return computed


@pytest.mark.usefixtures("study")
def test_a_study_becomes_a_page_a_table_and_pictures(command, tmp_path, capsys) -> None:
    """All files, and a check that does not hold is said in each place; the same bytes the second time."""
    assert command("study", "sums", "--out", "out") == 1
    printed = capsys.readouterr()
    assert printed.err == "subpixel: this must hold and does not: 3 + 4 = 8\n"
    assert "sums are sums" in printed.out
    folder = tmp_path / "out" / "sums"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["line.png", "line.svg", "sums.csv", "sums.md"]
    assert list(csv.DictReader((folder / "sums.csv").read_text().splitlines())) == [
        {"sum": "1+2", "value": "3"},
        {"sum": "3+4", "value": "7"},
    ]
    page = (folder / "sums.md").read_text()
    for part in (
        "# Sums",
        "What adds up.",
        "- sums are sums",
        "![a line from 3 to 7](line.svg)",
        "| 1+2 | 3 |",
    ):
        assert part in page
    assert "- 1 + 2 = 3\n- **Does not hold:** 3 + 4 = 8" in page
    assert "    subpixel study sums --out out\n" in page
    assert command("study", "sums", "--out", "out") == 1
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} <= {"sums.md"}  # it says how long it took


@pytest.mark.usefixtures("study")
def test_a_full_disk_leaves_an_earlier_result_as_it_is(command, tmp_path, monkeypatch, capsys) -> None:
    """The first files fit and the last one does not: none takes its place, and none is left over."""
    folder = tmp_path / "studies" / "sums"
    folder.mkdir(parents=True)
    (folder / "line.png").write_text("earlier")
    whole, written = Path.write_bytes, []

    def write_three(path: Path, content: bytes) -> int:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_three)
    assert command("study", "sums") == 1
    assert capsys.readouterr().err == "subpixel: studies/sums: disk full\n"
    assert len(written) == 3
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("line.png", "earlier")]


def test_a_study_that_cannot_be_loaded_stops_all_before_they_start(
    command, study, monkeypatch, capsys
) -> None:
    """A missing package is told at once, not after hours of other studies."""
    sums = subpixel.studies.load("sums")

    def load(name: str) -> Study:
        if name == "sums":
            return sums
        raise ModuleNotFoundError("it must be installed")

    monkeypatch.setattr(subpixel.cli.study, "NAMES", ("sums", "others"))
    monkeypatch.setattr(subpixel.studies, "load", load)
    assert command("study", "all") == 1
    assert capsys.readouterr().err == "subpixel: it must be installed\n"
    assert study == []


@pytest.mark.parametrize("package", ["matplotlib", "torch"])
def test_a_missing_package_is_one_line_that_names_the_extra(tmp_path, package) -> None:
    """In a new process, since this one has imported them; nothing is written."""
    code = f"import sys; sys.modules[{package!r}] = None; from subpixel.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", code, "study", "figures"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (1, "")
    hint = "must be installed for this. Run: pip install 'subpixel[study]'"
    assert run.stderr == f"subpixel: {package} {hint}\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_study_goes_on(command, study, tmp_path, monkeypatch, capsys) -> None:
    """Ctrl-C in the second trial: one line, no page; the same command computes the second trial alone."""
    whole = np.savez_compressed

    def stop_at_the_second(*arguments: object, **kept: object) -> None:
        if len(study) == 2:
            raise KeyboardInterrupt
        whole(*arguments, **kept)

    monkeypatch.setattr(np, "savez_compressed", stop_at_the_second)
    assert command("study", "sums") == 130
    assert capsys.readouterr().err == "subpixel: interrupted; the same command goes on\n"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [
        path.name for path in (tmp_path / "studies" / "trials" / "sums").iterdir()
    ]
    monkeypatch.setattr(np, "savez_compressed", whole)
    assert command("study", "all", "--json") == 1
    assert study == ["1+2", "3+4", "3+4"]
    (summary,) = json.loads(capsys.readouterr().out)
    assert summary["table"] == [{"sum": "1+2", "value": 3}, {"sum": "3+4", "value": 7}]


def test_a_trial_cut_short_is_computed_again(tmp_path) -> None:
    """A file that is not whole, or is another's, counts as nothing."""
    bench = Bench(quick=True, samples=Samples(), folder=tmp_path)
    trial = {"a": lambda _report: {"x": np.arange(100)}}
    bench.trials(trial)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    damaged = whole[:60] + bytes(byte ^ 255 for byte in whole[60:120]) + whole[120:]
    for content in (whole[:50], damaged, b"", b"hello"):
        file.write_bytes(content)
        assert bench.trials(trial)["a"]["x"].tolist() == list(range(100))
    assert bench.earlier == 0
    assert bench.trials(trial)["a"].keys() == {"x"}
    assert bench.earlier > 0


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("sum",), 2, "it must be one of sums, or all; got 'sum'."),
        ((), 2, "Missing argument 'NAME'"),
        (("sums", "--out", "file"), 1, "file/sums: Not a directory"),
        (("sums", "--out", "http://host/out"), 2, "there is no network access"),
        (("sums", "--data", "nowhere"), 2, "nowhere/train is missing"),
    ],
)
def test_bad_input_is_one_line(command, study, tmp_path, capsys, arguments, status, complaint) -> None:
    """An unknown study, an output that cannot be written, data that are not there."""
    (tmp_path / "file").write_text("precious")
    assert command("study", *arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["file"]
    assert study == []


def test_the_samples_are_what_their_page_says() -> None:
    """Sixteen photographs, of which four are held back; 1,797 digits, each with ink."""
    samples = Samples()
    (held_back,) = samples.tests.values()
    assert (len(samples.photos), len(held_back)) == (12, 4)
    assert {plane.shape for plane in (*samples.photos, *held_back)} == {(160, 160)}
    assert min(plane.std() for plane in (*samples.photos, *held_back)) > 5
    train, test = samples.digits
    assert (train.shape, test.shape) == ((1500, 8, 8), (297, 8, 8))
    assert min(digit.max() for digit in (*train, *test)) > 100


def test_an_idx_file_is_read(tmp_path) -> None:
    """The header of MNIST's files; anything else is refused."""
    digits = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    sizes = np.array(digits.shape, ">u4").tobytes()
    file = tmp_path / "digits.gz"
    file.write_bytes(gzip.compress(b"\0\0\x08\x03" + sizes + digits.tobytes()))
    assert np.array_equal(read_idx(file), digits)
    whole = file.read_bytes()
    damaged = whole[:12] + bytes(byte ^ 255 for byte in whole[12:])
    few, many = (gzip.compress(b"\0\0\x08\x03" + sizes + bytes(count)) for count in (3, 25))
    for wrong in (few, many, whole[:-9], damaged, b"plain", gzip.compress(b"PNG!"), b""):
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"digits\.gz must be a whole gzipped idx file"):
            read_idx(file)


def test_data_without_images_are_refused_by_name(tmp_path) -> None:
    """No set, a set with other files alone, nothing to train on; photographs in train/ itself are found."""
    for part in ("train", "test", "mnist"):
        (tmp_path / part).mkdir()
    with pytest.raises(ValueError, match=r"test must hold a folder of images for each set; it has none\."):
        _ = Samples(tmp_path).tests
    (tmp_path / "test" / "Set5").mkdir()
    (tmp_path / "test" / "Set5" / "readme.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"Set5 must hold images; it has none\."):
        _ = Samples(tmp_path).tests
    with pytest.raises(ValueError, match=r"train must hold images; it has none\."):
        _ = Samples(tmp_path).photos
    imsave(tmp_path / "train" / "a.png", np.full((8, 9), 128, np.uint8), check_contrast=False)
    assert [plane.shape for plane in Samples(tmp_path).photos] == [(8, 9)]
    assert Samples(tmp_path).describe(["images"]) == "images of train"


def test_the_interval_is_students() -> None:
    """Against SciPy."""
    values = [1.0, 1.5, 0.7, 1.1]
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert np.allclose(interval(values), expected, rtol=1e-3)
    with pytest.raises(ValueError, match="two to ten"):
        interval([1.0])


@pytest.mark.parametrize(("kernel_size", "upscale_factor"), [(3, 2), (5, 2), (3, 3)])
def test_a_resize_convolution_is_what_its_name_says(kernel_size, upscale_factor) -> None:
    """Against PyTorch's resize and convolution, gradients too, in LR and in HR space."""
    layer = ResizeConv2d(2, 3, kernel_size, upscale_factor).double()
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64)
    enlarged = torch.nn.functional.interpolate(x, scale_factor=upscale_factor)
    expected = torch.nn.functional.conv2d(enlarged, layer.weight, layer.bias, padding=kernel_size // 2)
    (gradient,) = torch.autograd.grad(expected.square().sum(), layer.weight)
    for layer.in_hr_space in (False, True):
        output = layer(x)
        assert torch.allclose(output, expected, rtol=0, atol=1e-12)
        (own,) = torch.autograd.grad(output.square().sum(), layer.weight)
        assert torch.allclose(own, gradient, rtol=0, atol=1e-10)


def test_what_a_network_makes_of_a_set_has_the_psnr_of_the_tables() -> None:
    """The same output, rounded to codes, by scikit-image's PSNR without a border of r pixels."""
    task = SuperResolution(Samples(), 2)
    network = torch.nn.Upsample(scale_factor=2)
    assert task.smallest == "held back"
    outputs, truth = task.outputs(network, 0, task.smallest), task.originals(task.smallest)
    inner = (slice(2, -2),) * 2
    expected = [
        peak_signal_noise_ratio(np.rint(255 * hr)[inner], np.rint(255 * sr)[inner], data_range=255)
        for sr, hr in zip(outputs, truth, strict=True)
    ]
    assert np.isclose(task.psnr(network, 0)[task.smallest], np.mean(expected), rtol=1e-6)
