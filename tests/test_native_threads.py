"""Threads of the native engine: as many as pay, none that is waited for in vain, none that changes a bit."""

import subprocess
import sys
import time
from collections.abc import Callable
from threading import Barrier, Event, Thread, current_thread, main_thread
from weakref import ref

import numpy as np
import pytest
from networks import random_network
from numpy.typing import NDArray

from subpixel.engines import native, workers
from subpixel.engines.native import Native
from subpixel.network import LRNetwork, bicubic

WIDE = random_network(2, widths=(64, 32))
RGB = random_network(3, 3, widths=(12, 8), activations=("prelu", "leaky_relu", None), skip="bicubic")


def planes_for(network: LRNetwork, height: int, width: int) -> NDArray[np.float32]:
    shape = (1, network.channels, height + 2 * network.radius, width + 2 * network.radius)
    return np.random.default_rng(1).random(shape, dtype=np.float32)


@pytest.mark.parametrize("network", [WIDE, RGB, bicubic(3)], ids=["one plane", "RGB", "bicubic"])
def test_the_number_of_threads_changes_no_bit(network: LRNetwork) -> None:
    planes = planes_for(network, 150, 170)
    expected = Native(network, threads=1)(planes)
    for threads in (2, 3, 8):
        for _ in range(5):
            np.testing.assert_array_equal(Native(network, threads=threads)(planes), expected)


@pytest.mark.parametrize(("size", "threads"), [((1, 1), 1), ((20, 20), 1), ((30, 50), 3), ((300, 300), 8)])
def test_only_as_many_threads_are_called_as_pay(
    size: tuple[int, int], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small image is finished before another thread would wake; a call is worth two million products."""
    shared = []

    def recording(work: Callable[[], object], threads: int) -> None:
        shared.append(threads)
        work()

    monkeypatch.setattr(native, "share", recording)
    network = bicubic(8)  # 1600 multiply-accumulates for a pixel
    Native(network, threads=8)(planes_for(network, *size))
    assert shared == [max(1, min(8, size[0] * size[1] * 1600 // 2_000_000))]
    assert size == (30, 50) or shared == [threads]


def test_there_are_as_many_threads_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, expected in ((1, 1), (6, 6), (4096, 1024)):
        monkeypatch.setattr(native, "processors", lambda count=count: count)
        assert Native(WIDE).threads == expected


@pytest.mark.parametrize("threads", [0, -1])
def test_no_thread_at_all_is_refused(threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads must be at least 1; got {threads}"):
        Native(WIDE, threads=threads)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> workers._Pool:
    """A pool without workers, which nobody else uses."""
    pool = workers._Pool()
    monkeypatch.setattr(workers, "_POOL", pool)
    return pool


@pytest.mark.usefixtures("pool")
def test_workers_help() -> None:
    """As many threads as are asked for work at once: each waits for all the others."""
    together = Barrier(4)
    workers.share(lambda: together.wait(60), 4)
    workers.share(lambda: together.wait(60), 4)  # with the workers that there are


@pytest.mark.usefixtures("pool")
def test_nobody_waits_for_a_busy_worker() -> None:
    """What no worker has begun when the caller is finished is not begun later."""
    busy, release, done = Barrier(3), Event(), []

    def hold() -> None:
        busy.wait(60)
        release.wait(60)

    holder = Thread(target=workers.share, args=(hold, 2))
    holder.start()
    busy.wait(60)  # until the holder and the only worker are at work
    workers.share(lambda: done.append(1), 2)
    assert done == [1]
    release.set()
    holder.join(60)
    workers.share(lambda: None, 2)
    assert done == [1]


def test_a_call_that_is_withdrawn_holds_no_image(pool: workers._Pool) -> None:
    """It stays in the queue for as long as all workers are busy."""
    busy, release = Barrier(3), Event()

    def hold() -> None:
        busy.wait(60)
        release.wait(60)

    class Work:
        def __call__(self) -> None:
            pass

    holder = Thread(target=workers.share, args=(hold, 2))
    holder.start()
    busy.wait(60)  # until the holder and the only worker are at work
    work = Work()
    held = ref(work)
    workers.share(work, 2)
    del work
    assert pool._calls.qsize() == 1
    assert held() is None
    release.set()
    holder.join(60)


def test_a_system_without_another_thread_leaves_the_work_to_the_caller(
    pool: workers._Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    planes = planes_for(WIDE, 100, 100)
    expected = Native(WIDE, threads=1)(planes)
    monkeypatch.setattr(Thread, "start", refused)
    np.testing.assert_array_equal(Native(WIDE, threads=4)(planes), expected)
    assert pool._workers == pool._calls.qsize() == 0


@pytest.mark.usefixtures("pool")
def test_the_callers_error_comes_after_the_helpers_are_finished() -> None:
    together, finished = Barrier(2), []

    def work() -> None:
        together.wait(60)
        if current_thread() is main_thread():
            raise KeyboardInterrupt
        time.sleep(0.05)
        finished.append(1)

    with pytest.raises(KeyboardInterrupt):
        workers.share(work, 2)
    assert finished == [1]


FORK = """
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
import numpy as np
from subpixel.engines.native import Native
from subpixel.network import load

engine = Native(load("espcn-x2"), threads=4)
planes = np.random.default_rng(0).random((1, 1, 120, 160), dtype=np.float32)
expected = engine(planes)

def use():
    while True:
        engine(planes)

threading.Thread(target=use, daemon=True).start()
for _ in range(20):
    if (child := os.fork()) == 0:
        signal.alarm(60)  # what waits for a thread that is not there would wait forever
        same = all((engine(planes) == expected).all() for _ in range(3))
        os._exit(not (same and threading.active_count() > 1))  # with workers of its own
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_process_forked_at_work_has_workers_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


AT_EXIT = """
import atexit
import numpy as np
from subpixel.engines.native import Native
from subpixel.network import load

engine = Native(load("espcn-x2"), threads=4)
planes = np.zeros((1, 1, 120, 160), np.float32)
atexit.register(lambda: print(engine(planes).shape))
"""


def test_it_runs_until_the_end_of_a_process() -> None:
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 1, 224, 304)\n", "")


def test_the_start_imports_little() -> None:
    """From `import subpixel` to the first result; each of these would take longer than a small image."""
    code = """
import sys
import numpy as np
before = set(sys.modules)
import subpixel
from subpixel.engines import create
create(subpixel.load("espcn-x3"), "native")(np.zeros((1, 1, 20, 20), np.float32))
slow = ("importlib.metadata", "importlib.resources", "hashlib", "tempfile", "statistics", "array_api_compat",
    "subpixel.files", "subpixel.engines.choice", "pyvips", "torch", "openvino")
print([name for name in slow if name in sys.modules and name not in before])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
