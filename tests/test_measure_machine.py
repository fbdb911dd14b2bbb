from pathlib import Path

import pytest

from subpixel.measure import machine
from subpixel.measure.machine import features, has_nvidia_driver, processors

CPUINFO = """processor\t: 0
model name\t: A Processor
flags\t\t: fpu sse4_1 fma avx2 avx512_vnni amx_bf16 clzero
"""


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    monkeypatch.setattr(machine, "_CPUINFO", path)
    return path


@pytest.mark.usefixtures("cpuinfo")
def test_features_that_are_hidden_from_the_process_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux lists what the processor has; NumPy asks as libraries do."""
    known = {"SSE41": True, "FMA3": True, "AVX2": True, "AVX512VNNI": False}
    monkeypatch.setattr(machine, "_of_numpy", lambda: known)
    assert features() == ("amxbf16", "avx2", "fma3", "sse41")


@pytest.mark.usefixtures("cpuinfo")
def test_linux_knows_features_where_numpy_cannot_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "import_module", lambda _: object())
    assert features() == ("amxbf16", "avx2", "avx512vnni", "fma3", "sse41")


def test_numpy_knows_features_on_other_systems(cpuinfo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo.unlink()
    monkeypatch.setattr(machine, "_of_numpy", lambda: {"NEON": True, "ASIMDDP": True, "SVE": False})
    assert features() == ("asimddp", "neon")


def test_features_of_this_processor_are_found() -> None:
    """Every processor that NumPy's wheels run on has one of these."""
    assert {"sse42", "asimd", "neon"} & set(features())


def test_processors_and_drivers_are_found_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processors() >= 1
    monkeypatch.delattr(machine.os, "sched_getaffinity", raising=False)
    assert processors() >= 1
    assert has_nvidia_driver() == Path("/proc/driver/nvidia/version").exists()
