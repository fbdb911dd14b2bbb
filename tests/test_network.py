import json
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import evaluate, random_network
from safetensors.numpy import save

from subpixel import network as module
from subpixel.network import LRConvolution, LRNetwork, bicubic, load

KINDS = {
    "espcn": random_network(),
    "relu": random_network(activations=("relu", "relu", None)),
    "prelu, RGB, bicubic": random_network(2, 3, activations=("prelu", "leaky_relu", None), skip="bicubic"),
    "nearest": random_network(4, skip="nearest"),
    "interpolation": bicubic(3),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def network(request: pytest.FixtureRequest) -> LRNetwork:
    return request.param


def test_what_is_saved_is_loaded_bit_by_bit(network: LRNetwork, tmp_path: Path) -> None:
    network.save(tmp_path / "network.safetensors")
    loaded = load(tmp_path / "network.safetensors")
    assert (loaded.upscale_factor, loaded.skip) == (network.upscale_factor, network.skip)
    assert loaded.metadata == network.metadata
    assert len(loaded.convolutions) == len(network.convolutions)
    for ours, theirs in zip(network.convolutions, loaded.convolutions, strict=True):
        assert ours.activation == theirs.activation
        for part in ("weight", "bias", "slope"):
            np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))


def test_the_same_network_is_saved_as_the_same_bytes(network: LRNetwork, tmp_path: Path) -> None:
    for name in ("a", "b"):
        network.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


def test_a_network_counts_what_the_papers_count() -> None:
    espcn = random_network(3, widths=(64, 32))
    assert espcn.parameters == 1600 + 64 + 18432 + 32 + 2592 + 9
    assert espcn.macs_per_lr_pixel == 1600 + 18432 + 2592
    assert (espcn.channels, espcn.radius, espcn.receptive_field, espcn.margin) == (1, 4, 9, 0)


def test_a_skip_that_reaches_further_than_the_convolutions_leaves_them_a_margin() -> None:
    pointwise = random_network(kernel_sizes=(1, 1, 1), skip="bicubic")
    assert (pointwise.radius, pointwise.margin) == (2, 2)
    assert pointwise.macs_per_lr_pixel == 16 + 128 + 72 + 9 * 25


@pytest.mark.parametrize("mode", ["nearest", "bicubic"])
@pytest.mark.parametrize("factor", [1, 2, 3, 5, 16])
def test_the_taps_of_a_skip_along_one_axis_make_its_kernels(mode: Any, factor: int) -> None:
    """Phase (i, j) of the skip convolution is the outer product of the rows i and j."""
    network = random_network(factor, skip=mode)
    skip, taps = network.skip_convolution, network.skip_taps
    assert skip is not None
    assert taps is not None
    assert taps.dtype == np.float32
    assert taps.shape == (factor, skip.weight.shape[-1])
    outer = np.einsum("iy,jx->ijyx", taps, taps).reshape(skip.weight.shape)
    np.testing.assert_allclose(outer, skip.weight, rtol=0, atol=2e-7)
    if factor in (2, 3, 5) and mode == "bicubic":
        assert np.abs(outer[::-1] - skip.weight).max() > 0.1  # the order of the phases is seen
    assert random_network(factor).skip_taps is None


def test_bicubic_is_pytorchs_interpolation() -> None:
    """As a skip it is evaluated by PyTorch, as a network by its convolution."""
    nothing = random_network(3, kernel_sizes=(1, 1, 1), skip="bicubic")
    silent = LRConvolution(np.zeros((9, 8, 1, 1), np.float32), np.zeros(9, np.float32))
    skip_only = LRNetwork(3, (*nothing.convolutions[:2], silent), "bicubic")
    planes = np.random.default_rng(0).random((1, 1, 12, 16))
    np.testing.assert_allclose(evaluate(bicubic(3), planes), evaluate(skip_only, planes), rtol=0, atol=1e-7)


@pytest.mark.parametrize("shift", [0.5, -0.25])
def test_a_shifted_network_takes_and_gives_planes_less_the_shift(network: LRNetwork, shift: float) -> None:
    size = 2 * network.radius + 6
    planes = np.random.default_rng(1).random((2, network.channels, size, size + 3))
    shifted = evaluate(network.shifted(shift), planes - shift) + shift
    np.testing.assert_allclose(shifted, evaluate(network, planes), rtol=0, atol=1e-6)


