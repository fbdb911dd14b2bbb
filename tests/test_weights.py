"""The networks that ship: their names, which of them is the default, and their cards."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from subpixel import network
from subpixel.evaluation.protocol import Row, Score
from subpixel.network import bicubic, default_names, load, shipped
from subpixel.upscale import Upscaler

WEIGHTS = Path(network.__file__).parent / "weights"
TOOL = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "record_quality.py"))


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


@pytest.mark.parametrize("name", shipped())
def test_a_card_is_what_its_network_says(name: str) -> None:
    """Except its description and its figures; if this fails: python tools/record_quality.py DIR..."""
    text = (WEIGHTS / f"{name}.md").read_text()
    table = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    assert TOOL["card"](load(name), TOOL["description"](text), table) == text
    recorded = [float(cell.split(" / ")[0]) for cell in table.splitlines()[2].split("|")[2:-1]]
    assert [*load(name).metadata["psnr"].values()] == recorded


def test_recording_changes_figures_alone(tmp_path: Path) -> None:
    """The tensors stay, bit for bit, and so do the description and the rest of the metadata."""
    before = load("espcn-x3")
    before.save(tmp_path / "espcn-x3.safetensors")
    (tmp_path / "espcn-x3.md").write_text((WEIGHTS / "espcn-x3.md").read_text())
    rows = {"Mine": Row("mean", Score(31.256, 0.87654), Score(29.1, 0.8))}
    TOOL["record"](before, rows, tmp_path)
    after = load(tmp_path / "espcn-x3.safetensors")
    assert after.metadata == {**before.metadata, "psnr": {"Mine": 31.26}}
    for old, new in zip(before.convolutions, after.convolutions, strict=True):
        np.testing.assert_array_equal(old.weight.view(np.uint32), new.weight.view(np.uint32))
        np.testing.assert_array_equal(old.bias.view(np.uint32), new.bias.view(np.uint32))
    card = (tmp_path / "espcn-x3.md").read_text()
    assert "| espcn-x3 | 31.26 / 0.8765 |\n| bicubic | 29.10 / 0.8000 |" in card
    assert "ESPCN (Shi et al. 2016, arXiv:1609.05158) for an upscale factor of 3" in card
    assert "Set5 |" not in card
