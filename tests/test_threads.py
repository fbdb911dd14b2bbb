"""An upscaler is used by many threads at once, goes to other processes, and survives a fork."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, get_args

import numpy as np
import PIL.Image
import pytest
from networks import random_network
from numpy.typing import NDArray

from subpixel import engines
from subpixel.network import bicubic
from subpixel.upscale import Upscaler

THREADS = 8
NAMES = get_args(engines.Name)
ESPCN = random_network(2, widths=(32, 16))
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (150 + index, 200, 3), dtype=np.uint8) for index in range(THREADS)]


def by_image(upscaler: Upscaler, index: int, _folder: Path) -> NDArray[Any]:
    return upscaler.image(IMAGES[index])


def by_plane(upscaler: Upscaler, index: int, _folder: Path) -> NDArray[Any]:
    return upscaler.plane(IMAGES[index][..., 0])


def by_file(upscaler: Upscaler, index: int, folder: Path) -> NDArray[Any]:
    source, destination = folder / f"{index}.png", folder / f"{index}-x2.png"
    PIL.Image.fromarray(IMAGES[index]).save(source)
    upscaler.file(source, destination)
    return np.asarray(PIL.Image.open(destination))


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """The results of as many threads, which start together."""
    start = Barrier(THREADS)

    def run(index: int) -> Any:
        start.wait()
        return work(index)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytest.mark.parametrize("enlarge", [by_image, by_plane, by_file])
@pytest.mark.parametrize("name", NAMES)
def test_each_thread_gets_its_own_image(name: Any, enlarge: Callable[..., Any], tmp_path: Path) -> None:
    """The engines are made while the threads wait for them; the images differ in size and in every pixel."""
    alone = [enlarge(Upscaler(ESPCN, name, "f32"), index, tmp_path) for index in range(THREADS)]
    upscaler = Upscaler(ESPCN, name, "f32")
    for _ in range(3):
        together = at_once(lambda index: enlarge(upscaler, index, tmp_path))
        for expected, enlarged in zip(alone, together, strict=True):
            np.testing.assert_array_equal(enlarged, expected)


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_is_made_once_for_all_threads(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    create = engines.create

    def counting(network: Any, *choices: Any) -> engines.Engine:
        made.append(network.name)
        return create(network, *choices)

    monkeypatch.setattr(engines, "create", counting)
    upscaler = Upscaler(ESPCN, name, "f32")
    at_once(lambda index: by_plane(upscaler, index, Path()))
    assert sorted(made) == ["bicubic-x2", "random"]


@pytest.mark.parametrize("other", [lambda u: pickle.loads(pickle.dumps(u)), copy.copy, copy.deepcopy])
def test_a_used_upscaler_is_copied_and_pickled(other: Callable[[Upscaler], Upscaler]) -> None:
    upscaler = Upscaler(ESPCN)
    expected = upscaler.image(IMAGES[0])
    np.testing.assert_array_equal(other(upscaler).image(IMAGES[0]), expected)
    np.testing.assert_array_equal(other(Upscaler(ESPCN)).image(IMAGES[0]), expected)


def test_an_upscaler_goes_to_another_process() -> None:
    upscaler = Upscaler(bicubic(2), "onnxruntime")
    expected = upscaler.plane(IMAGES[0][..., 0])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(upscaler.plane, (IMAGES[0][..., 0],)), expected)


FORK = """
import os, signal, sys
import numpy as np
from subpixel import Upscaler
from subpixel.network import load

image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
upscaler = Upscaler(load("espcn-x2"), sys.argv[1], "f32")
expected = upscaler.image(image)
for used in (upscaler, Upscaler(load("espcn-x2"), sys.argv[1], "f32")):
    if (child := os.fork()) == 0:
        signal.alarm(60)  # what waits for a thread that is not there would wait forever
        os._exit(int(np.abs(used.image(image).astype(int) - expected).max() > 1))
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("name", NAMES)
def test_an_upscaler_that_was_used_works_after_a_fork(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, name], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
