"""`subpixel train`: from folders of images to a network that loads, with a record of how it was made."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from subpixel import cli
from subpixel.models.espcn import ESPCN
from subpixel.network import load
from subpixel.training.recipe import Recipe
from subpixel.training.run import run

FEW = ["--steps", "3", "--batch", "2", "--patch", "8"]
GOOD = ["--data", "{photos}", "--out", "{tmp}/a.safetensors"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "set"
    folder.mkdir(parents=True)
    for index in range(3):
        rows, columns = np.mgrid[:48, :60]
        wave = 127 + 100 * np.sin(rows / (3 + index)) * np.cos(columns / 4)
        Image.fromarray(wave.astype(np.uint8)).convert("RGB").save(folder / f"{index}.png")
    return tmp_path / "photos"


def subpixel(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["subpixel", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    return int(done.value.code or 0)


def test_a_network_is_trained_and_says_how(photos, tmp_path, monkeypatch, capsys) -> None:
    """The file loads under its name and holds the command, the seed, the data and the versions."""
    out = tmp_path / "mine.safetensors"
    assert subpixel(monkeypatch, "train", "espcn", "--scale", 2, "--data", photos, "--out", out, *FEW) == 0
    network = load(out)
    assert (network.name, network.upscale_factor, network.parameters) == ("mine", 2, 21284)
    (stage,) = network.metadata["training"]
    assert stage["command"].startswith("subpixel train espcn --scale 2")
    assert stage["seed"] == 0
    assert stage["data"] == {"set": 3}
    assert set(stage["versions"]) == {"torch", "pytorch-optimizer"}
    assert f"{stage['validation_psnr']:.3f} dB" in capsys.readouterr().out


CONFIG = """
model = "plain"
scale = 2
data = ["{photos}"]
out = "{out}"
steps = 3
batch = 2
patch = 8
learning-rate = 1e-3
loss = "charbonnier"
option = {{channels = 4, layers = 3}}
"""


def test_a_run_is_a_file(photos, tmp_path, monkeypatch) -> None:
    """What the command line gives comes first; the record holds all that decided."""
    out, config = tmp_path / "mine.safetensors", tmp_path / "mine.toml"
    config.write_text(CONFIG.format(photos=photos, out=out))
    assert subpixel(monkeypatch, "train", "--config", config, "--steps", 2) == 0
    network = load(out)
    assert [c.weight.shape[:2] for c in network.convolutions] == [(4, 1), (4, 4), (4, 4)]
    (stage,) = network.metadata["training"]
    wanted = {"model": "plain", "channels": 4, "steps": 2, "loss": "charbonnier", "learning_rate": 1e-3}
    assert stage["recipe"].items() >= wanted.items()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model = ", "it must be a readable TOML file"),
        ("rate = 1", "its entries must be among model, data, out, scale"),
        ("resume = true", "got 'resume'"),
        ("config = 'mine.toml'", "got 'config'"),
        ("-verbose = true", "precision, devices; got '-verbose'"),
        ("data = ['x']\nout = 'a.safetensors'", "MODEL"),
        ("model = 'plain'\ndata = ['x']\nout = 'a.safetensors'\nscale = 'two'", "valid integer"),
        ("model = 'plain'\ndata = ['x']\nout = 'a.safetensors'\nloss = 'l3'", "is not one of"),
        (
            "model = 'plain'\ndata = ['{photos}']\nout = '{photos}/a.safetensors'\noption = {{layers = 1}}",
            "layers 2",
        ),
        ("model = 'plain'\ndata = 3\nout = 'a.safetensors'", "3: No such file or directory"),
        ("model = ['plain']\ndata = ['x']\nout = 'a.safetensors'", "model must be one value; got ['plain']"),
    ],
)
def test_a_file_that_is_no_run_is_one_line(photos, tmp_path, monkeypatch, capsys, text, complaint) -> None:
    (tmp_path / "mine.toml").write_text(text.format(photos=photos))
    assert subpixel(monkeypatch, "train", "--config", tmp_path / "mine.toml") in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_the_record_names_the_images_that_were_read(photos, tmp_path) -> None:
    """Folders are walked once: an image that comes while the run goes on is not counted."""
    out = tmp_path / "mine.safetensors"

    def build() -> ESPCN:
        Image.new("L", (64, 64)).save(photos / "set" / "later.png")
        return ESPCN(2)

    run(build, Recipe(steps=1, batch=1, patch=8), [photos], out)
    (stage,) = load(out).metadata["training"]
    assert stage["data"] == {"set": 3}


def test_a_network_starts_from_another(photos, tmp_path, monkeypatch) -> None:
    """Its record goes on from the other's."""
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert subpixel(monkeypatch, "train", "espcn", "--data", photos, "--out", first, *FEW) == 0
    start = ("--start", first, "--learning-rate", "1e-9")
    assert subpixel(monkeypatch, "train", "espcn", "--data", photos, "--out", second, *start, *FEW) == 0
    assert len(load(second).metadata["training"]) == 2
    np.testing.assert_allclose(
        load(second).convolutions[1].weight, load(first).convolutions[1].weight, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["--data", "{empty}", "--out", "{tmp}/a.safetensors"], 1, "which holds none"),
        (
            ["--data", "{photos}", "--out", "{tmp}/no/a.safetensors"],
            2,
            "--out: the output's folder must exist",
        ),
        (["--data", "{photos}", "--out", "{tmp}"], 2, "must end in .safetensors"),
        (["--data", "{photos}", "--out", "{tmp}/taken.safetensors"], 2, "must not be lost"),
        (["--data", "{photos}", "--out", "{tmp}/a.safetensors", "--patch", "900"], 1, "smaller patch"),
        ([*GOOD, "--start", "nothing"], 2, "--start: a network must be an existing file"),
        (
            [*GOOD, "--option", "activation"],
            2,
            "--option: it must be like activation=relu; got 'activation'.",
        ),
        ([*GOOD, "--option", "activation=gelu"], 2, "activation must be one of tanh, relu; got 'gelu'."),
        ([*GOOD, "--option", "depth=3"], 2, "an option of ESPCN must be one of activation; got 'depth'."),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    photos, tmp_path, monkeypatch, capsys, arguments, status, complaint
) -> None:
    """Refused before a step is taken, with one line that names a wrong option; nothing is written."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken.safetensors").write_bytes(b"precious")
    before = sorted(tmp_path.rglob("*"))
    places = {"empty": tmp_path / "empty", "tmp": tmp_path, "photos": photos}
    assert subpixel(monkeypatch, "train", "espcn", *(a.format(**places) for a in arguments)) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_resumed_run_must_be_the_same(photos, tmp_path, monkeypatch, capsys) -> None:
    """Another activation, another scale, a checkpoint cut short: one line each, and the network stays."""
    out = tmp_path / "mine.safetensors"
    command = ("train", "espcn", "--data", photos, "--out", out, *FEW)
    subpixel(monkeypatch, *command)
    whole = out.read_bytes()
    for other in (("--option", "activation=relu"), ("--scale", 2)):
        capsys.readouterr()
        assert subpixel(monkeypatch, *command, "--resume", *other) == 1
        assert "must be the one of its checkpoint" in capsys.readouterr().err.splitlines()[-1]
    checkpoint = tmp_path / "mine.checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    assert subpixel(monkeypatch, *command, "--resume") == 1
    assert f"{checkpoint} must be a whole checkpoint" in capsys.readouterr().err.splitlines()[-1]
    assert out.read_bytes() == whole


def test_one_image_is_not_enough(tmp_path, monkeypatch, capsys) -> None:
    """There must be something to validate on."""
    (tmp_path / "one").mkdir()
    Image.new("L", (64, 64)).save(tmp_path / "one" / "a.png")
    out = tmp_path / "a.safetensors"
    assert subpixel(monkeypatch, "train", "espcn", "--data", tmp_path / "one", "--out", out, *FEW) == 1
    assert "two images or more" in capsys.readouterr().err


def test_a_bad_image_is_named(photos, tmp_path, monkeypatch, capsys) -> None:
    """Training and evaluation say which file they cannot read."""
    bad = photos / "set" / "bad.png"
    bad.write_bytes((photos / "set" / "0.png").read_bytes()[:60])
    out = tmp_path / "a.safetensors"
    assert subpixel(monkeypatch, "train", "espcn", "--data", photos, "--out", out, *FEW) == 1
    assert str(bad) in capsys.readouterr().err


def test_evaluate_prints_the_table(photos, tmp_path, monkeypatch, capsys) -> None:
    """An image a row and the mean, for people and for machines."""
    out = tmp_path / "mine.safetensors"
    subpixel(monkeypatch, "train", "espcn", "--data", photos, "--out", out, *FEW)
    capsys.readouterr()
    assert subpixel(monkeypatch, "evaluate", out, "--data", photos / "set", "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert [row["image"] for row in result["images"]] == ["0.png", "1.png", "2.png"]
    assert result["mean"]["PSNR"] == pytest.approx(np.mean([r["PSNR"] for r in result["images"]]), abs=1e-3)
    Image.new("L", (48, 48), 128).save(photos / "set" / "flat.png")  # bicubic interpolation is perfect here
    assert subpixel(monkeypatch, "evaluate", out, "--data", photos / "set", "--json") == 0
    (result,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert result["images"][-1]["bicubic PSNR"] is None
    assert subpixel(monkeypatch, "evaluate", out, "--data", photos / "set") == 0
    assert "bicubic" in capsys.readouterr().out
