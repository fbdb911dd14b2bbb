import json
import os
import pickle
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx_models import assert_equal_models, model, noise, operators

from subpixel import cli
from subpixel.rewriter import decide
from subpixel.rewriter.onnx import arrays, files
from subpixel.rewriter.onnx.arrays import load_arrays

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `subpixel rewrite` in a folder with models: exit status, output, lines of errors."""
    race = decide.race
    monkeypatch.setattr(decide, "race", lambda runs, _seconds, seed, **more: race(runs, 0.01, seed, **more))
    monkeypatch.chdir(tmp_path)
    files.save_model(upsampler(), Path("decoder.onnx"))
    files.save_model(model(lambda op, x: op("Relu", x), [1, 3, 4, 4]), Path("nothing.onnx"))
    terminate = signal.getsignal(signal.SIGTERM)

    def rewrite(*arguments: str) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["subpixel", "rewrite", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err.splitlines()

    yield rewrite
    signal.signal(signal.SIGTERM, terminate)


def upsampler() -> ir.Model:
    return model(lambda op, x: op("ConvTranspose", x, noise(2, 3, 4, 4), strides=[2, 2]), [1, 2, "h", "w"])


def new_files() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.name not in ("decoder.onnx", "nothing.onnx"))


ALL = ("decoder.onnx", "--change", "all", "--shape", "x=1x2x8x9")


def test_a_model_is_rewritten_beside_itself(run: Run) -> None:
    status, out, errors = run(*ALL)
    assert (status, errors) == (0, [])
    assert out.splitlines()[0].startswith("ONNX Runtime ")
    assert "transposed convolution" in out
    assert out.endswith("decoder-rewritten.onnx\n")
    assert new_files() == ["decoder-rewritten.onnx"]
    changed = files.load_model(Path("decoder-rewritten.onnx"))
    assert "ConvTranspose" not in operators(changed)
    assert_equal_models(upsampler(), changed, noise(1, 2, 8, 9), noise(1, 2, 3, 4))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_output_report_and_cache(run: Run, runtime: str) -> None:
    options = ("--for", runtime, "-o", "new.onnx", "--json", "report.json", "--cache", "cache.json")
    assert run(*ALL, *options)[0] == 0
    assert new_files() == ["cache.json", "new.onnx", "report.json"]
    (site,) = json.loads(Path("report.json").read_text())["sites"]
    assert site["was"] == "transposed convolution"
    first = Path("new.onnx").read_bytes()
    assert "as decided before" in run(*ALL, *options)[1]
    assert Path("new.onnx").read_bytes() == first


def test_nothing_to_change(run: Run) -> None:
    status, out, errors = run("nothing.onnx")
    assert (status, errors, new_files()) == (0, [], [])
    assert "nothing changed" in out


def test_an_equal_file_where_one_is_wanted(run: Run) -> None:
    status, out, errors = run("nothing.onnx", "--out", "same.onnx")
    assert (status, errors) == (0, [])
    assert out.endswith("same.onnx: equal to nothing.onnx\n")
    same = files.load_model(Path("same.onnx"))
    assert ir.to_proto(same) == ir.to_proto(files.load_model(Path("nothing.onnx")))


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (("decoder.onnx",), 2, "--shape: the shape of the input x must be known; got [1,2,h,w]. Pass"),
        (("decoder.onnx", "--shape", "x=1x2x8"), 2, "example_inputs must be FLOAT"),
        (("decoder.onnx", "--shape", "x=1x2x8xw"), 2, "it must be like x=1x3x64x64; got 'x=1x2x8xw'."),
        (("decoder.onnx", "--shape", "y=1x2"), 2, "shapes must be for the inputs x; got y."),
        (("missing.onnx",), 1, "missing.onnx: No such file or directory"),
        (("text.onnx",), 1, "the file must be an ONNX model; got text.onnx"),
        (("broken.onnx", "--shape", "x=1x2x8x9"), 1, "every value must come from a node or an input; got "),
        (("nothing.onnx", "--for", "tensorrt"), 2, "'tensorrt' is not one of"),
        (("nothing.onnx", "-o", "no/folder.onnx"), 2, "--out: its folder must exist; got no/folder.onnx."),
        (("nothing.onnx", "--json", "no/report.json"), 2, "--json: its folder must exist"),
        (("nothing.onnx", "-o", "."), 2, "it must be a file in a folder that can be written to; got ."),
        (("nothing.onnx", "-o", ""), 2, "'--out' / '-o': a path must not be empty."),
        (
            ("https://models.example/a.onnx",),
            2,
            "there is no network access; got https://models.example/a.onnx",
        ),
        (("nothing.onnx", "--cache", "/"), 2, "--cache: it must be a file"),
        ((".",), 1, ".: Is a directory"),
        (
            ("nothing.onnx", "--seconds", "-1"),
            2,
            "--seconds: seconds must be a finite number, 0 or more",
        ),
        (("nothing.onnx", "--seconds", "nan"), 2, "--seconds: seconds must be a finite number"),
        (("nothing.onnx", "--seed", "-1"), 2, "--seed: seed must be an integer from 0 to 2**63 - 1; got -1."),
        (("nothing.onnx", "--threads", "0"), 2, "--threads: threads must be from 1 to 1024; got 0."),
        (("nothing.onnx", "--input", "text.onnx"), 2, "--input: the example inputs must be an .npz file"),
        (("nothing.onnx", "--input", "x.npz", "--shape", "x=1x2"), 2, "--shape: it cannot be given together"),
        ((), 2, "Missing argument"),
    ],
)
def test_errors_are_one_line(run: Run, arguments: tuple[str, ...], status: int, error: str) -> None:
    Path("text.onnx").write_text("no model")
    Path("broken.onnx").write_bytes(Path("decoder.onnx").read_bytes().replace(b"c0", b"no", 1))
    actual, _, errors = run(*arguments)
    assert actual == status
    assert len(errors) == 1
    assert error in errors[0]
    assert new_files() == ["broken.onnx", "text.onnx"]


def test_names_of_nodes_cannot_control_the_terminal(run: Run) -> None:
    hostile = upsampler()
    (node,) = hostile.graph
    node.name = "up\x1b[2J\x9b31m"
    files.save_model(hostile, Path("hostile.onnx"))
    status, out, errors = run("hostile.onnx", "--change", "all", "--shape", "x=1x2x8x9")
    assert (status, errors) == (0, [])
    assert r"up\x1b[2J\x9b31m" in out
    assert all(character.isprintable() or character == "\n" for character in out)


def test_rewriting_in_place(run: Run) -> None:
    assert run(*ALL, "--out", "decoder.onnx")[0] == 0
    changed = files.load_model(Path("decoder.onnx"))
    assert "ConvTranspose" not in operators(changed)
    assert_equal_models(upsampler(), changed, noise(1, 2, 8, 9))


def test_a_folder_that_cannot_be_written_to(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is an error at once, not when all has been timed."""
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    status, out, (error,) = run("nothing.onnx", "--json", "report.json")
    assert (status, out, new_files()) == (2, "", [])
    assert "--json: it must be a file in a folder that can be written to; got report.json." in error


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_inputs_and_threads_of_ones_own(run: Run, runtime: str) -> None:
    """The same inputs and seed decide at the shapes of the file; the report says the threads."""
    np.savez("inputs.npz", x=noise(1, 2, 8, 9))
    options = ("--input", "inputs.npz", "--threads", "1", "--seconds", "0", "--seed", "7", "--for", runtime)
    status, out, errors = run("decoder.onnx", "--change", "all", "-o", "new.onnx", *options)
    assert (status, errors) == (0, [])
    assert ", 1 threads, " in out.splitlines()[0]
    assert_equal_models(upsampler(), files.load_model(Path("new.onnx")), noise(1, 2, 8, 9))


def archive(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, content)
    return path


def header(shape: str, descr: str = "<f4") -> bytes:
    """The start of an array in NumPy's format."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (header("(1000000000000,)"), "must hold the 4000000000000 bytes that it announces"),
        (header("(1,)", "|O") + pickle.dumps([print]), "Object arrays cannot be loaded"),
        (b"no array", "magic string"),
        (b"", "magic string|must be an .npz file"),
    ],
)
def test_a_strangers_arrays_are_bounded_and_run_nothing(tmp_path: Path, content: bytes, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        load_arrays(archive(tmp_path / "x.npz", "x.npy", content))


def test_arrays_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(100), b=np.zeros(100))
    assert {name: array.shape for name, array in load_arrays(path).items()} == {"a": (100,), "b": (100,)}
    monkeypatch.setattr(arrays, "LARGEST", 1500)
    with pytest.raises(ValueError, match="must have at most 1500 bytes; got more in"):
        load_arrays(path)
