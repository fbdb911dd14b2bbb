"""The native engine between Python and C: what reaches its library, and who frees what it makes."""

import ctypes
import gc
import logging
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contestants import hide
from networks import evaluate, planes_for, random_network, result_for
from numpy.typing import NDArray

from subpixel.engines import available, create, engine, library, native
from subpixel.engines.library import instruction_sets
from subpixel.engines.native import Native
from subpixel.network import LRConvolution, LRNetwork, bicubic, load

NETWORK = random_network(2, widths=(16, 8))
RGB = random_network(3, 3, widths=(12, 8), activations=("prelu", "leaky_relu", None), skip="bicubic")
WIDE = random_network(2, widths=(64, 32))
RNG = np.random.default_rng(0)


# The instruction set


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("network", [NETWORK, RGB, bicubic(3)], ids=["one plane", "RGB", "bicubic"])
def test_each_instruction_set_of_this_processor_computes_the_network(
    network: LRNetwork, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(native.VARIABLE, name)
    made, planes = Native(network), planes_for(network, 21, 34)[None]
    assert made.instruction_set == name
    np.testing.assert_allclose(made(planes), evaluate(network, planes), rtol=0, atol=5e-6)


def test_the_best_instruction_set_is_used_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(native.VARIABLE, raising=False)
    best, *_ = instruction_sets()
    assert native.instruction_set() == best
    monkeypatch.setenv(native.VARIABLE, "")
    assert Native(NETWORK).instruction_set == best


@pytest.mark.parametrize("name", ["auto", "native"])
def test_an_unknown_instruction_set_is_an_error_that_names_those_there_are(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where another engine could take over: whoever names one wants that one."""
    monkeypatch.setenv(native.VARIABLE, "mmx")
    names = ", ".join(instruction_sets())
    with pytest.raises(RuntimeError, match=f"SUBPIXEL_ISA must be one of {names} on this .*; got 'mmx'"):
        create(NETWORK, name)


def test_logs_say_what_runs_on_how_many_threads(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "subpixel"):
        made: Any = create(NETWORK, "native")
    threads = "1 thread" if made.threads == 1 else f"{made.threads} threads"
    assert caplog.messages == [f"random runs on native in f32 with {made.instruction_set} on {threads}"]
    assert str(Native(NETWORK, threads=1)).endswith(" on 1 thread")


# A library that does not load


def missing(_path: str) -> ctypes.CDLL:
    return LOAD("/no/such/folder/libsubpixel.so")


def of_another_version(_path: str) -> ctypes.CDLL:
    return LOAD(None)  # the process itself, which has other functions


LOAD: Any = ctypes.CDLL


@pytest.mark.parametrize(
    ("load_library", "reason"),
    [(missing, "/no/such/folder/libsubpixel.so"), (of_another_version, "subpixel_isa")],
    ids=["missing", "another version"],
)
def test_a_library_that_does_not_load_is_told_once_and_the_next_engine_takes_over(
    load_library: Any, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hide(monkeypatch, "native")
    monkeypatch.setattr(ctypes, "CDLL", load_library)
    engine._warn_once.cache_clear()
    assert create(NETWORK).name in ("openvino", "onnxruntime", "torch")
    create(NETWORK)
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "native" not in available()
    assert warning.startswith("the library of the native engine must load; got ")
    assert reason in warning
    assert warning.endswith(
        "Install subpixel anew on this machine, or another engine: pip install 'subpixel[openvino]'"
    )


def test_a_file_that_is_no_library_is_an_import_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "libsubpixel.so"
    file.write_bytes(b"no library" * 100)
    hide(monkeypatch, "native")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: LOAD(str(file)))
    with pytest.raises(ImportError, match="the library of the native engine must load; got"):
        create(NETWORK, "native")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems look at a library before they load it")
@pytest.mark.parametrize("length", [0, 1, 63, 64, 5000, 100_000, -64, -1])
def test_a_truncated_library_is_an_import_error(length: int, tmp_path: Path) -> None:
    """An interrupted installation leaves one; the system would kill the process."""
    whole, part = Path(library.__file__).with_name(library._FILE), tmp_path / "libsubpixel.so"
    part.write_bytes(whole.read_bytes()[:length])
    with pytest.raises(ImportError, match=r"the library of the native engine must load; got .*too short"):
        library._load(part)


# Arrays that must not reach C


@pytest.mark.parametrize(
    "planes",
    [
        np.zeros((1, 1, 20, 20)),
        np.zeros((1, 1, 20, 20), ">f4"),
        np.zeros((1, 1, 20, 20), np.uint8),
        np.zeros((1, 20, 20), np.float32),
        np.zeros((1, 2, 20, 20), np.float32),
        np.zeros((1, 1, 20, 2 * NETWORK.radius), np.float32),
        np.zeros((0, 1, 0, 0), np.float32),
    ],
    ids=["float64", "bytes swapped", "codes", "no batch", "two channels", "no pixel wide", "nothing"],
)
def test_a_batch_that_does_not_fit_is_refused(planes: Any) -> None:
    message = r"planes must be \(n, 1, h \+ 8, w \+ 8\) of float32, with h and w from 1; got \("
    with pytest.raises(ValueError, match=message):
        Native(NETWORK)(planes)


def unaligned(array: NDArray[Any]) -> NDArray[Any]:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


FITTING = np.zeros((1, 12, 14), np.float32), np.zeros((1, 8, 12), np.float32)
STRIDES = np.lib.stride_tricks.as_strided


@pytest.mark.parametrize(
    ("planes", "enlarged", "message"),
    [
        (
            FITTING[0].astype(np.float64),
            FITTING[1],
            "planes must be float32, .*; got float64, aligned",
        ),
        (
            FITTING[0],
            FITTING[1].astype(np.int8),
            "enlarged must be float32, .*; got int8, aligned",
        ),
        (unaligned(FITTING[0]), FITTING[1], "planes must be .*; got float32, not aligned"),
        (FITTING[0], unaligned(FITTING[1]), "enlarged must be .*; got float32, not aligned"),
        (FITTING[0], np.broadcast_to(FITTING[1][:, :1], (1, 8, 12)), "enlarged must be writeable"),
        (
            FITTING[0],
            STRIDES(FITTING[1], strides=(384, 0, 4)),
            "each pixel of enlarged must have memory of its own",
        ),
        (
            FITTING[0],
            STRIDES(FITTING[1], strides=(384, 4, 4)),
            "each pixel of enlarged must have memory of its own",
        ),
        (
            FITTING[0],
            STRIDES(FITTING[1], strides=(384, 48, 0)),
            "each pixel of enlarged must have memory of its own",
        ),
        (FITTING[0], FITTING[0][:, :8, :12], "each pixel of enlarged must have memory of its own"),
        (FITTING[0][:, 1:], FITTING[1], r"planes must be .*, e 0 or 4; got \(1, 11, 14\) and \(1, 8, 12\)"),
        (FITTING[0], FITTING[1][:, :, 1:], r"planes must be .* and enlarged \(1, 2h, 2w\), .*\(1, 8, 11\)"),
        (FITTING[0], FITTING[1][0], "planes must be"),
        (FITTING[0][0], FITTING[1], "planes must be"),
        (FITTING[0].repeat(2, axis=0), FITTING[1].repeat(2, axis=0), "planes must be"),
        (np.zeros((1, 15, 18), np.float32), FITTING[1], "planes must be"),
        (np.zeros((1, 8, 14), np.float32), FITTING[1][:, :0], "planes must be"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(planes: Any, enlarged: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Native(NETWORK).into(planes, enlarged)


def test_the_arrays_of_that_test_fit_but_for_what_is_wrong() -> None:
    Native(NETWORK).into(*FITTING)
    Native(NETWORK).into(np.zeros((1, 16, 18), np.float32), FITTING[1])


def test_an_unaligned_batch_is_taken() -> None:
    made, planes = Native(NETWORK), planes_for(NETWORK, 9, 10)[None]
    np.testing.assert_array_equal(made(unaligned(planes)), made(planes))


def test_an_empty_batch_gives_an_empty_batch() -> None:
    assert Native(RGB)(np.zeros((0, 3, 20, 21), np.float32)).shape == (0, 3, 36, 39)


# Arrays of any layout


LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "planes": lambda array: array,
    "interleaved": lambda array: np.moveaxis(np.moveaxis(array, 0, -1).copy(), -1, 0),
    "columns first": lambda array: array.swapaxes(1, 2).copy().swapaxes(1, 2),
    "backwards": lambda array: array[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
    "every third": lambda array: array.repeat(3, axis=2)[:, :, ::3],
}


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.uint16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_change_no_bit(layout: str, dtype: Any) -> None:
    made, size = Native(RGB), (13, 18)
    planes, expected = planes_for(RGB, *size), result_for(RGB, *size, dtype=dtype)
    if dtype != np.float32:
        planes = np.rint(planes * np.iinfo(dtype).max).astype(dtype)
    made.into(planes, expected)
    assert np.unique(expected).size > 100
    enlarged = LAYOUTS[layout](np.zeros_like(expected))
    made.into(LAYOUTS[layout](planes), enlarged)
    np.testing.assert_array_equal(enlarged, expected)


def test_planes_may_repeat_their_memory() -> None:
    made, row = Native(NETWORK), RNG.random((1, 1, 30), dtype=np.float32)
    enlarged, expected = result_for(NETWORK, 12, 22), result_for(NETWORK, 12, 22)
    repeated = np.broadcast_to(row, (1, 20, 30))
    made.into(repeated, enlarged)
    made.into(repeated.copy(), expected)
    np.testing.assert_array_equal(enlarged, expected)


@pytest.mark.parametrize("network", [NETWORK, RGB, WIDE, load("espcn-x3")], ids=lambda n: n.name)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_tile_with_its_extra_pixels_has_the_bits_of_the_whole(network: LRNetwork, dtype: Any) -> None:
    """Where it starts at multiples of 4 pixels, and ends anywhere."""
    made, (height, width) = Native(network), (53, 71)
    planes, whole = (
        planes_for(network, height, width, extra=made.extra),
        result_for(network, height, width, dtype=dtype),
    )
    made.into(planes, whole)
    r, reach = network.upscale_factor, 2 * network.radius + made.extra
    for (top, bottom), (left, right) in [((0, 16), (0, 9)), ((16, 53), (8, 71)), ((52, 53), (68, 69))]:
        tile = np.zeros((network.channels, r * (bottom - top), r * (right - left)), dtype)
        made.into(planes[:, top : bottom + reach, left : right + reach], tile)
        np.testing.assert_array_equal(tile, whole[:, r * top : r * bottom, r * left : r * right])


def test_a_tile_elsewhere_or_without_its_extra_pixels_has_other_bits() -> None:
    """The comparison above sees what `extra` and the multiples of 4 are for: without them, other rounding."""
    made, whole = Native(WIDE), result_for(WIDE, 48, 48)
    planes = planes_for(WIDE, 48, 48, extra=made.extra)
    made.into(planes, whole)
    m = 2 * WIDE.radius
    tile = result_for(WIDE, 16, 16)
    for start, reach in ((16, m), (17, m + made.extra)):
        made.into(planes[:, start : start + 16 + reach, start : start + 16 + reach], tile)
        part = whole[:, 2 * start : 2 * start + 32, 2 * start : 2 * start + 32]
        assert (tile != part).any()
        np.testing.assert_allclose(tile, part, rtol=0, atol=2e-6)


# Numbers and memory


def endless() -> LRNetwork:
    """A network whose sums are larger than float32 holds, and are subtracted from each other."""
    rise = LRConvolution(np.full((2, 1, 3, 3), 1e6, np.float32), np.zeros(2, np.float32))
    again = LRConvolution(np.full((2, 2, 3, 3), 1e6, np.float32), np.zeros(2, np.float32))
    last = LRConvolution(np.float32([[[[1]], [[-1]]]]).repeat(4, axis=0), np.zeros(4, np.float32))
    return LRNetwork(2, (rise, *[again] * 8, last))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_result_that_is_no_number_is_an_error(dtype: Any) -> None:
    network = endless()
    planes = planes_for(network, 9, 9)
    with pytest.raises(
        ValueError, match=r"a network must give numbers; got NaN\. Its weights are too large\."
    ):
        Native(network).into(planes, result_for(network, 9, 9, dtype=dtype))
    with pytest.raises(ValueError, match="got NaN"):
        Native(network)(planes[None])


class Library:
    """The library, with a count of the calls, and failures at will."""

    def __init__(self, failing: str = "") -> None:
        self.calls: Counter[str] = Counter()
        self.failing = failing

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls[name] += 1
            return None if name == self.failing else getattr(LIBRARY, name)(*arguments)

        return call


LIBRARY = native.LIBRARY


def test_what_is_made_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans with their engines; runs at their end, whether it is a result, NaN, or an interruption."""
    library = Library()
    monkeypatch.setattr(native, "LIBRARY", library)

    def interrupted(_work: object, _threads: int) -> None:
        raise KeyboardInterrupt

    def use() -> None:
        Native(NETWORK)(planes_for(NETWORK, 50, 60)[None].repeat(3, axis=0))
        with pytest.raises(ValueError, match="got NaN"):
            Native(endless())(planes_for(endless(), 9, 9)[None])
        monkeypatch.setattr(native, "share", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Native(NETWORK)(planes_for(NETWORK, 5, 6)[None])
        library.failing = "subpixel_job_make"
        with pytest.raises(MemoryError):
            Native(NETWORK)(planes_for(NETWORK, 5, 6)[None])

    use()
    gc.collect()
    assert library.calls["subpixel_plan_make"] == library.calls["subpixel_plan_free"] == 4
    assert library.calls["subpixel_job_make"] == 6
    assert library.calls["subpixel_job_free"] == 5  # one was not made


def test_a_run_in_a_cycle_with_its_engine_is_freed_before_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption that is kept holds the frames, and so the run and the engine, in one cycle."""
    freed: list[str] = []

    class Recorder:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                freed.extend([name] if name.endswith("free") else [])
                return getattr(LIBRARY, name)(*arguments)

            return call

    def interrupted(_work: object, _threads: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(native, "LIBRARY", Recorder())
    monkeypatch.setattr(native, "share", interrupted)

    def use() -> None:
        made = Native(NETWORK)
        try:
            made(planes_for(NETWORK, 5, 6)[None])
        except KeyboardInterrupt as error:
            kept = error
            assert kept is not None

    use()
    gc.collect()
    assert freed == ["subpixel_job_free", "subpixel_plan_free"]


def test_an_image_for_which_there_is_no_memory_is_told_with_its_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "LIBRARY", Library(failing="subpixel_job_make"))
    with pytest.raises(MemoryError, match=r"fit into memory; got \(1, 20, 20\), to become \(1, 24, 24\)"):
        Native(NETWORK)(np.zeros((1, 1, 20, 20), np.float32))


def test_a_network_for_which_there_is_no_memory_is_told_with_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "LIBRARY", Library(failing="subpixel_plan_make"))
    with pytest.raises(MemoryError, match=f"a network must fit into memory; got {NETWORK.parameters} param"):
        Native(NETWORK)
