"""Networks as shaders: every pass is read as a player reads it, and evaluated in NumPy."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import evaluate, random_network
from numpy.typing import NDArray

from subpixel import Upscaler
from subpixel.exporting.glsl import export, shader
from subpixel.network import LRConvolution, LRNetwork, bicubic, load

Maps = NDArray[np.float64]  # (channels, height, width)

NETWORKS = {
    "tanh": random_network(widths=(6, 5)),
    "relu, x2": random_network(2, activations=("relu", "relu", None)),
    "prelu, bicubic": random_network(2, activations=("prelu", "leaky_relu", None), skip="bicubic"),
    "no activation, nearest": random_network(4, activations=(None, "tanh", None), skip="nearest"),
    "the skip reaches further": random_network(3, kernel_sizes=(1, 1, 1), skip="bicubic"),
    "one convolution and a skip": random_network(2, 1, (), (3,), (None,), "bicubic"),
    "one convolution": bicubic(3),
    "x1": random_network(1),
    "x7": random_network(7, 1, (5,), (3, 1), ("relu", None)),
    "two sums": random_network(2, 1, (56, 57), (1, 3, 1), ("relu", "prelu", None), "bicubic"),
    "three sums": random_network(2, 1, (129,), (3, 1), ("relu", None)),
}


def directives(text: str) -> tuple[dict[str, str], list[str]]:
    """The head of a pass, by keyword, and the names of its textures."""
    lines = re.findall(r"^//!(\w+) (.*)$", text, re.MULTILINE)
    return dict(lines), [value for keyword, value in lines if keyword == "BIND"]


def side(expression: str, luma: Maps) -> int:
    """A size such as "LUMA.w 4 +", for the first luma."""
    name, number, operator = expression.split()
    size = luma.shape[{"LUMA.w": 2, "LUMA.h": 1}[name]]
    return {"+": size + int(number), "*": size * int(number)}[operator]


def sampler(texture: Maps) -> Callable[[Maps], Maps]:
    """A texture as its sampler gives it: the nearest pixel, the edge beyond the edge."""
    height, width = texture.shape[1:]

    def tex(place: Maps) -> Maps:
        x, y = (
            np.clip(np.floor(c * s).astype(int), 0, s - 1)
            for c, s in zip(place, (width, height), strict=True)
        )
        return np.concatenate([texture, np.zeros((4 - len(texture), *texture.shape[1:]))])[:, y, x]

    return tex


def vector(*values: Any) -> Maps:
    return np.stack(np.broadcast_arrays(*values, np.zeros((1, 1)))[:-1])


LANGUAGE: dict[str, Any] = {
    "vec2": vector,
    "vec4": vector,
    "ivec2": lambda v: v.astype(int),
    "floor": np.floor,
    "tanh": np.tanh,
    "max": np.maximum,
    "min": np.minimum,
    "clamp": np.clip,
    "mat4": lambda *values: np.reshape(values, (4, 4)).T,  # column by column
    "product": lambda matrix, maps: np.einsum("ij,jyx->iyx", matrix, maps),
    "pick": lambda maps, index: np.take_along_axis(maps, index[None], 0)[0],
    "choose": np.where,
}
PYTHON = (  # what is not Python, and what is
    (r"^ *(?:vec2|vec4|ivec2|int) (\w+) = (.*);$", r"\1 = \2"),
    (r"^ *if \((.*?)\) (\w+) = (.*);$", r"\2 = choose(\1, \3, \2)"),
    (r"^ *return (.*);$", r"result = \1"),
    (r"^ *sum \+= (.*);$", r"sum = sum + \1"),
    (r"(mat4\([^()]*\)) \* (.*)$", r"product(\1, \2)"),
    (r"phases\[(.*?)\]", r"pick(phases, \1)"),
    (r"(\)|phase)\.x\b", r"\1[0]"),
    (r"phase\.y\b", r"phase[1]"),
)


def run_pass(body: str, textures: dict[str, Maps], height: int, width: int) -> Maps:
    places = np.stack(np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height))
    names: dict[str, Any] = {}
    for name, texture in textures.items():
        size = np.array(texture.shape[:0:-1], float).reshape(2, 1, 1)
        names |= {f"{name}_tex": sampler(texture), f"{name}_size": size}
        names |= {f"{name}_pt": 1 / size, f"{name}_pos": places}
    for pattern, python in PYTHON:
        body = re.sub(pattern, python, body, flags=re.MULTILINE)
    exec(body, LANGUAGE, names)
    return np.broadcast_to(names["result"], (4, height, width))


def play(text: str, luma: Maps) -> Maps:
    """The luma after all passes of a shader; a texture that a pass does not bind has no name in it."""
    textures = {"LUMA": luma}
    for part in re.split(r"\n\n(?=//!HOOK LUMA)", text)[1:]:
        head, bound = directives(part)
        assert len(bound) == len(set(bound)) <= 15  # with the position, OpenGL's 16 vertex attributes
        (body,) = re.findall(r"^vec4 hook\(\) \{\n(.*)\n\}$", part, re.MULTILINE | re.DOTALL)
        size = side(head["HEIGHT"], luma), side(head["WIDTH"], luma)
        result = run_pass(body, {name: textures[name] for name in bound}, *size)
        textures[head.get("SAVE", "LUMA")] = result
    return textures["LUMA"][:1]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_shader_computes_the_network(network: LRNetwork) -> None:
    """From a pixel on, its borders included, clipped; against float64."""
    text = shader(network)
    for size in ((1, 1), (1, 7), (5, 2), (9, 12)):
        luma = np.random.default_rng(5).random((1, *size))
        m = network.radius
        expected = evaluate(network, np.pad(luma, [(0, 0), (m, m), (m, m)], mode="edge")[None])[0]
        np.testing.assert_allclose(play(text, luma), expected.clip(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["espcn-x2", "espcn-x3", "espcn-x4"])
def test_a_shader_of_a_trained_network_is_the_native_engine(name: str) -> None:
    plane = np.random.default_rng(6).integers(0, 2, (9, 12)).astype(np.float32)  # some results are clipped
    played = play(shader(load(name)), plane[None].astype(float))
    np.testing.assert_allclose(played[0], Upscaler(name, "native").plane(plane), rtol=0, atol=1e-5)


def test_a_phase_or_a_tap_out_of_place_would_be_seen() -> None:
    network = NETWORKS["tanh"]
    luma = np.random.default_rng(7).random((1, 9, 12))
    right = play(shader(network), luma)
    moved = shader(network).replace("vec2(1.0, 2.0)", "vec2(2.0, 1.0)")
    turned = shader(network).replace("3 * phase.y + phase.x", "3 * phase.x + phase.y")
    for wrong in (moved, turned):
        assert wrong != shader(network)
        assert np.abs(play(wrong, luma) - right).max() > 0.01


def test_a_shader_is_the_same_text_every_time_in_ascii(tmp_path: Path) -> None:
    for name in ("first.glsl", "second.glsl"):
        export(load("espcn-x2"), tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("first.glsl", "second.glsl"))
    assert first == second == shader(load("espcn-x2")).encode("ascii")
    assert b"nan" not in first
    assert b"inf" not in first


def test_a_name_cannot_write_a_shader() -> None:
    """It stands in comments and titles, where a line break or a directive would be read."""
    named = replace(bicubic(2), metadata={"name": "a//!HOOK MAIN é"})
    assert "a__!HOOK" not in (text := shader(named))
    assert "a___HOOK MAIN _" in text
    assert set(re.findall(r"//!HOOK (.*)", text)) == {"LUMA"}


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (random_network(2, 3), "a shader enlarges luma, so the network must have one channel; got 3. Export"),
        (bicubic(8), "a shader must enlarge by at most 7; got 8. Export the network to ONNX."),
        (
            random_network(2, 1, (64,) * 9, (3,) * 10, (*("relu",) * 9, None)),
            "must have at most 262144 weights; got",
        ),
    ],
)
def test_what_a_shader_cannot_be_is_refused(network: LRNetwork, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        export(network, tmp_path / "x.glsl")
    assert list(tmp_path.iterdir()) == []


def test_activations_of_large_numbers_stay_numbers() -> None:
    """Some drivers give NaN for the tanh of large numbers; the argument is bounded."""
    large = LRConvolution(np.full((1, 1, 1, 1), 1e6, np.float32), np.zeros(1, np.float32), "tanh")
    last = LRConvolution(np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32))
    text = shader(LRNetwork(1, (large, last)))
    assert "tanh(clamp(sum, -10.0, 10.0))" in text
    np.testing.assert_allclose(play(text, np.ones((1, 2, 2))), 1, rtol=0, atol=1e-7)
