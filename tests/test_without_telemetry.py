"""Nothing of ours, and nothing that we import, opens a connection or writes outside its outputs.

A child process with an empty home does what users do. Meanwhile an audit hook lists what Python opens, and
`strace`, where it can be had, what the libraries open.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
from onnx_models import model, noise

from subpixel.engines import cache
from subpixel.rewriter.onnx.files import save_model

AUDIT = """
import os, sys

log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT)

def note(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in ("os.mkdir", "os.rename") or event.startswith("socket.") and "new" not in event:
        os.write(log, f"{event} {[str(a) for a in arguments]}\\n".encode())

sys.addaudithook(note)
"""

EVERYTHING = """
import numpy as np
import torch
import subpixel
import subpixel.evaluation
import subpixel.training.run

for engine in ("auto", "native", "openvino", "onnxruntime", "torch"):
    subpixel.Upscaler(engine=engine).image(np.zeros((8, 8, 3), np.uint8))
model = torch.nn.Sequential(torch.nn.Upsample(scale_factor=2), torch.nn.Conv2d(3, 3, 3, padding=1)).eval()
subpixel.rewrite(model, torch.zeros(1, 3, 8, 8), seconds=0)
for runtime in ("openvino", "onnxruntime"):
    subpixel.rewrite(sys.argv[1], runtime=runtime, seconds=0)
"""

COMMAND = "from subpixel.cli import main; main()"

CHANGES = r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE|\b(creat|mkdir\w*|rename\w*|link\w*|symlink\w*)\("
CONNECTIONS = r"AF_INET|\b(sendto|sendmsg|sendmmsg)\(|^socket\."


class Watched:
    """What a child process opened."""

    def __init__(self, folder: Path, code: str, *arguments: object, stubs: Path | None = None) -> None:
        self.folder, self.home, self.temporary = folder, folder / "home", folder / "temporary"
        self.home.mkdir()
        self.temporary.mkdir()
        audited, traced = folder / "audited", folder / "traced"
        line = [*strace(traced), sys.executable, "-c", AUDIT + code, *map(str, (audited, *arguments))]
        paths = [str(stubs) if stubs else "", os.environ.get("PYTHONPATH", "")]
        variables = {  # all that it has: none that says that this is a CI job
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
        }
        done = subprocess.run(
            list(map(str, line)), env=variables, capture_output=True, text=True, check=False
        )
        self.status, self.errors = done.returncode, done.stderr
        self.lines = audited.read_text().splitlines()
        if traced.exists():
            self.lines += traced.read_text().splitlines()

    def connections(self) -> list[str]:
        return [line for line in self.lines if re.search(CONNECTIONS, line)]

    def changes(self) -> list[str]:
        """What it opened for writing, made or renamed outside the folder, devices excepted."""
        inside = (str(self.folder), '"/dev/', "'/dev/")
        found = (line for line in self.lines if line.startswith(("open ", "os.")) or re.search(CHANGES, line))
        return [line for line in found if not any(path in line for path in inside) and "ENOENT" not in line]

    def kept(self) -> dict[str, str]:
        """The files that it left in the user's home and in the temporary folder, with what is in them."""
        files = [*self.home.rglob("*"), *self.temporary.rglob("*")]
        return {path.name: path.read_text() for path in files if path.is_file()}


def strace(log: Path) -> list[str]:
    """The command that lists what a process opens, where the system allows it."""
    calls = "trace=%network,/^(open|creat|mkdir|rename|link|symlink)"
    command = ["strace", "-f", "-qq", "-e", calls, "-o", str(log)]
    if shutil.which("strace") is None or subprocess.run([*command, "true"], check=False).returncode != 0:
        return []
    return command


def assert_silent(watched: Watched) -> None:
    assert watched.status == 0, watched.errors
    assert watched.connections() == []
    assert watched.changes() == []
    kept = watched.kept()
    choices = json.loads(kept.pop(cache.NAME, "{}"))  # hashes of what was chosen from, and what was chosen
    assert all(re.fullmatch("[0-9a-f]{64} [a-z]+", " ".join(item)) for item in choices.items())
    assert kept == {}


def test_the_command_is_silent(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (6, 4)).save(tmp_path / "photo.png")
    assert_silent(Watched(tmp_path, COMMAND, "upscale", tmp_path / "photo.png"))


def test_engines_the_rewriter_and_training_are_silent(tmp_path: Path) -> None:
    decoder = model(lambda op, x: op("ConvTranspose", x, noise(2, 3, 4, 4), strides=[2, 2]), [1, 2, 8, 8])
    save_model(decoder, tmp_path / "decoder.onnx")
    assert_silent(Watched(tmp_path, EVERYTHING, tmp_path / "decoder.onnx"))


def test_files_and_connections_are_seen(tmp_path: Path) -> None:
    """The watch is no formality: it sees a file elsewhere, one in the home, and a peer without a message."""
    (tmp_path / "child").mkdir()
    code = """
import pathlib, socket
pathlib.Path(sys.argv[1]).write_text("elsewhere")
pathlib.Path.home().joinpath("id").write_text("a lasting identifier")
socket.socket(type=socket.SOCK_DGRAM).connect(("127.0.0.1", 9))
"""
    watched = Watched(tmp_path / "child", code, tmp_path / "elsewhere")
    assert any(str(tmp_path / "elsewhere") in line for line in watched.changes())
    assert watched.kept() == {"id": "a lasting identifier"}
    assert watched.connections()


TELEMETRY = """
class Telemetry:
    def __init__(self, *arguments, **options):
        raise SystemExit("telemetry was started")
"""


ONNXRUNTIME = """
import os, sys

print(os.environ["ORT_DISABLE_TELEMETRY"], file=sys.stderr)

def disable_telemetry_events():
    print("switched off", file=sys.stderr)
"""


@pytest.fixture
def telemetry(tmp_path: Path) -> Path:
    """A package in the place of OpenVINO's telemetry that stops the process when it is started."""
    package = tmp_path / "stubs" / "openvino_telemetry"
    (package / "backend").mkdir(parents=True)
    (package / "__init__.py").write_text(TELEMETRY)
    (package / "backend" / "__init__.py").write_text("backend_ga4 = None")
    return tmp_path / "stubs"


@pytest.mark.parametrize(
    ("code", "errors"),
    [
        ("import openvino", "telemetry was started\n"),
        ("import subpixel.without_telemetry.openvino, openvino, openvino_telemetry.backend", ""),
    ],
)
def test_openvino_does_without_its_telemetry(tmp_path: Path, telemetry: Path, code: str, errors: str) -> None:
    """What OpenVINO does by itself, and what it does here; afterwards others can import its telemetry."""
    watched = Watched(tmp_path, code, stubs=telemetry)
    assert watched.errors == errors


def test_onnxruntime_is_imported_with_its_telemetry_off(tmp_path: Path) -> None:
    """Off before the import, and by its own switch; the variables of the process are as before afterwards."""
    (tmp_path / "stubs").mkdir()
    (tmp_path / "stubs" / "onnxruntime.py").write_text(ONNXRUNTIME)
    code = "import subpixel.without_telemetry.onnxruntime; sys.exit('ORT_DISABLE_TELEMETRY' in os.environ)"
    watched = Watched(tmp_path, code, stubs=tmp_path / "stubs")
    assert (watched.status, watched.errors) == (0, "1\nswitched off\n")
