"""Jobs done one after the other: each error stays with its image, and keeps nothing of it alive."""

import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from subpixel.images import Picture, Written
from subpixel.jobs.plan import Job
from subpixel.jobs.run import Outcome, run
from subpixel.network import bicubic
from subpixel.upscale import Upscaler


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Reference counts alone must free what is checked: the collector runs when it likes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
def test_an_error_keeps_no_tile_alive() -> None:
    """Neither its own frames nor those of the error that led to it."""
    tiles: list[weakref.ref[Any]] = []

    def inner() -> None:
        tile = np.zeros(10)
        tiles.append(weakref.ref(tile))
        raise RuntimeError("inner")

    def broken(_source: Path, _destination: Path) -> Written:
        tile = np.zeros(10)
        tiles.append(weakref.ref(tile))
        try:
            inner()
        except RuntimeError as error:
            raise ValueError("outer") from error
        raise AssertionError

    outcome = run(Job(Path("a.png"), Path("b.png")), broken, overwrite=False)
    assert str(outcome.error) == "outer"
    assert len(tiles) == 2
    assert [tile() for tile in tiles] == [None, None]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_thousand_broken_photographs_take_no_more_memory_than_one(tmp_path: Path, suffix: str) -> None:
    """An outcome's text and paths stay, some 2 kB; a strip alone would be 270 kB, a picture more."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    source = tmp_path / f"cut{suffix}"
    PIL.Image.fromarray(noise).save(source)
    source.write_bytes(source.read_bytes()[:-9000])
    upscaler = Upscaler(bicubic(2))

    def fail(times: int) -> tuple[list[Outcome], int]:
        jobs = [Job(source, tmp_path / f"{index}.png") for index in range(times)]
        outcomes = [run(job, upscaler.file, overwrite=False) for job in jobs]
        gc.collect()  # what libvips's binding leaves in circles is free, if not yet freed
        return outcomes, tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    _, before = fail(2)
    outcomes, after = fail(5)
    tracemalloc.stop()
    assert [outcome.status for outcome in outcomes] == ["failed"] * 5
    assert [thing for thing in gc.get_objects() if type(thing) is Picture] == []
    assert after - before < 5 * 20_000
