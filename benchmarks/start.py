"""How long does a start take? Fresh processes by turns: NumPy alone, a first result, `subpixel upscale`.

    python benchmarks/start.py [-n 20] [--photo FILE]

Prints medians, and where the time goes. Without a photograph, `subpixel upscale` enlarges that of
`examples/`, continued by its mirror image to 512x512 pixels, from PNG to PNG.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from subpixel.engines import available
from subpixel.measure.machine import features, processor, processors

HERE = Path(__file__).parent
SIDE = 512

FIRST_RESULT = """
import json, os, sys, time
laps = {"Python": time.time() - float(os.environ["STARTED"])}
def lap(name):
    laps[name] = time.time() - float(os.environ["STARTED"]) - sum(laps.values())
import numpy
lap("import of NumPy")
from subpixel.engines import create
from subpixel.network import load
lap("import of subpixel")
network = load("espcn-x3")
lap("load")
engine = create(network)
lap(f"create {engine}")
engine(numpy.zeros((1, 1, 64, 64), numpy.float32))
lap("first result")
print(json.dumps(laps), file=sys.stderr)
"""

Times = dict[str, float]  # milliseconds by section; "all": of the process, "end": after all sections


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-n", type=int, default=20, help="processes of each kind")
    parser.add_argument("--photo", type=Path, help="a photograph to enlarge, instead of that of the examples")
    options = parser.parse_args()
    print(
        f"{processor()}, {processors()} processors: {' '.join(features())}; engines: {', '.join(available())}"
    )
    with tempfile.TemporaryDirectory() as folder:
        photo = options.photo or mirrored(HERE.parent / "examples" / "photo.png", Path(folder, "photo.png"))
        upscale = ["upscale", str(photo), "--out", str(Path(folder, "out.png")), "--overwrite"]
        commands = {
            "NumPy": ["-c", "import numpy"],
            "first result": ["-c", FIRST_RESULT],
            "upscale": ["-m", "subpixel", *upscale],
            "upscale by sections": [str(HERE / "sections.py"), *upscale],
        }
        # The first processes compile modules, and find out which engine is the fastest.
        rounds = [
            {name: run(command, folder) for name, command in commands.items()} for _ in range(options.n + 1)
        ][1:]
    beyond = median(times["first result"]["all"] - times["NumPy"]["all"] for times in rounds)
    print(f"\nfirst result of espcn-x3, beyond a process that imports NumPy: {beyond:.0f} ms")
    for name in commands:
        print(f"\n{name}: {'; '.join(medians([times[name] for times in rounds]))}")


def run(command: Sequence[str], cache: str) -> Times:
    """Run Python; return the time of the process, and those that the last line of its stderr tells."""
    start = time.time()
    environment = os.environ | {"SUBPIXEL_CACHE": cache, "STARTED": str(start)}
    done = subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True)
    seconds = time.time() - start
    sections = json.loads(done.stderr.splitlines()[-1]) if done.stderr else {}
    if sections:
        sections["end"] = seconds - sum(sections.values())
    return {name: 1000 * value for name, value in {"all": seconds, **sections}.items()}


def medians(rounds: Sequence[Times]) -> list[str]:
    return [f"{section} {median(times[section] for times in rounds):.0f} ms" for section in rounds[0]]


def mirrored(photo: Path, path: Path) -> Path:
    """Write the photograph, continued by its mirror image or cut to `SIDE` pixels."""
    pixels = np.asarray(Image.open(photo))
    pad = [(0, max(0, SIDE - length)) for length in pixels.shape[:2]]
    Image.fromarray(np.pad(pixels, [*pad, (0, 0)], "symmetric")[:SIDE, :SIDE]).save(path)
    return path


if __name__ == "__main__":
    main()
