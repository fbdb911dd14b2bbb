"""Hold the tests of the native engine against faults: build it with one of them, and see that a test fails.

    python tools/mutate_native.py [WORD ...]    # faults whose names hold one of the words; default: all

`native_faults.txt` holds them: a file of `native/`, a name, what stands there once, what is put in its place.
Each takes half a minute, in a copy of the repository. The exit status is the number of those that survive:
for each there should be a test that it fails.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 600  # what waits for itself is a failure too
# Hypothesis draws the same examples each time, and does not look for the smallest that fails.
PROFILE = """
from hypothesis import Phase
settings.register_profile("faults", settings.get_profile("ci"), phases=[Phase.generate])
settings.load_profile("faults")
"""


class Fault(NamedTuple):
    """A place of a file that is changed."""

    file: str
    name: str
    right: str
    wrong: str


def faults() -> Iterator[Fault]:
    """Return the faults of `native_faults.txt`."""
    for block in Path(__file__).with_name("native_faults.txt").read_text().strip().split("\n\n"):
        title, right, wrong = block.split("\n")
        file, name = title.split(": ")
        yield Fault(file, name, right.removeprefix("-"), wrong.removeprefix("+"))


def reason(fault: Fault) -> str | None:
    """Build a copy of the repository with a fault, and return what a test says of it; None if all pass."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("native", "src", "tests"):
            shutil.copytree(ROOT / part, copy / part)
        shutil.copy(ROOT / "pyproject.toml", copy)
        source = copy / "native" / fault.file
        text = source.read_text()
        if text.count(fault.right) != 1:
            raise SystemExit(f"{fault.file} must hold once, for {fault.name!r}: {fault.right}")
        source.write_text(text.replace(fault.right, fault.wrong))
        with (copy / "tests" / "conftest.py").open("a") as conftest:
            conftest.write(PROFILE)
        subprocess.run([sys.executable, copy / "native" / "build.py"], check=True, capture_output=True)
        tests = sorted((copy / "tests").glob("test_native*.py"))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *map(str, tests)]
        environment = os.environ | {"PYTHONPATH": str(copy / "src"), "CI": "true"}
        try:
            done = subprocess.run(
                command,
                cwd=copy,
                env=environment,
                timeout=SECONDS,
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "it waits for itself"
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    return None if done.returncode == 0 else next(iter(failed), f"exit status {done.returncode}")


def main() -> int:
    """Return how many faults survive."""
    words = sys.argv[1:] or [""]
    chosen = [fault for fault in faults() if any(word in fault.name for word in words)]
    survivors = 0
    for fault in chosen:
        said = reason(fault)
        survivors += said is None
        print(f"{fault.file}: {fault.name}: {said or 'SURVIVES'}"[:150], flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} faults are found")
    return survivors


if __name__ == "__main__":
    sys.exit(main())
