import logging
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from networks import evaluate, random_network
from numpy.typing import NDArray
from skimage import data

from subpixel import engines
from subpixel.engines import Engine, create
from subpixel.network import LRConvolution, LRNetwork, bicubic, load
from subpixel.without_telemetry.openvino import openvino

NAMES = ("openvino", "onnxruntime", "torch")
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
def test_an_engine_takes_views_and_gives_arrays_of_their_own(name: Any) -> None:
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


BF16_ENGINES = [name for name in NAMES if name != "onnxruntime"]


def photo(scale: int, margin: int) -> NDArray[np.float32]:
    """The luma of a photo in studio range, 8-bit codes as they come from a video or a grey image."""
    grey = data.camera()[:: scale + 1, :: scale + 1]
    codes = np.rint(16 + grey * (219 / 255)).astype(np.uint8)
    return np.pad(codes / np.float32(255), margin, mode="edge")[None, None]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", BF16_ENGINES)
def test_bf16_moves_hardly_a_pixel_of_a_trained_network(name: Any, scale: int) -> None:
    """At most 1 % by more than a grey level, and with noise that costs 0.02 dB where there are 37 dB."""
    network = load(f"espcn-x{scale}")
    planes = photo(scale, network.radius)
    exact = create(network, name, "f32")(planes) * 255
    reduced = create(network, name, "bf16")(planes) * 255
    levels = np.abs(np.rint(reduced) - np.rint(exact))
    assert np.abs(reduced - exact).max() > 0
    assert np.mean(levels > 1) <= 0.01
    assert np.mean((reduced - exact) ** 2) <= 0.06


@pytest.mark.parametrize("mode", ["nearest", "bicubic"])
@pytest.mark.parametrize("name", BF16_ENGINES)
def test_the_skip_and_the_last_additions_stay_float32_in_bf16(name: Any, mode: Any) -> None:
    """A network that only adds a third to its skip gives it to seven digits, where bf16 has three."""
    silent = LRConvolution(np.zeros((9, 8, 3, 3), np.float32), np.full(9, 1 / 3, np.float32))
    network = random_network(3, skip=mode)
    network = replace(network, convolutions=(*network.convolutions[:-1], silent))
    planes = planes_for(network, 1, 20, 30)
    enlarged = create(network, name, "bf16")(planes)
    np.testing.assert_allclose(enlarged, evaluate(network, planes), rtol=0, atol=1e-6)


def test_bf16_is_what_openvino_takes_where_the_processor_has_it() -> None:
    native = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert create(NETWORKS["espcn"], "openvino").precision == ("bf16" if native else "f32")


def test_an_interpolation_stays_float32_unless_told_otherwise() -> None:
    assert create(bicubic(2), "openvino").precision == "f32"


class CoreWithoutBF16(openvino.Core):
    def get_property(self, device: str, name: str) -> object:
        return ["FP32"] if name == "OPTIMIZATION_CAPABILITIES" else super().get_property(device, name)


def test_a_processor_without_bf16_computes_in_float32_or_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "Core", CoreWithoutBF16)
    assert create(NETWORKS["espcn"], "openvino").precision == "f32"
    with pytest.raises(ValueError, match=r"bf16 must be native to the processor.*Use precision='f32'"):
        create(NETWORKS["espcn"], "openvino", "bf16")


def test_onnxruntime_refuses_bf16() -> None:
    with pytest.raises(ValueError, match="precision must be 'f32' for onnxruntime"):
        create(bicubic(2), "onnxruntime", "bf16")


def test_threads_are_limited() -> None:
    made: Any = create(bicubic(2), "openvino", threads=1)
    assert made._request.get_compiled_model().get_property("INFERENCE_NUM_THREADS") == 1
    made = create(bicubic(2), "onnxruntime", threads=1)
    assert made._session.get_session_options().intra_op_num_threads == 1
    before = torch.get_num_threads()
    try:
        create(bicubic(2), "torch", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"engine": "tensorrt"}, "engine must be one of openvino, onnxruntime, torch, auto; got 'tensorrt'"),
        ({"precision": "int8"}, "precision must be one of f32, bf16, auto; got 'int8'"),
        ({"threads": 0}, "threads must be at least 1; got 0"),
    ],
)
def test_a_choice_that_there_is_not_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(bicubic(2), **wrong)


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_cuda", lambda: False)


def fail(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make an engine fail as one does whose package is not there."""
    monkeypatch.setitem(sys.modules, name, None)
    for part in ("engines", "without_telemetry"):
        monkeypatch.delitem(sys.modules, f"subpixel.{part}.{name}", raising=False)


@pytest.mark.usefixtures("no_cuda")
def test_auto_takes_openvino_on_a_processor_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "subpixel"):
        engine = create(NETWORKS["espcn"])
    assert engine.name == "openvino"
    assert caplog.messages == [f"random runs on openvino in {engine.precision}"]


@pytest.mark.usefixtures("no_cuda")
def test_auto_warns_where_it_cannot_take_the_fastest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail(monkeypatch, "openvino")
    assert create(bicubic(2)).name == "onnxruntime"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "using the engine onnxruntime, since faster ones failed: openvino: " in record.message
    assert "pip install 'subpixel[openvino]'" in record.message


@pytest.mark.usefixtures("no_cuda")
def test_auto_warns_where_the_fastest_does_not_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Engine:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr("subpixel.engines.openvino.OpenVINO", broken)
    fail(monkeypatch, "onnxruntime")
    assert create(bicubic(2)).name == "torch"
    assert "openvino: no such instruction; onnxruntime: onnxruntime must be installed" in caplog.text


@pytest.mark.usefixtures("no_cuda")
def test_auto_says_what_failed_where_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        fail(monkeypatch, name)
    with pytest.raises(RuntimeError, match=r"at least one engine must work; got openvino: .*; torch: "):
        create(bicubic(2))


@pytest.mark.parametrize("name", NAMES)
def test_a_named_engine_that_is_missing_is_an_error_with_the_command(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, name)
    with pytest.raises(ImportError, match=rf"{name} must be installed.* pip install 'subpixel\[{name}\]'"):
        create(bicubic(2), name)


def test_auto_takes_pytorch_where_it_has_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_cuda", lambda: True)
    assert create(bicubic(2)).name == "torch"


def test_a_device_needs_pytorch_a_driver_and_the_two_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.ctypes, "CDLL", lambda _: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert engines._cuda()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not engines._cuda()
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    monkeypatch.setattr(engines, "import_module", lambda _: pytest.fail("PyTorch was imported"))
    assert not engines._cuda()


def test_without_a_driver_pytorch_is_not_even_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(engines.ctypes, "CDLL", missing)
    monkeypatch.setattr(engines, "import_module", lambda _: pytest.fail("PyTorch was imported"))
    assert not engines._cuda()
