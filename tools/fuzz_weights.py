"""Hold `load` and the native engine against damaged weights files, under a limit of memory, on Linux.

    python tools/fuzz_weights.py [COUNT]    # default: 10000

Each is a file of a network in which bytes, numbers of its description, tensors' values or its length are
changed. It must be refused by a `ValueError`, or give a network that enlarges an image, to numbers or to the
error that says that they are none. Anything else ends this process, a violation of memory as well.
"""

import random
import re
import resource
import struct
import sys
import tempfile
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np

from subpixel.engines.native import Native
from subpixel.network import LRNetwork, bicubic, load, shipped

LIMIT = 2**30  # bytes that the process may ask for beyond what it has at the start
SIDE = 5  # pixels of the image
STRANGE = [float("inf"), float("nan"), 1e38, -1e38, 1e6, 1e-42]


def originals(folder: Path) -> list[bytes]:
    """Return the shipped files, and one of a network with a skip of its own."""
    bicubic(2).save(folder / "bicubic.safetensors")
    weights = files("subpixel") / "weights"
    shipped_files = [(weights / f"{name}.safetensors").read_bytes() for name in shipped()]
    return [*shipped_files, (folder / "bicubic.safetensors").read_bytes()]


def damaged(original: bytes, draw: random.Random) -> bytes:
    """Return a file with one to four changes."""
    data = bytearray(original)
    for _ in range(draw.randint(1, 4)):
        draw.choice([change_bytes, change_number, change_value, change_length])(data, draw)
    return bytes(data)


def header_end(data: bytearray) -> int:
    """Return where the description ends and the tensors begin."""
    return 8 + int.from_bytes(data[:8], "little") % max(1, len(data))


def change_bytes(data: bytearray, draw: random.Random) -> None:
    """Change a byte, more often one of the description."""
    end = header_end(data) if draw.random() < 0.8 else len(data)
    if data:
        data[draw.randrange(min(end, len(data)))] = draw.randrange(256)


def change_number(data: bytearray, draw: random.Random) -> None:
    """Change a number of the description; its length too."""
    numbers = list(re.finditer(rb"\d+", bytes(data[8 : header_end(data)])))
    if not numbers:
        return
    found = draw.choice(numbers)
    number = draw.choice([0, 1, 2, 3, 9, 16, 17, 1024, 2**31, 2**63, draw.randrange(10**5)])
    data[8 + found.start() : 8 + found.end()] = b"%d" % number
    length = int.from_bytes(data[:8], "little") + len(b"%d" % number) - len(found.group())
    data[:8] = max(0, length).to_bytes(8, "little")


def change_value(data: bytearray, draw: random.Random) -> None:
    """Change a value of a tensor."""
    start = header_end(data)
    if len(data) >= start + 4:
        place = start + 4 * draw.randrange((len(data) - start) // 4)
        data[place : place + 4] = struct.pack("<f", draw.choice(STRANGE))


def change_length(data: bytearray, draw: random.Random) -> None:
    """Cut the file, or double a piece of it."""
    place = draw.randrange(len(data) + 1)
    if draw.random() < 0.5:
        del data[place:]
    else:
        data[place:place] = data[place : place + draw.randrange(1000)]


def outcome(path: Path) -> str:
    """Load a file and run what it holds; return what became of it."""
    try:
        network = load(path)
    except ValueError:
        return "refused"
    try:
        enlarge(network)
    except ValueError as error:
        if "NaN" not in str(error):
            raise
        return "not numbers"
    return "enlarged"


def enlarge(network: LRNetwork) -> None:
    """Enlarge a small random image on two threads."""
    sides = [SIDE + 2 * network.radius] * 2
    planes = np.random.default_rng(0).random((1, network.channels, *sides), dtype=np.float32)
    result = Native(network, threads=2)(planes)
    if result.shape[2] != SIDE * network.upscale_factor:
        raise AssertionError(f"{result.shape} for a factor of {network.upscale_factor}")


def limit_memory() -> None:
    """Let each further request for much memory fail."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT, used + LIMIT))


def main() -> None:
    """Print how many files came to what."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        sources = originals(Path(folder))
        path = Path(folder, "damaged.safetensors")
        limit_memory()
        for seed in range(count):
            draw = random.Random(seed)
            path.write_bytes(damaged(draw.choice(sources), draw))
            outcomes[outcome(path)] += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{count} files: {dict(outcomes)}; at most {peak:.0f} MiB in memory")


if __name__ == "__main__":
    main()
