"""The networks that ship: their names, and which of them is the default."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from subpixel import network
from subpixel.network import bicubic, default_names, load, shipped
from subpixel.upscale import Upscaler


@pytest.mark.parametrize("name", shipped())
def test_a_network_is_loaded_by_the_name_it_has(name: str) -> None:
    assert load(name).name == name


def test_each_upscale_factor_has_one_default() -> None:
    """No two networks of one factor say that they are the default."""
    claims = [load(name).upscale_factor for name in shipped() if load(name).metadata.get("default")]
    assert sorted(claims) == sorted(default_names()) == [2, 3, 4]


def test_the_default_is_told_by_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the network is called; a network that does not say so is used only where it is named."""
    for name, metadata in {"apple": {"default": True}, "espcn-x2": {}}.items():
        plain = bicubic(2)
        bright = replace(plain.convolutions[0], bias=np.full(4, 0.25 * bool(metadata), np.float32))
        shipped_one = replace(plain, convolutions=(bright,), metadata={"name": name, **metadata})
        shipped_one.save(tmp_path / f"{name}.safetensors")
    replace(bicubic(5), metadata={"name": "five", "default": True}).save(tmp_path / "five.safetensors")
    monkeypatch.setattr(network, "_WEIGHTS", tmp_path)
    assert list(default_names().items()) == [(2, "apple"), (5, "five")]
    plane = np.full((4, 4), 0.5, np.float32)
    np.testing.assert_allclose(Upscaler().plane(plane), 0.75, rtol=0, atol=1e-6)
    np.testing.assert_allclose(Upscaler("espcn-x2").plane(plane), 0.5, rtol=0, atol=1e-6)
