from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from contestants import hide
from networks import evaluate, random_network
from numpy.typing import NDArray
from skimage import data

from subpixel import engines
from subpixel.cli import options
from subpixel.engines import available, create
from subpixel.engines.engine import precisions
from subpixel.network import LRConvolution, LRNetwork, bicubic, load
from subpixel.without_telemetry.openvino import openvino

NAMES = get_args(engines.Name)
NETWORKS = {
    "espcn": random_network(widths=(64, 32)),
    "relu, x2": random_network(2, activations=("relu", "relu", None)),
    "prelu, RGB, bicubic": random_network(2, 3, activations=("prelu", "leaky_relu", None), skip="bicubic"),
    "as many channels as columns": random_network(widths=(20, 22), activations=("prelu", "prelu", None)),
    "nearest": random_network(3, skip="nearest"),
    "the skip reaches further": random_network(3, kernel_sizes=(1, 1, 1), skip="bicubic"),
    "interpolation": bicubic(3),
    "two planes": bicubic(2, 2),
    "x1": random_network(1, skip="bicubic"),
}


def planes_for(network: LRNetwork, n: int, height: int, width: int) -> NDArray[np.float32]:
    m = 2 * network.radius
    return np.random.default_rng(2).random((n, network.channels, height + m, width + m), dtype=np.float32)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_an_engine_computes_the_network_at_any_size(name: Any, network: LRNetwork) -> None:
    """One engine for all sizes, tiles of a pixel included; against float64 within float32's reassociation."""
    engine = create(network, name, "f32")
    assert (engine.name, engine.precision) == (name, "f32")
    for size in ((1, 20, 30), (3, 7, 5), (1, 1, 1), (2, 40, 3), (1, 20, 30)):
        planes = planes_for(network, *size)
        enlarged = engine(planes)
        assert enlarged.dtype == np.float32
        np.testing.assert_allclose(enlarged, evaluate(network, planes), rtol=0, atol=5e-6)


def test_two_phases_exchanged_would_be_seen() -> None:
    """The tolerance above is no formality: it tells the shuffle's two channel orders apart."""
    network = NETWORKS["espcn"]
    last = network.convolutions[-1]
    order = np.arange(9).reshape(3, 3).T.ravel()
    swapped = replace(last, weight=last.weight[order], bias=last.bias[order])
    planes = planes_for(network, 1, 20, 30)
    wrong = create(replace(network, convolutions=(*network.convolutions[:-1], swapped)), "openvino", "f32")(
        planes
    )
    assert np.abs(wrong - evaluate(network, planes)).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_takes_views_and_gives_arrays_of_the_callers_own(name: Any) -> None:
    network = NETWORKS["nearest"]
    engine = create(network, name)
    wide = planes_for(network, 1, 30, 80)
    view = wide[:, :, ::-1, 4:60:2]
    view.setflags(write=False)
    first = engine(view)
    kept = first.copy()
    engine(np.zeros_like(view))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(first, engine(view.copy()))
    first[:] = 0  # writeable


PEAKS = {"uint8": 255, "uint16": 65535, "float32": 1}


@pytest.mark.parametrize("given", PEAKS)
@pytest.mark.parametrize("taken", PEAKS)
@pytest.mark.parametrize("name", NAMES)
def test_an_engine_takes_pixels_as_they_lie_and_writes_them_where_they_belong(
    name: Any, taken: str, given: str
) -> None:
    """Of a band-interleaved image, with without pixels after the context; not one around is touched."""
    network = NETWORKS["prelu, RGB, bicubic"]
    engine = create(network, name)
    values = np.random.default_rng(0).random((40, 50, 5)) * 1.2 - 0.1  # networks go beyond 0..1 on both sides
    image = np.rint(np.clip(values, 0, 1) * PEAKS[taken]).astype(taken) if taken != "float32" else values
    image = image.astype(taken)
    for extra in {0, engine.extra}:
        planes = image[1 : 30 + extra, 3 : 40 + extra, 1:4].transpose(2, 0, 1)
        context = planes[None, :, :29, :37] / PEAKS[taken]
        expected = evaluate(network, context)[0]
        surroundings = np.full((100, 100, 5), 77, given)
        rows, columns = expected.shape[1:]
        engine.into(planes, surroundings[7 : 7 + rows, 5 : 5 + columns, 1:4].transpose(2, 0, 1))
        enlarged = surroundings[7 : 7 + rows, 5 : 5 + columns, 1:4].transpose(2, 0, 1).copy()
        if given == "float32":
            np.testing.assert_allclose(enlarged, expected, rtol=0, atol=5e-6)
            assert not ((enlarged >= 0) & (enlarged <= 1)).all()
        else:
            codes = np.clip(expected * PEAKS[given], 0, PEAKS[given])
            np.testing.assert_allclose(enlarged, codes, rtol=0, atol=0.5 + 5e-6 * PEAKS[given])
            assert {0, PEAKS[given]} <= set(enlarged.ravel().tolist())
        surroundings[7 : 7 + rows, 5 : 5 + columns, 1:4] = 77
        assert (surroundings == 77).all()


