from functools import cache
from itertools import product
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import evaluate, random_network
from numpy.typing import NDArray
from torch.nn import functional

from subpixel import engines, stage, tiles, upscale
from subpixel.network import LRNetwork, bicubic
from subpixel.upscale import Upscaler

ESPCN = random_network(2, widths=(16, 8))
RGB_NETWORK = random_network(2, channels=3, widths=(16, 8), skip="bicubic")

OTHERS = ["openvino", "onnxruntime", "torch"]  # engines besides the native one

# MATLAB's rgb2ycbcr, written out once more.
YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255


def noise(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> NDArray[Any]:
    if np.dtype(dtype).kind == "f":
        return np.random.default_rng(seed).random(shape, dtype=dtype)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def photo(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth colours and some edges."""
    y, x = np.mgrid[:height, :width] / 10
    bands = [
        np.sin(x * a + y * b) + (np.hypot(x - 3, y - 2) < 2) for a, b in ((1, 0.3), (0.2, 1), (0.7, 0.7))
    ]
    return np.clip(np.stack(bands, -1) * 60 + 100, 0, 255).astype(np.uint8)


def reference_plane(network: LRNetwork, plane: NDArray[np.floating]) -> NDArray[np.float64]:
    """The whole plane through the network in float64, borders replicated."""
    padded = np.pad(plane, network.radius, mode="edge")
    return evaluate(network, np.repeat(padded[None, None], network.channels, axis=1)).mean((0, 1))


def reference_smooth(planes: NDArray[np.floating], scale: int) -> NDArray[np.float64]:
    """Planes through PyTorch's own bicubic interpolation, whose borders are replicated too."""
    given = torch.tensor(planes[None], dtype=torch.float64)
    return functional.interpolate(given, scale_factor=scale, mode="bicubic")[0].numpy()


def reference_rgb(network: LRNetwork, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Y through the network, chroma through bicubic interpolation, in float64 and 0..255."""
    y, *chroma = np.moveaxis(image @ YCBCR.T, -1, 0)
    y = 255 * reference_plane(network, (y + 16) / 255) - 16
    planes = np.stack([y, *reference_smooth(np.stack(chroma), network.upscale_factor)], -1)
    return np.clip(planes @ np.linalg.inv(YCBCR).T, 0, 255)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_plane_is_the_networks_output_clipped(scale: int) -> None:
    network = random_network(scale)
    plane = noise(21, 34, dtype=np.float32)
    enlarged = Upscaler(network).plane(plane)
    assert enlarged.dtype == np.float32
    np.testing.assert_allclose(enlarged, np.clip(reference_plane(network, plane), 0, 1), rtol=0, atol=5e-6)


@cache
def upscaler_on(engine: Any) -> Upscaler:
    return Upscaler(random_network(3, widths=(8, 8)), engine)


@settings(max_examples=25)
@given(
    st.integers(1, 60), st.integers(1, 60), st.sampled_from(["y", "rgb", "alpha"]), st.sampled_from(OTHERS)
)
def test_tiles_together_are_the_whole(height: int, width: int, kind: str, engine: str) -> None:
    """To 1e-6, for engines that have no `extra`; `test_tiles.py` holds the native one to every bit."""
    scale, bands = 3, {"y": (), "rgb": (3,), "alpha": (4,)}[kind]
    image = noise(height, width, *bands, dtype=np.float32)
    upscaler = upscaler_on(engine)
    enlarge = upscaler.plane if kind == "y" else upscaler.image
    whole = enlarge(image)
    assert whole.shape == (scale * height, scale * width, *bands)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "TILE_ROWS", 16)
        patch.setattr(stage, "TILE_COLUMNS", 11)
        np.testing.assert_allclose(enlarge(image), whole, rtol=0, atol=1e-6)


def test_a_margin_too_small_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above sees tiles that lack one pixel of context."""
    image = noise(60, 60, dtype=np.float32)
    whole = Upscaler(ESPCN).plane(image)
    monkeypatch.setattr(stage, "TILE_ROWS", 16)
    padded = tiles._padded

    def shifted(*arguments: Any) -> Any:
        for strip in padded(*arguments):
            yield np.roll(strip, 1, axis=0)

    monkeypatch.setattr(tiles, "_padded", shifted)
    assert np.abs(Upscaler(ESPCN).plane(image) - whole).max() > 0.01


def test_luma_goes_through_the_network_and_chroma_through_bicubic_interpolation() -> None:
    image = photo(40, 57)
    enlarged = Upscaler(ESPCN).image(image)
    assert enlarged.dtype == np.uint8
    np.testing.assert_allclose(enlarged, reference_rgb(ESPCN, image), rtol=0, atol=0.51)


def test_a_grey_image_is_the_rgb_image_of_that_grey() -> None:
    grey = photo(30, 40)[..., 0]
    upscaler = Upscaler(ESPCN)
    as_rgb = upscaler.image(np.repeat(grey[..., None], 3, axis=2)).astype(int)
    assert np.abs(as_rgb - upscaler.image(grey)[..., None]).max() <= 1


def test_a_network_of_three_channels_takes_rgb() -> None:
    image = photo(30, 40)
    padded = np.pad(np.moveaxis(image, -1, 0) / 255, ((0, 0), *[(RGB_NETWORK.radius,) * 2] * 2), mode="edge")
    expected = np.moveaxis(evaluate(RGB_NETWORK, padded[None])[0], 0, -1)
    enlarged = Upscaler(RGB_NETWORK).image(image)
    np.testing.assert_allclose(enlarged, np.clip(255 * expected, 0, 255), rtol=0, atol=0.51)


def test_a_network_of_three_channels_takes_grey_too() -> None:
    grey = photo(30, 40)[..., 0]
    expected = np.clip(255 * reference_plane(RGB_NETWORK, grey / 255), 0, 255)
    enlarged = Upscaler(RGB_NETWORK).image(grey)
    np.testing.assert_allclose(enlarged, expected, rtol=0, atol=0.51)


@pytest.mark.parametrize(("dtype", "atol"), [(np.uint8, 0.51), (np.uint16, 0.8)])
def test_sixteen_bits_stay_sixteen(dtype: Any, atol: float) -> None:
    """Each code of 65535 counts."""
    peak = np.iinfo(dtype).max
    plane = np.linspace(0.2 * peak, 0.8 * peak, 40 * 50).reshape(40, 50).astype(dtype)
    enlarged = Upscaler(ESPCN).plane(plane)
    assert enlarged.dtype == dtype
    expected = np.clip(peak * reference_plane(ESPCN, plane / peak), 0, peak)
    np.testing.assert_allclose(enlarged, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("options", "expected"), [({}, "f32"), ({"precision": "bf16"}, "bf16")])
def test_only_luma_is_computed_in_bf16_and_only_where_it_is_asked_for(
    options: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}
    create = engines.create

    def recording(network: LRNetwork, engine: Any, precision: Any) -> engines.Engine:
        asked[network.name] = precision
        return create(network, engine, "f32")

    monkeypatch.setattr(engines, "create", recording)
    Upscaler(ESPCN, **options).image(noise(8, 8, 3))
    assert asked == {"random": expected, "bicubic-x2": "f32", "colours": "f32"}


def test_what_is_opaque_stays_opaque() -> None:
    """And looks as without alpha, exactly."""
    image = np.dstack([photo(50, 60), np.full((50, 60), 255, np.uint8)])
    enlarged = Upscaler(ESPCN).image(image)
    assert (enlarged[..., 3] == 255).all()
    np.testing.assert_array_equal(enlarged[..., :3], Upscaler(ESPCN).image(image[..., :3]))


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_opaque_parts_of_a_transparent_image_stay_opaque(dtype: Any, peak: float) -> None:
    alpha = np.full((40, 40), peak, dtype)
    alpha[:5] = 0
    image = np.dstack([noise(40, 40, 3, dtype=dtype), alpha])
    enlarged = Upscaler(ESPCN).image(image)
    np.testing.assert_allclose(enlarged[20:, :, 3], peak, rtol=0, atol=0 if peak > 1 else 1e-6)


def test_opacity_is_interpolated() -> None:
    image = np.dstack([photo(30, 40), photo(30, 40)[::-1, :, 0]])
    enlarged = Upscaler(ESPCN).image(image)
    expected = np.clip(reference_smooth(image[None, ..., 3].astype(float), 2)[0], 0, 255)
    np.testing.assert_allclose(enlarged[..., 3], expected, rtol=0, atol=0.51)


def disc(size: int) -> NDArray[np.uint8]:
    """The opacity of a disc with a smooth edge."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip((size / 3 - np.hypot(x, y)) * 255 + 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("network", [ESPCN, RGB_NETWORK, bicubic(3)], ids=lambda n: n.name + str(n.channels))
def test_hidden_colours_are_never_seen(network: LRNetwork) -> None:
    """Whatever the colours of fully transparent pixels are, all that is visible is the same."""
    alpha = disc(40)
    visible = (alpha > 0)[..., None]
    images = [np.dstack([np.where(visible, photo(40, 40), noise(40, 40, 3, seed=s)), alpha]) for s in (1, 2)]
    first, second = (Upscaler(network).image(image) for image in images)
    np.testing.assert_array_equal(first[..., 3], second[..., 3])
    seen = first[..., 3] > 0
    assert 0 < seen.mean() < 1
    np.testing.assert_array_equal(first[seen], second[seen])


def test_edges_get_no_fringe() -> None:
    """A white disc on transparent black is white wherever it is seen; interpolating each band is not."""
    image = np.dstack([np.where(disc(40)[..., None] > 0, 255, np.zeros((40, 40, 3))), disc(40)]).astype(
        np.uint8
    )
    enlarged = Upscaler(bicubic(3)).image(image)
    assert enlarged[enlarged[..., 3] > 0, :3].min() >= 254
    naive = reference_smooth(np.moveaxis(image, -1, 0).astype(float), 3)
    assert naive[:3, naive[3] > 1].min() < 128


def test_even_translucence_does_not_blur() -> None:
    """A photo of 40 % opacity keeps the details of the opaque one."""
    image = photo(30, 30)
    half = np.dstack([image, np.full((30, 30), 102, np.uint8)])
    np.testing.assert_array_equal(Upscaler(ESPCN).image(half)[..., :3], Upscaler(ESPCN).image(image))


def test_one_weird_size_after_the_other() -> None:
    upscaler = Upscaler(ESPCN)
    for height, width in product((1, 2, 257), (1, 3, 513)):
        assert upscaler.image(noise(height, width, 3)).shape == (2 * height, 2 * width, 3)


def test_an_image_is_not_written_to() -> None:
    image = noise(20, 20, 4)
    image.setflags(write=False)
    Upscaler(ESPCN).image(image)
    rows = noise(40, 60, 3)[::2, ::-3]  # of any strides
    np.testing.assert_array_equal(Upscaler(ESPCN).image(rows), Upscaler(ESPCN).image(rows.copy()))


@pytest.mark.parametrize("engine", OTHERS)
def test_any_engine_gives_the_same_image(engine: Any) -> None:
    image = photo(40, 50)
    ours = Upscaler(ESPCN).image(image).astype(int)
    assert np.abs(Upscaler(ESPCN, engine, "f32").image(image) - ours).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_pil_image_gives_a_pil_image(mode: str) -> None:
    pixels = noise(20, 30, len(PIL.Image.new(mode, (1, 1)).getbands())).squeeze()
    if mode == "I;16":
        pixels = noise(20, 30, dtype=np.uint16)
    image = PIL.Image.fromarray(pixels) if mode != "CMYK" else PIL.Image.fromarray(pixels, mode)
    image.info["dpi"] = (300, 300)
    enlarged = Upscaler(ESPCN).image(image)
    assert (enlarged.mode, enlarged.size, enlarged.info) == (mode, (60, 40), {"dpi": (300, 300)})
    if mode != "CMYK":
        np.testing.assert_array_equal(np.asarray(enlarged), Upscaler(ESPCN).image(pixels))


def test_cmyk_is_enlarged_as_light() -> None:
    """Each ink as the grey that it leaves; white paper stays without ink."""
    pixels = noise(20, 30, 4)
    pixels[:10] = 0
    enlarged = np.asarray(Upscaler(bicubic(2)).image(PIL.Image.fromarray(pixels, "CMYK")))
    for band in range(4):
        expected = 255 - Upscaler(bicubic(2)).image(255 - pixels[..., band]).astype(int)
        np.testing.assert_allclose(enlarged[..., band], expected, rtol=0, atol=1)
    assert (enlarged[:14] == 0).all()


@pytest.mark.parametrize(("mode", "expected"), [("P", "RGB"), ("1", "L")])
def test_palettes_and_bits_become_colours(mode: str, expected: str) -> None:
    image = PIL.Image.fromarray(photo(20, 30)).convert(mode)
    enlarged = Upscaler(ESPCN).image(image)
    assert enlarged.mode == expected
    np.testing.assert_array_equal(
        np.asarray(enlarged), Upscaler(ESPCN).image(np.asarray(image.convert(expected)))
    )


def test_a_palettes_transparent_colour_becomes_alpha() -> None:
    image = PIL.Image.fromarray(photo(20, 30)).convert("P")
    image.info["transparency"] = image.getpixel((0, 0))
    assert Upscaler(ESPCN).image(image).mode == "RGBA"


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((4, 4), bool),
        np.zeros((4, 4), np.int16),
        np.zeros((4, 4), complex),
    ],
    ids=lambda a: f"{a.shape} {a.dtype}",
)
def test_pixels_that_are_no_image_are_refused(pixels: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="pixels must be"):
        Upscaler(ESPCN).image(pixels)


def test_what_is_no_image_at_all_is_refused() -> None:
    with pytest.raises(TypeError, match="NumPy array or a PIL image; got list"):
        Upscaler(ESPCN).image([[1, 2]])  # type: ignore[type-var]
    with pytest.raises(ValueError, match=r"mode L, .* got F"):
        Upscaler(ESPCN).image(PIL.Image.new("F", (4, 4)))
    with pytest.raises(ValueError, match="pixels must be"):
        Upscaler(ESPCN).plane(np.zeros((4, 4, 3), np.uint8))


def test_a_scale_that_there_is_no_network_for_is_refused() -> None:
    with pytest.raises(ValueError, match="the scale must be 2, as that of the network; got 3"):
        Upscaler(ESPCN).image(noise(4, 4), scale=3)
    with pytest.raises(ValueError, match="a network must be"):
        Upscaler("no-such-network")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), ()),
        ((50, 80), ()),
        ((101, 100), (2,)),
        ((200, 200), (2,)),
        ((200, 300), (3,)),
        ((301, 10), (4,)),
        ((600, 1), (2, 3)),
        ((700, 700), (2, 4)),
        ((850, 1), (3, 3)),
        ((1700, 1), (2, 3, 3)),
        ((10_000, 1), (3, 3, 3, 4)),
    ],
)
def test_the_next_factors_up_are_taken(size: tuple[int, int], expected: tuple[int, ...]) -> None:
    """The least product of factors that reaches the size; the smaller ones first, which costs less."""
    assert upscale._reaching(size, 100, 100, (2, 3, 4)) == expected