def test_the_largest_weights_can_be_shifted() -> None:
    """A bias may be larger than a weight, by what a shift adds: engines shift every network."""
    most = LRConvolution(np.full((1, 1, 31, 31), 1e6, np.float32), np.zeros(1, np.float32))
    (shifted,) = LRNetwork(1, (most,), "nearest").shifted(0.5).convolutions
    np.testing.assert_allclose(shifted.bias, 0.5 * 31**2 * 1e6, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("scale", "shift"), [(219 / 255, 16 / 255), (-1, 1), (2, 0)])
def test_a_mapped_network_takes_and_gives_planes_in_another_range(
    network: LRNetwork, scale: float, shift: float
) -> None:
    size = 2 * network.radius + 6
    planes = np.random.default_rng(1).random((2, network.channels, size, size + 3))
    mapped = scale * evaluate(network.mapped(scale, shift), (planes - shift) / scale) + shift
    np.testing.assert_allclose(mapped, evaluate(network, planes), rtol=0, atol=2e-6)


def test_a_network_of_one_plane_gives_the_mean_of_all(network: LRNetwork) -> None:
    size = 2 * network.radius + 6
    planes = np.random.default_rng(1).random((2, 1, size, size + 3))
    expected = evaluate(network, planes.repeat(network.channels, axis=1)).mean(axis=1, keepdims=True)
    one = network.of_one_plane()
    assert one.channels == 1
    np.testing.assert_allclose(evaluate(one, planes), expected, rtol=0, atol=1e-6)


def test_the_arrays_of_a_network_cannot_be_changed(network: LRNetwork) -> None:
    with pytest.raises(ValueError, match="read-only"):
        network.convolutions[0].weight[:] = 0


@pytest.mark.parametrize("name", ["\x1b[2J", "two\nlines", "x" * 65, ""])
def test_a_name_that_would_upset_a_terminal_is_not_shown(name: str) -> None:
    assert LRNetwork(3, bicubic(3).convolutions, metadata={"name": name}).name == "unnamed"


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"existing file or one of .*; got 'espcn-x33'"):
        load("espcn-x33")


def test_a_folder_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be an existing file"):
        load(tmp_path)


# Hostile files: a network of two 3x3 convolutions, x2, with one thing wrong.

Tensors = dict[str, Any]
Description = dict[str, Any]


def plain() -> tuple[Tensors, Description]:
    tensors = {
        "convolutions.0.weight": np.ones((8, 1, 3, 3), np.float32),
        "convolutions.0.bias": np.ones(8, np.float32),
        "convolutions.0.slope": np.ones(8, np.float32),
        "convolutions.1.weight": np.ones((4, 8, 3, 3), np.float32),
        "convolutions.1.bias": np.ones(4, np.float32),
    }
    return tensors, {"upscale_factor": 2, "activations": ["prelu", None], "skip": None, "metadata": {}}


def as_file(tensors: Tensors, description: object, form: str = module.FORMAT) -> bytes:
    return save(tensors, {form: description if isinstance(description, str) else json.dumps(description)})


def refuse(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} must hold a valid LR network; ")
    assert len(str(caught.value)) < 500 + len(str(path))


def test_the_plain_file_is_a_network(tmp_path: Path) -> None:
    """Or else the refusals below would prove nothing."""
    path = tmp_path / "network.safetensors"
    path.write_bytes(as_file(*plain()))
    assert load(path).parameters == 72 + 8 + 8 + 288 + 4


def tensor(name: str, array: Any) -> Callable[[Tensors, Description], None]:
    return lambda tensors, _: tensors.update({name: array})


def without(name: str) -> Callable[[Tensors, Description], None]:
    return lambda tensors, _: tensors.pop(name)


def field(name: str, value: object) -> Callable[[Tensors, Description], None]:
    return lambda _, description: description.update({name: value})


def filled(shape: tuple[int, ...], value: float = 1, dtype: Any = np.float32) -> Any:
    return np.full(shape, value, dtype)