def with_bf16() -> list[Any]:
    """The engines that have bf16 here: OpenVINO and PyTorch, or none on a processor without it."""
    return [name for name in NAMES if "bf16" in precisions(name)]


def photo(scale: int, margin: int) -> NDArray[np.float32]:
    """The luma of a photo in studio range, 8-bit codes as they come from a video or a grey image."""
    grey = data.camera()[:: scale + 1, :: scale + 1]
    codes = np.rint(16 + grey * (219 / 255)).astype(np.uint8)
    return np.pad(codes / np.float32(255), margin, mode="edge")[None, None]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bf16_moves_hardly_a_pixel_of_a_trained_network(scale: int) -> None:
    """At most 1 % by more than a grey level, and with noise that costs 0.02 dB where there are 37 dB."""
    network = load(f"espcn-x{scale}")
    planes = photo(scale, network.radius)
    for name in with_bf16():
        exact = create(network, name, "f32")(planes) * 255
        reduced = create(network, name, "bf16")(planes) * 255
        levels = np.abs(np.rint(reduced) - np.rint(exact))
        assert np.abs(reduced - exact).max() > 0
        assert np.mean(levels > 1) <= 0.01
        assert np.mean((reduced - exact) ** 2) <= 0.06


@pytest.mark.parametrize("mode", ["nearest", "bicubic"])
def test_the_skip_and_the_last_additions_stay_float32_in_bf16(mode: Any) -> None:
    """A network that only adds a third to its skip gives it to seven digits, where bf16 has three."""
    silent = LRConvolution(np.zeros((9, 8, 3, 3), np.float32), np.full(9, 1 / 3, np.float32))
    network = random_network(3, skip=mode)
    network = replace(network, convolutions=(*network.convolutions[:-1], silent))
    planes = planes_for(network, 1, 20, 30)
    for name in with_bf16():
        enlarged = create(network, name, "bf16")(planes)
        np.testing.assert_allclose(enlarged, evaluate(network, planes), rtol=0, atol=1e-6)


class Core(openvino.Core):
    """Says that the processor has no bf16."""

    def get_property(self, device: str, name: str) -> object:
        return ["FP32"] if name == "OPTIMIZATION_CAPABILITIES" else super().get_property(device, name)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_is_refused_where_the_processor_has_none(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch would emulate it, in up to 45 times the time."""
    monkeypatch.setattr(openvino, "Core", Core)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match=f"precision must be f32 with the engine {name} on this processor; got bf16"
    ):
        create(NETWORKS["espcn"], name, "bf16")
    assert create(NETWORKS["espcn"], name).precision == "f32"
    with pytest.raises(ValueError, match=r"precision must be f32 with .* on this processor; got bf16"):
        create(NETWORKS["espcn"], precision="bf16")


def test_a_pytorch_that_cannot_say_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precisions("torch") == ("f32",)


@pytest.mark.parametrize(
    ("has", "expected"),
    [({"avx512_bf16": True}, ("f32", "bf16")), ({"avx2": True}, ("f32",)), ({}, ("f32",))],
)
def test_pytorchs_bf16_is_that_of_the_processor(
    has: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert precisions("torch") == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"engine": "tensorrt"}, "engine must be one of native, openvino, onnxruntime, torch, auto; got 'te"),
        ({"precision": "int8"}, "precision must be one of f32, bf16; got 'int8'"),
        ({"precision": "auto"}, "precision must be one of f32, bf16; got 'auto'"),
    ],
)
def test_an_unknown_choice_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(bicubic(2), **wrong)


@pytest.mark.parametrize("name", NAMES)
def test_a_named_engine_that_is_missing_is_an_error_with_the_command(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, name)
    assert name not in available()
    told = rf"{name} must be installed.* pip install 'subpixel\[{name}\]'"
    if name == "native":
        told = (
            r"the library of the native engine must load; got .*subpixel.*: no such file\. Install subpixel "
        )
    with pytest.raises(ImportError, match=told):
        create(NETWORKS["espcn"], name)


def test_the_command_offers_every_engine_and_precision() -> None:
    """The command spells them again, since it must not import them for its help."""
    assert get_args(get_args(options.Engine)[0]) == ("auto", *NAMES)
    assert get_args(get_args(options.Precision)[0]) == get_args(engines.Precision)
