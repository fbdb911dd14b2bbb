"""Is the machine quiet, and what could it do at best? A loop of multiply-adds in float32, on each thread.

What disturbs a measurement, such as another process or another machine on the same processor, slows this
loop as well, which is never slow by itself: it touches no memory.
"""

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from ctypes import CDLL, c_double, c_float, c_longlong
from pathlib import Path
from threading import Barrier

STEPS = 2_000_000  # 4 to 7 ms
FLAGS = {
    "avx512": ["-mavx512f", "-mavx512vl"],
    "avx2": ["-mavx2", "-mfma"],
    "sse2": ["-msse2"],
    "neon": [],
}


class Probe:
    """The loop for an instruction set.

    Args:
        isa: a name of `FLAGS`; the processor must have it.
        folder: a place for the compiled loop.

    Attributes:
        best: the best rate so far, by number of threads.
    """

    def __init__(self, isa: str, folder: Path) -> None:
        library = CDLL(_compiled(isa, folder))
        library.probe.argtypes, library.probe.restype = [c_longlong], c_float
        self._operations = STEPS * c_double.in_dll(library, "operations_of_a_step").value
        self._run = library.probe  # which holds no lock of Python's
        self.best: dict[int, float] = {}

    def rate(self, threads: int) -> float:
        """Run the loop on several threads at once; return the operations a second of the slowest one."""
        barrier = Barrier(threads)
        with ThreadPoolExecutor(threads) as pool:
            rate = min(pool.map(self._rate, [barrier] * threads))
        self.best[threads] = max(rate, self.best.get(threads, 0.0))
        return rate

    def _rate(self, barrier: Barrier) -> float:
        barrier.wait()
        start = time.perf_counter()
        self._run(STEPS)
        return self._operations / (time.perf_counter() - start)


def _compiled(isa: str, folder: Path) -> Path:
    """Compile the loop with the system's compiler, or else with that of the package `ziglang`."""
    library = folder / f"probe-{isa}.so"
    compiler = ["cc"] if shutil.which("cc") else [sys.executable, "-m", "ziglang", "cc"]
    flags = ["-O3", "-ffp-contract=fast", *FLAGS[isa], "-shared", "-fPIC", "-o", library]
    subprocess.run([*compiler, *flags, Path(__file__).with_suffix(".c")], check=True)
    return library