FIRST, LAST = "convolutions.0.weight", "convolutions.1.weight"
SPOILT: dict[str, tuple[Callable[[Tensors, Description], None], str]] = {
    "NaN": (tensor(FIRST, filled((8, 1, 3, 3), np.nan)), "convolution 0: weight must be finite"),
    "infinite bias": (
        tensor("convolutions.1.bias", filled((4,), np.inf)),
        "convolution 1: bias must be finite",
    ),
    "NaN in a slope": (tensor("convolutions.0.slope", filled((8,), np.nan)), "slope must be finite"),
    "float16": (tensor(FIRST, filled((8, 1, 3, 3), dtype=np.float16)), "float32; got F16, F32"),
    "float64": (tensor(FIRST, filled((8, 1, 3, 3), dtype=np.float64)), "float32; got F32, F64"),
    "bfloat16": (tensor(FIRST, filled((8, 1, 3, 3), dtype=ml_dtypes.bfloat16)), "float32; got BF16, F32"),
    "integers": (tensor(FIRST, filled((8, 1, 3, 3), dtype=np.int32)), "float32; got F32, I32"),
    "three axes": (tensor(FIRST, filled((8, 3, 3))), r"weight must be \(out, in, k, k\)"),
    "an even kernel": (tensor(FIRST, filled((8, 1, 4, 4))), "k odd"),
    "an oblong kernel": (tensor(FIRST, filled((8, 1, 3, 5))), r"got \(8, 1, 3, 5\)"),
    "a kernel too large": (tensor(FIRST, filled((8, 1, 33, 33))), "k odd and 1 to 31"),
    "no channels": (tensor(FIRST, filled((8, 0, 3, 3))), r"got \(8, 0, 3, 3\)"),
    "too many channels": (tensor(FIRST, filled((1025, 1, 1, 1))), "1 to 1024"),
    "channels that do not fit": (tensor(LAST, filled((4, 7, 3, 3))), "convolution 1 must take 8 channels"),
    "a wrong end": (field("upscale_factor", 3), "last convolution must give 9 channels"),
    "a short bias": (tensor("convolutions.0.bias", filled((7,))), r"bias must be of shape \(8,\)"),
    "a short slope": (tensor("convolutions.0.slope", filled((1,))), r"slope must be of shape \(8,\)"),
    "a slope too many": (tensor("convolutions.1.slope", filled((4,))), "slope must be None"),
    "no slope": (without("convolutions.0.slope"), "slope must be float32; got NoneType"),
    "no weight": (without(LAST), "convolution 1: weight must be float32; got NoneType"),
    "no bias": (without("convolutions.0.bias"), "convolution 0: bias must be float32"),
    "a tensor too many": (tensor("x" * 10_000, filled((1,))), "every tensor must belong to a convolution"),
    "an unknown activation": (field("activations", ["gelu", None]), "activation must be one of"),
    "one at the end": (field("activations", ["prelu", "tanh"]), "last convolution must have no activation"),
    "an activation that is a list": (field("activations", [[], None]), "activation must be one of"),
    "a novel for an activation": (field("activations", ["x" * 10**6, None]), "activation must be one of"),
    "activations that are no list": (field("activations", "prelu"), "a list of activations"),
    "no activations": (field("activations", []), "every tensor must belong to a convolution"),
    "too many activations": (field("activations", ["prelu", None] * 10**5), "convolution 2: weight must be"),
    "an upscale factor of 0": (field("upscale_factor", 0), "upscale_factor must be an integer from 1 to 16"),
    "one of 10**9": (field("upscale_factor", 10**9), "upscale_factor must be an integer"),
    "one of 2.0": (field("upscale_factor", 2.0), "upscale_factor must be an integer"),
    "one that is true": (field("upscale_factor", True), "upscale_factor must be an integer"),
    "none": (field("upscale_factor", None), "upscale_factor must be an integer"),
    "an unknown skip": (field("skip", "lanczos"), "skip must be one of nearest, bicubic or None"),
    "a skip that is a list": (field("skip", ["nearest"]), "skip must be one of"),
    "metadata that is a list": (field("metadata", []), "metadata must be a mapping"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILT.values(), ids=SPOILT)
def test_a_file_with_one_thing_wrong_is_refused(
    spoil: Callable[[Tensors, Description], None], message: str, tmp_path: Path
) -> None:
    tensors, description = plain()
    spoil(tensors, description)
    path = tmp_path / "network.safetensors"
    path.write_bytes(as_file(tensors, description))
    refuse(path, message)


def with_header(text: str, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text.encode()


def entry(shape: str, end: int, dtype: str = "F32") -> str:
    return f'{{"t": {{"dtype": "{dtype}", "shape": [{shape}], "data_offsets": [0, {end}]}}}}'


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "readable as safetensors"),
    "seven bytes": (b"\0" * 7, "readable as safetensors"),
    "text": (b"<!doctype html><title>404</title>", "readable as safetensors"),
    "a pickle": (b"\x80\x04cos\nsystem\n(S'exit 1'\ntR.", "readable as safetensors"),
    "a header of 2**63 bytes": (with_header("{}", 2**63), "readable as safetensors"),
    "a header longer than the file": (with_header("{}", 1000), "readable as safetensors"),
    "a header that is no JSON": (with_header("{{{{"), "readable as safetensors"),
    "a header that is a list": (with_header("[]"), "readable as safetensors"),
    "a deep header": (with_header('{"t":' + "[" * 10**5), "readable as safetensors"),
    "a tensor beyond the file": (with_header(entry("4", 16)), "readable as safetensors"),
    "a tensor of 2**62 numbers": (with_header(entry(f"{2**31}, {2**31}", 2**64)), "readable as safetensors"),
    "a tensor of fewer bytes than numbers": (with_header(entry("1000", 16)) + bytes(16), "as safetensors"),
    "eight-bit floats": (with_header(entry("8", 8, "F8_E4M3")) + bytes(8), "float32; got F8_E4M3"),
    "four-bit floats": (with_header(entry("8", 4, "F4")) + bytes(4), "float32; got F4"),
    "numbers of a type to come": (with_header(entry("8", 8, "F7")) + bytes(8), "readable as safetensors"),
    "no description": (save(plain()[0]), r"header must have an entry .* got \[\]"),
    "another format": (as_file(*plain(), form="pt"), r"got \['pt'\]"),
    "an empty description": (as_file(plain()[0], ""), "description must be JSON"),
    "a description that is no JSON": (as_file(plain()[0], "{"), "description must be JSON"),
    "one that is a list": (as_file(plain()[0], "[]"), "description must be a JSON object"),
    "a deep one": (as_file(plain()[0], "[" * 10**6), "description must be JSON"),
    "a number of a million digits": (as_file(plain()[0], "1" * 10**6), "description must be JSON"),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_is_no_network_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    path.write_bytes(content)
    refuse(path, message)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = as_file(*plain())
    path = tmp_path / "network.safetensors"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refuse(path, "readable as safetensors")


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    with path.open("wb") as file:
        file.truncate(module.MAX_BYTES + 1)
    refuse(path, "at most 67108864 bytes; got 67108865")


def test_too_many_convolutions_are_refused() -> None:
    pointwise = LRConvolution(filled((4, 4, 1, 1)), filled((4,)))
    first = LRConvolution(filled((4, 1, 1, 1)), filled((4,)))
    with pytest.raises(ValueError, match="convolutions must be 1 to 128; got 129"):
        LRNetwork(2, (first, *[pointwise] * 128))


def test_a_network_that_sees_too_far_is_refused() -> None:
    """Tiles must carry so much context; 9 layers of 31x31 would make one tile a large image."""
    wide = LRConvolution(filled((1, 1, 31, 31)), filled((1,)))
    with pytest.raises(ValueError, match="radius must be at most 128; got 135"):
        LRNetwork(1, (wide,) * 9)


@settings(deadline=None)
@given(
    spoilt=st.dictionaries(
        st.integers(0, len(as_file(*plain())) - 1), st.integers(0, 255), min_size=1, max_size=4
    )
)
def test_a_file_with_bytes_overwritten_is_a_valid_network_or_refused(
    spoilt: dict[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(as_file(*plain()))
    for position, byte in spoilt.items():
        content[position] = byte
    path = tmp_path_factory.mktemp("spoilt") / "network.safetensors"
    path.write_bytes(content)
    with suppress(ValueError):  # any other exception fails
        assert all(np.isfinite(c.weight).all() for c in load(path).convolutions)
