"""The engine that "auto" stands for: measured once, remembered, and never a reason to fail."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contestants import Clock, hide
from networks import random_network

from subpixel import engines
from subpixel.engines import cache, choice, create
from subpixel.engines.engine import build
from subpixel.network import LRNetwork, bicubic

NETWORK = random_network()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_known", {})
    return tmp_path / "cache"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Three engines, two with bf16; ONNX Runtime is the fastest."""
    clock = Clock(
        {
            ("openvino", "f32"): 0.005,
            ("openvino", "bf16"): 0.004,
            ("onnxruntime", "f32"): 0.003,
            ("torch", "f32"): 0.006,
            ("torch", "bf16"): 0.002,
        }
    )
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(engines, "available", clock.available)
    monkeypatch.setattr(engines, "build", clock.build)
    monkeypatch.setattr(choice, "build", clock.build)
    monkeypatch.setattr(choice, "precisions", clock.precisions)
    return clock


def chosen(*arguments: Any, network: LRNetwork = NETWORK) -> tuple[str, str]:
    made = create(network, *arguments)
    return made.name, made.precision


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_known", {})


def test_the_fastest_is_chosen_and_the_times_are_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "subpixel"):
        assert chosen() == ("onnxruntime", "f32")
    timed, runs = caplog.messages
    assert timed.endswith("pixels in f32: openvino 5.0 ms, onnxruntime 3.0 ms, torch 6.0 ms")
    assert runs == "random runs on onnxruntime in f32"
    clock.seconds["openvino", "f32"] = 0.002
    assert chosen(network=random_network(2)) == ("openvino", "f32")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("openvino",), ("openvino", "f32")),
        (("openvino", "bf16"), ("openvino", "bf16")),
        (("onnxruntime",), ("onnxruntime", "f32")),
    ],
)
def test_an_engine_with_a_name_is_not_measured(clock: Clock, arguments: Any, expected: Any) -> None:
    assert chosen(*arguments) == expected
    assert clock.runs == 0


def test_bf16_is_for_those_that_ask_and_the_engines_that_have_it_compete(clock: Clock) -> None:
    clock.seconds["openvino", "bf16"] = 0.001
    assert chosen() == ("onnxruntime", "f32")
    assert chosen("auto", "bf16") == ("openvino", "bf16")
    assert ("onnxruntime", "bf16") not in clock.built


def test_where_there_is_one_engine_nothing_is_timed_or_remembered(clock: Clock, folder: Path) -> None:
    clock.seconds = {("onnxruntime", "f32"): 0.003}
    assert chosen() == ("onnxruntime", "f32")
    assert clock.runs == 0
    assert not folder.exists()


def test_a_choice_is_made_once_in_a_process(clock: Clock) -> None:
    chosen()
    runs, built = clock.runs, len(clock.built)
    clock.seconds["onnxruntime", "f32"] = 1.0
    assert chosen() == ("onnxruntime", "f32")
    assert clock.runs == runs
    assert clock.built[built:] == [("onnxruntime", "f32")]


