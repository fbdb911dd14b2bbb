"""`subpixel convert`: state dicts of others, equal where no border reaches; hostile files refused."""

import os
import signal
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from test_converting_modules import Compact, largest_difference
from torch import Tensor

from subpixel import cli, load
from subpixel.converting import modules, states

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `subpixel convert` in an empty folder: exit status, output, lines of errors."""
    monkeypatch.chdir(tmp_path)
    terminate = signal.getsignal(signal.SIGTERM)

    def convert(*arguments: str) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["subpixel", "convert", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err.splitlines()

    yield convert
    signal.signal(signal.SIGTERM, terminate)


def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(Compact(2, 4, 1).state_dict())


@pytest.mark.parametrize("inner", [None, "params", "params_ema", "state_dict"])
def test_a_pth_is_converted(run: Run, inner: str | None) -> None:
    module = Compact(4, 16, 3)
    given = module.state_dict()
    torch.save(given if inner is None else {inner: given}, "theirs.pth")
    assert run("theirs.pth", "-o", "ours.safetensors") == (0, "ours.safetensors\n", [])
    network = load("ours.safetensors")
    assert (network.name, network.upscale_factor, network.skip) == ("theirs", 4, "nearest")
    assert largest_difference(module, network) < 1e-12


def test_safetensors_of_half_precision_are_converted(run: Run) -> None:
    module = Compact(2, 8, 2).half()
    save_file(module.state_dict(), "theirs.safetensors")
    assert run("theirs.safetensors", "-o", "ours.safetensors")[0] == 0
    assert largest_difference(module, load("ours.safetensors")) < 1e-12


def test_averaged_weights_are_preferred(run: Run) -> None:
    """Networks are published for their averaged weights, where a file holds both."""
    best = Compact(2, 4, 1)
    torch.save({"params": state(), "params_ema": best.state_dict()}, "theirs.pth")
    assert run("theirs.pth", "-o", "ours.safetensors")[0] == 0
    assert largest_difference(best, load("ours.safetensors")) < 1e-12


class Hostile:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def changed(**entries: Any) -> dict[str, Any]:
    """A state dict with other entries, or without those that are None."""
    named = {name.replace("_", "."): value for name, value in entries.items()}
    return {name: value for name, value in (state() | named).items() if value is not None}


SPOILT: dict[str, tuple[Any, str]] = {
    "hostile": (
        {"body.0.weight": Hostile()},
        "nothing else; got 'posix system' in it.",
    ),
    "a whole module": (Compact(2, 4, 1), "nothing else; got 'test_converting_modules Compact' in it."),
    "a list": ([torch.zeros(3)], "it must hold tensors by name; got a list."),
    "empty": ({}, "it must have 1 to 384 tensors; got 0."),
    "many": ({f"body.{i}.weight": torch.zeros(1) for i in range(385)}, "1 to 384 tensors; got 385."),
    "another family": (
        OrderedDict({"conv1.weight": torch.zeros(3)}),
        "the compact family's; got 'conv1.weight'.",
    ),
    "a number": (changed(body_0_bias=3), "body.0.bias must be a dense tensor of floats."),
    "integers": (changed(body_0_bias=torch.zeros(4, dtype=torch.int32)), "a dense tensor of floats."),
    "sparse": (changed(body_0_bias=torch.zeros(4).to_sparse()), "nothing else; got 'torch._utils _re"),
    "meta": (changed(body_0_bias=torch.zeros(4, device="meta")), "nothing else; got 'torch._utils _re"),
    "a value repeated": (changed(body_0_bias=torch.zeros(1).expand(2**40)), "as float32; got 4398046"),
    "no bias": (changed(body_0_bias=None), "it must have body.0.bias, which is missing."),
    "no PReLU": (changed(body_1_weight=None), "it must have body.1.weight, which is missing."),
    "a bias too many": (changed(body_1_bias=torch.zeros(4)), "by turns; got 'body.1.bias'."),
    "axes": (
        changed(body_2_weight=torch.zeros(4, 4)),
        "body.2.weight must have 4 axes; got the shape (4, 4).",
    ),
    "bias": (
        changed(body_2_bias=torch.zeros(5)),
        "body.2 must have a bias for each output; got (4, 4, 3, 3)",
    ),
    "slopes": (changed(body_1_weight=torch.zeros(5)), "slope must be of shape (4,); got (5,)."),
    "no pixel": (changed(body_0_weight=torch.zeros(4, 0, 3, 3)), "body.0 must have a bias for each output"),
    "channels": (changed(body_2_weight=torch.zeros(4, 5, 3, 3)), "must take 4 channels"),
    "even": (changed(body_2_weight=torch.zeros(4, 4, 2, 2)), "k odd and 1 to 31"),
    "NaN": (changed(body_2_bias=torch.full((4,), torch.nan)), "bias must be finite"),
    "the image": (changed(body_0_weight=torch.zeros(4, 5, 3, 3)), "r**2 times the 5 channels of the image"),
}


@pytest.mark.parametrize(("content", "reason"), SPOILT.values(), ids=SPOILT)
def test_a_file_with_one_thing_wrong_is_refused_in_one_line(run: Run, content: Any, reason: str) -> None:
    torch.save(content, "theirs.pth")
    status, out, errors = run("theirs.pth", "-o", "ours.safetensors")
    assert (status, out, len(errors)) == (2, "", 1)
    assert "FILE: theirs.pth must hold a network that can be converted; " in errors[0]
    assert reason in errors[0]
    assert [path.name for path in Path().iterdir()] == ["theirs.pth"]  # nothing executed, nothing written


def test_files_that_are_no_state_dict(run: Run) -> None:
    Path("text.pth").write_text("no network")
    torch.save(state(), "old.pth", _use_new_zipfile_serialization=False)
    torch.save(state(), "whole.pth")
    Path("cut.pth").write_bytes(Path("whole.pth").read_bytes()[:-100])
    with zipfile.ZipFile("other.pth", "w") as file:
        file.writestr("a", "b")
    with zipfile.ZipFile("bomb.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data/0", bytes(2**20))
    with Path("large.pth").open("wb") as empty:
        empty.truncate(states.MAX_BYTES + 1)
    reasons = {
        "text": "it must be safetensors, or a file of torch.save since 1.6",
        "old": "it must be safetensors, or a file of torch.save since 1.6",
        "cut": "it must be safetensors, or a file of torch.save since 1.6",
        "other": "it must hold one data.pkl",
        "bomb": "it must be uncompressed; got 1048576 bytes",
        "large": "the file must have at most 67108864 bytes; got 67108865.",
        "none": "it must be an existing file; got none.pth.",
    }
    for name, reason in reasons.items():
        status, out, errors = run(f"{name}.pth", "-o", "ours.safetensors")
        assert (status, out, len(errors)) == (2, "", 1)
        assert reason in errors[0]
    assert not Path("ours.safetensors").exists()


@pytest.mark.parametrize(
    ("pickle", "reason"),
    [
        (b"cbuiltins\nbytearray\nJ\x00\x00\x00\x70\x85R.", "got 'builtins bytearray' in it."),
        (b"ctorch\nTensor\nJ\x00\x00\x00\x70\x85R.", "got 'torch Tensor' in it."),
        (b"ctorch\nFloatStorage\nJ\x00\x00\x00\x70\x85R.", "refuses it with TypeError"),
        (b"(S'1'\nios\nsystem\n.", "nothing else; got"),
        (b"\x8c\x02os\x8c\x06system\x93.", "nothing else; got 'None' in it."),
        (b"N." + bytes(2**20), "its data.pkl must have at most 1048576 bytes"),
        (b"", "its data.pkl must be a pickle; pickle exhausted"),
    ],
)
def test_a_pickle_that_makes_more_than_tensors_is_not_loaded(run: Run, pickle: bytes, reason: str) -> None:
    """Among them a few bytes that ask for two gigabytes."""
    torch.save({}, "empty.pth")
    with zipfile.ZipFile("empty.pth") as empty, zipfile.ZipFile("theirs.pth", "w") as file:
        for name in empty.namelist():
            file.writestr(name, b"\x80\x02" + pickle if name.endswith("data.pkl") else empty.read(name))
    status, _, errors = run("theirs.pth", "-o", "ours.safetensors")
    assert (status, len(errors)) == (2, 1)
    assert reason in errors[0]


def test_an_output_that_exists_is_kept(run: Run) -> None:
    torch.save(state(), "theirs.pth")
    Path("ours.safetensors").write_text("mine")
    status, _, (error,) = run("theirs.pth", "-o", "ours.safetensors")
    assert (status, Path("ours.safetensors").read_text()) == (2, "mine")
    assert "--out: it must not exist; got ours.safetensors." in error


def test_what_does_not_compute_the_same_is_not_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are read one hundredth too large are found by running both."""
    torch.save(state(), "theirs.pth")
    monkeypatch.setattr(modules, "_array", lambda tensor: 1.01 * tensor.detach().numpy())
    status, _, (error,) = run("theirs.pth", "-o", "ours.safetensors")
    assert (status, Path("ours.safetensors").exists()) == (2, False)
    assert "on a random image it differs by" in error
