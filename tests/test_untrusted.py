"""Files made to exhaust or mislead whoever reads them."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from subpixel.images import tags
from subpixel.network import FORMAT, LRConvolution, LRNetwork, load
from subpixel.stage import Stage
from subpixel.upscale import Upscaler

HEADER = b"II*\0\x08\0\0\0"


def directory(*entries: tuple[int, int, int, int]) -> bytes:
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + fields + bytes(4)


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> list[Any]:
    """Have a function of `tags` fail when it is called more often than that."""
    original: Callable[..., Any] = getattr(tags, name)
    calls = []

    def counting(*arguments: Any) -> Any:
        calls.append(arguments)
        assert len(calls) <= most
        return original(*arguments)

    monkeypatch.setattr(tags, name, counting)
    return calls


@pytest.mark.parametrize("tag", [tags.EXIF_IFD, tags.GPS_IFD])
@pytest.mark.parametrize("read", [lambda data: tags.corrected(data, 8, 6), tags._parse])
def test_many_pointers_to_one_directory_are_followed_once(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[bytes], Any], tag: int
) -> None:
    """Each pointer that were followed again would read all pointers again."""
    calls = count_calls(monkeypatch, "_entries", 8)
    read(HEADER + directory(*[(tag, 4, 1, 8)] * 200))
    assert calls


def test_a_directory_has_a_bounded_number_of_tags() -> None:
    entries = [(tag, 3, 1, 0) for tag in range(tags.MAX_ENTRIES + 1)]
    with pytest.raises(ValueError, match="at most 4096; got 4097"):
        tags.corrected(HEADER + directory(*entries), 8, 6)
    tags.corrected(HEADER + directory(*entries[1:]), 8, 6)


@pytest.mark.parametrize(("kind", "unit"), [(1, 1), (3, 2), (4, 4), (5, 4), (12, 8)])
def test_big_endian_values_are_swapped_by_their_unit(kind: int, unit: int) -> None:
    values = bytes(range(16))
    number = 16 // tags._UNITS[kind] // (2 if kind == 5 else 1)
    data = b"MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x010E, kind, number, 26, 0) + values
    entry = tags._parse(data)[0x010E]
    expected = b"".join(values[i : i + unit][::-1] for i in range(0, 16, unit))
    assert entry == tags.Entry(kind, number, expected)


def saved(path: Path, weight: Any) -> Path:
    """A network file of one convolution, as it is: nothing checks it."""
    given = {"upscale_factor": 1, "activations": [None], "skip": None, "metadata": {}}
    tensors = {"convolutions.0.weight": weight, "convolutions.0.bias": np.zeros(len(weight), np.float32)}
    path.write_bytes(save(tensors, {FORMAT: json.dumps(given)}))
    return path


@pytest.mark.parametrize("value", [3e38, -2e6])
def test_weights_that_overflow_are_refused_with_their_file(tmp_path: Path, value: float) -> None:
    path = saved(tmp_path / "huge.safetensors", np.full((1, 1, 3, 3), value, np.float32))
    with pytest.raises(ValueError, match=r"huge\.safetensors must .* weight must be finite, of magnitudes"):
        load(path)


def test_what_overflows_in_the_end_is_an_error() -> None:
    """Large weights one behind the other: infinity less infinity."""
    rising = LRConvolution(np.full((2, 1, 1, 1), 1e6, np.float32), np.zeros(2, np.float32))
    again = LRConvolution(np.full((2, 2, 1, 1), 1e6, np.float32), np.zeros(2, np.float32))
    last = LRConvolution(np.float32([[[[1]], [[-1]]]]), np.zeros(1, np.float32))
    network = LRNetwork(1, (rising, *[again] * 8, last))
    with pytest.raises(ValueError, match="a network must give numbers; got NaN"):
        Upscaler(network).plane(np.full((4, 4), 200, np.uint8))


def wide(channels: int, kernels: int) -> LRNetwork:
    """A wide layer of 1x1 kernels, and behind it so many kernels of 31x31, a radius of 15 each."""
    one = LRConvolution(np.zeros((1, 1, 31, 31), np.float32), np.zeros(1, np.float32))
    rise = LRConvolution(np.zeros((channels, 1, 1, 1), np.float32), np.zeros(channels, np.float32))
    fall = LRConvolution(np.zeros((1, channels, 1, 1), np.float32), np.zeros(1, np.float32))
    return LRNetwork(1, (rise, fall, *[one] * kernels))


def test_a_wide_layer_and_much_context_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"the radius times the width must be at most 32768; got 45 \* 1024"):
        wide(1024, 3)


@pytest.mark.parametrize(("channels", "kernels"), [(1024, 0), (1024, 2), (546, 4), (273, 8), (64, 8), (1, 8)])
def test_the_maps_of_a_tile_are_bounded(channels: int, kernels: int) -> None:
    """256 MiB a layer, for the widest networks that each radius may have."""
    network = wide(channels, kernels)
    stage = Stage(network)
    rows, columns = (side + 2 * network.radius for side in stage.tile)
    assert 4 * network.width * rows * columns <= 2**28
