import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx_ir as ir
import pytest
from onnx_models import assert_equal_models, model, noise, operators

from subpixel import cli
from subpixel.rewriter import decide
from subpixel.rewriter.onnx import files

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `subpixel rewrite` in a folder with models: exit status, output, lines of errors."""
    race = decide.race
    monkeypatch.setattr(decide, "race", lambda runs, _seconds, seed: race(runs, 0.01, seed))
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
