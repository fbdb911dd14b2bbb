"""Make the sdist and the wheel of every target, on one machine.

    python tools/wheels.py dist

`hatchling` and `ziglang` must be installed; both come with the extra `dev`.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "native"))
from build import NATIVE, TARGETS


def make(folder: Path, kind: str, target: str = "") -> None:
    """Run the build backend once, for the target that the hook is to build for."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder.resolve())]
    environment = os.environ | {"SUBPIXEL_TARGET": target}
    subprocess.run(command, cwd=NATIVE.parent, env=environment, check=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]), "sdist")
    for target in TARGETS:
        make(Path(sys.argv[1]), "wheel", target)