def test_a_choice_is_kept_for_the_next_process(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen()
    runs, built = clock.runs, len(clock.built)
    new_process(monkeypatch)
    assert chosen() == ("onnxruntime", "f32")
    assert clock.runs == runs
    assert clock.built[built:] == [("onnxruntime", "f32")]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.setattr(choice, "features", lambda: ("avx2",)),
        lambda m: m.setattr(choice, "processors", lambda: 77),
        lambda m: m.setattr(choice, "version", lambda _: "0.0"),
        lambda m: m.setattr(choice, "_contestants", lambda names: names[:2]),
    ],
    ids=["instructions", "processors", "versions", "engines"],
)
def test_a_choice_is_made_anew_where_it_may_differ(
    clock: Clock, change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen()
    runs = clock.runs
    change(monkeypatch)
    chosen()
    assert clock.runs > runs


def test_a_choice_is_made_anew_with_another_instruction_set(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.seconds["native", "f32"] = 0.001
    assert chosen() == ("native", "f32")
    runs = clock.runs
    chosen()
    assert clock.runs == runs
    monkeypatch.setattr("subpixel.engines.native.instruction_set", lambda: "another")
    chosen()
    assert clock.runs > runs


def test_networks_of_the_same_layers_share_a_choice(clock: Clock) -> None:
    chosen(network=random_network(seed=1))
    runs = clock.runs
    chosen(network=replace(random_network(seed=2), metadata={"name": "another"}))
    assert clock.runs == runs
    chosen(network=random_network(widths=(16, 9)))
    assert clock.runs > runs


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"a": 1}', b'{"a": "torch"}', b"[" * 60_000, b" " * 10**6],
    ids=["empty", "half", "list", "bytes", "number", "other", "deep", "large"],
)
def test_a_broken_cache_is_replaced(
    clock: Clock, folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    (folder / "engines.json").write_bytes(content)
    assert chosen() == ("onnxruntime", "f32")
    runs = clock.runs
    new_process(monkeypatch)
    assert chosen() == ("onnxruntime", "f32")
    assert clock.runs == runs


def test_an_unknown_engine_in_the_cache_is_chosen_anew(clock: Clock, folder: Path) -> None:
    key = choice._key(NETWORK, clock.available(), "f32")  # type: ignore[arg-type]
    folder.mkdir()
    (folder / "engines.json").write_text(json.dumps({key: "tensorrt"}))
    assert chosen() == ("onnxruntime", "f32")


@pytest.mark.usefixtures("clock")
def test_a_cache_that_cannot_be_written_is_not_missed(folder: Path) -> None:
    folder.write_text("a file in the place of the folder")
    assert chosen() == ("onnxruntime", "f32")


@pytest.mark.usefixtures("clock")
def test_the_cache_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert chosen() == ("onnxruntime", "f32")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("clock")
def test_the_cache_holds_hashes_and_stays_small(folder: Path) -> None:
    """Nothing in it tells which networks somebody runs."""
    for index in range(cache._MOST_ENTRIES + 5):
        cache.remember(f"{index:064x}", "openvino")
    chosen()
    entries = json.loads((folder / "engines.json").read_text())
    assert len(entries) == cache._MOST_ENTRIES
    assert {len(key) for key in entries} == {64}
    assert list(entries.values())[-1] == "onnxruntime"


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/subpixel"),
        ("linux", {"XDG_CACHE_HOME": "/var/c"}, "/var/c/subpixel"),
        ("linux", {"XDG_CACHE_HOME": "not/absolute"}, "home/.cache/subpixel"),
        ("darwin", {}, "home/Library/Caches/subpixel"),
        ("win32", {}, "home/AppData/Local/subpixel"),
        ("win32", {"LOCALAPPDATA": "/C/local"}, "/C/local/subpixel"),
        ("linux", {"SUBPIXEL_CACHE": "/mine"}, "/mine"),
    ],
)
def test_the_cache_is_where_each_system_has_caches(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "SUBPIXEL_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache._path() == Path(expected, "engines.json")


@pytest.mark.usefixtures("clock")
def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", missing)
    assert chosen() == ("onnxruntime", "f32")


def test_an_engine_that_does_not_start_is_told_and_left_out(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.broken = {"onnxruntime": RuntimeError("no such instruction")}
    assert chosen() == ("openvino", "f32")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message == "going on without engines that failed: onnxruntime: no such instruction"
    clock.broken = {}
    assert chosen() == ("onnxruntime", "f32")


def test_an_engine_that_no_longer_starts_is_chosen_anew(clock: Clock) -> None:
    chosen()
    clock.broken = {"onnxruntime": OSError("a library is missing")}
    assert chosen() == ("openvino", "f32")


def test_where_nothing_starts_each_reason_is_told(clock: Clock) -> None:
    del clock.seconds["torch", "f32"], clock.seconds["torch", "bf16"]
    clock.broken = {"openvino": OSError("no library"), "onnxruntime": RuntimeError("no instruction")}
    message = "at least one engine must start; got openvino: no library; onnxruntime: no instruction"
    with pytest.raises(RuntimeError, match=message):
        chosen()
    with pytest.raises(OSError, match=r"^no library$"):
        chosen("openvino")


def test_where_nothing_is_installed_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in engines.available():
        hide(monkeypatch, name)
    with pytest.raises(ImportError, match=r"an engine must be installed.*pip install 'subpixel\[openvino\]'"):
        create(NETWORK)


def test_pytorch_is_not_imported_for_the_race_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert choice._contestants(("openvino", "torch")) == ["openvino"]
    assert choice._contestants(("torch",)) == ("torch",)
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: True)
    assert choice._contestants(("openvino", "torch")) == ("openvino", "torch")
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", object())
    assert choice._contestants(("openvino", "torch")) == ("openvino", "torch")


def test_a_network_too_large_for_a_race_takes_the_first_engine(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "processors", lambda: 1)
    assert chosen(network=random_network(widths=(512, 512))) == ("openvino", "f32")
    assert clock.runs == 0


@pytest.mark.parametrize("processors", [1, 2, 64])
@pytest.mark.parametrize("network", [NETWORK, bicubic(2), random_network(4, 3, (64, 64))])
def test_a_run_of_the_race_is_short(
    network: LRNetwork, processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no larger than a tile."""
    monkeypatch.setattr(choice, "processors", lambda: processors)
    planes = choice._planes(network)
    assert planes is not None
    height, width = planes.shape[2:]
    assert height * width * network.macs_per_lr_pixel <= processors * 4e8
    assert height - 2 * network.radius <= 256


def test_the_race_runs_real_engines(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: False)
    made = create(NETWORK)
    (entry,) = json.loads((folder / "engines.json").read_text()).values()
    assert entry == made.name
    assert made.name in engines.available()


def test_onnxruntime_leaves_the_processors_to_the_engine_whose_turn_it_is() -> None:
    """Its threads waited for the next run by spinning, and whatever ran next took twice its time."""
    session = build("onnxruntime", NETWORK, "f32")._session  # type: ignore[attr-defined]
    entry = session.get_session_options().get_session_config_entry("session.intra_op.allow_spinning")
    assert entry == "0"


def test_making_engines_imports_little() -> None:
    """`onnx_ir` imports SymPy, which takes longer than the whole choice."""
    code = """
import sys
from subpixel.engines import create
from subpixel.network import bicubic
for name in ("native", "openvino", "onnxruntime"):
    create(bicubic(2), name)
print([name for name in ("onnx_ir", "sympy", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
