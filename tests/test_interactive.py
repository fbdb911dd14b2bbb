"""`docs/interactive.html` shows what PyTorch computes, whatever its reader chooses, and needs nobody else."""

import contextlib
import io
import json
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, expect, sync_playwright
from torch.nn.functional import conv1d, conv_transpose1d, conv_transpose2d

from subpixel.studies.lab.palette import PHASES

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "interactive.html"
BUILDER = runpy.run_path(str(DOCS / "make_interactive.py"))
NUMBERS: dict[str, Any] = json.loads(
    re.search(r'<script type="application/json" id="numbers">(.*?)</script>', PAGE.read_text(), re.DOTALL)[1]  # type: ignore[index]
)
LAYERS: dict[str, dict[str, Any]] = NUMBERS["layers"]
BROWSER = shutil.which("chromium")
in_a_browser = pytest.mark.skipif(
    BROWSER is None,
    reason="needs Chromium: apt-get install chromium (Debian); the numbers are tested without",
)


def parts(name: str) -> tuple[int, int, int]:
    r, k, p = map(int, name.split(","))
    return r, k, p


def tensors(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The input and the kernel (1, 2, ... k) of the page's layers."""
    x = torch.tensor([[NUMBERS["input"]]], dtype=torch.float64)
    return x, torch.arange(1.0, parts(name)[1] + 1, dtype=torch.float64)[None, None]


def transposed(name: str) -> list[int]:
    r, _, p = parts(name)
    x, w = tensors(name)
    return conv_transpose1d(x, w, stride=r, padding=p)[0, 0].int().tolist()


# --- The file


def test_the_page_is_what_its_sources_make() -> None:
    """If this fails: python docs/make_interactive.py."""
    assert PAGE.read_text() == BUILDER["page"]()


def test_the_page_is_one_small_file() -> None:
    text = PAGE.read_text()
    assert PAGE.stat().st_size < 300_000
    assert "{{" not in text
    assert "default-src 'none'" in text
    assert re.findall(r"<(?:link|img|iframe|object|embed|script src|source)\b|\burl\(|@import", text) == []


def test_phases_have_the_colours_of_all_figures() -> None:
    found = re.findall(r"\.f(\d)\{--c:(#\w{6});", PAGE.read_text())
    assert found == [(str(phase), colour) for phase, colour in enumerate(PHASES)]


def test_the_usual_layers_are_offered() -> None:
    assert {parts(name)[0] for name in LAYERS} == {2, 3, 4}
    assert {parts(name)[1] for name in LAYERS} == set(range(2, 10))
    assert {"2,4,1", "2,3,1", "2,4,2", "3,9,3", "4,8,2", "2,2,0"} <= LAYERS.keys()


# --- The numbers in it


@pytest.mark.parametrize("name", LAYERS)
def test_three_forms_are_pytorchs_transposed_convolution(name: str) -> None:
    """All integers, so that all are equal exactly: the outputs, and each view's numbers put to PyTorch."""
    layer, (r, k, _), (x, w) = LAYERS[name], parts(name), tensors(name)
    expected = transposed(name)
    assert [pixel["y"] for pixel in layer["output"]] == expected
    # 1: the window over the zero-inserted input
    signal = torch.tensor([0.0 if n < 0 else NUMBERS["input"][n] for n in layer["signal"]])
    window = torch.tensor(layer["window"], dtype=torch.float32)
    assert conv1d(signal[None, None], window[None, None])[0, 0].int().tolist() == expected
    # 2: the matrix, column by column
    matrix = np.zeros((len(expected), x.shape[-1]), int)
    for h, pixel in enumerate(layer["output"]):
        for n, t, _, product in pixel["products"]:
            matrix[h, n] += w[0, 0, t].int()
            assert product == NUMBERS["input"][n] * (t + 1)
    unit = torch.eye(x.shape[-1], dtype=torch.float64)[:, None]
    columns = conv_transpose1d(unit, w, stride=r, padding=parts(name)[2])[:, 0]
    assert matrix.T.tolist() == columns.int().tolist()
    # 3: phase kernels, maps, shuffle
    kernels = torch.tensor(layer["kernels"], dtype=torch.float64)[:, None]
    padded = torch.nn.functional.pad(x, (layer["lr"]["low"], layer["lr"]["high"]))
    assert conv1d(padded, kernels)[0].int().tolist() == layer["maps"]
    assert [layer["maps"][pixel["phase"]][pixel["row"]] for pixel in layer["output"]] == expected
    for pixel in layer["output"]:
        for _, t, s, _ in pixel["products"]:
            assert layer["kernels"][pixel["phase"]][s] == t + 1
            assert layer["tap_phases"][t] == pixel["phase"]
    assert [pixel["phase"] for pixel in layer["output"]] == [h % r for h in range(len(expected))]
    assert len(layer["tap_phases"]) == k


@pytest.mark.parametrize("name", LAYERS)
def test_checkerboards_are_pytorchs(name: str) -> None:
    """Inside a flat image, where no border is met; the sums are shown to three digits."""
    r, k, p = parts(name)
    for icnr, starts in enumerate(LAYERS[name]["starts"]):
        for draw, start in enumerate(starts):
            size = start["size"]
            assert size == (-(-k // r) * r if icnr else k)
            axis = BUILDER["Axis"](size, r, p)
            w = torch.from_numpy(BUILDER["initial_weight"](axis, draw, icnr=bool(icnr)).copy())
            for kernel, shown in ((w, start["sums"]), (torch.ones_like(w), start["taps"])):
                flat = conv_transpose2d(
                    torch.ones(1, 1, 24, 24, dtype=torch.float64), kernel, stride=r, padding=p
                )
                inner = flat[0, 0, 8 * r : 9 * r, 8 * r : 9 * r].flatten().tolist()
                assert inner == pytest.approx(shown, abs=6e-4)
            if icnr:
                assert len(set(start["sums"])) == len(set(start["taps"])) == 1
            else:
                assert len(set(start["sums"])) > 1
                assert (len(set(start["taps"])) == 1) == (k % r == 0)


def run_code(text: str) -> float:
    """Run the copied code; return the difference that it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(text, {})
    match = re.fullmatch(r"the largest difference is (\S+)\n", printed.getvalue())
    assert match
    return float(match[1])


def code_of(name: str) -> str:
    text = (DOCS / "interactive" / "equal.py").read_text()
    lr = LAYERS[name]["lr"]
    text = re.sub("(?m)^r, k, p = [^#]+", "r, k, p = {}, {}, {} ".format(*parts(name)), text)
    numbers = f"{lr['taps']}, {lr['lead']}, {lr['low']}, {lr['high']} "
    return re.sub("(?m)^K, lead, low, high = [^#]+", f"K, lead, low, high = {numbers}", text)


@pytest.mark.parametrize("name", LAYERS)
def test_the_code_agrees_for_every_layer(name: str) -> None:
    assert run_code(code_of(name)) < 1e-12


def test_the_code_notices_a_wrong_kernel() -> None:
    assert run_code(code_of("2,4,1").replace(".flip(2, 3)", "")) > 0.1


def test_the_code_names_how_subpixel_makes_the_kernel() -> None:
    """Its last line, a comment, is put to work: the weight is the one that the code made."""
    *code, comment = code_of("3,5,1").splitlines()
    values: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec("\n".join(code), values)
    own = values["W"]
    exec(f"import subpixel.geometry, subpixel.kernels\n{comment.removeprefix('# ')}", values)
    assert values["W"] is not own
    assert torch.equal(values["W"], own)


# --- The page in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


CHOOSE = """window.choose_by_buttons = (name) => name.split(",").forEach((value, index) => {
  const radio = document.querySelector(`input[name=${"rkp"[index]}][value="${value}"]`);
  if (!radio.checked) radio.click();
})"""


class Reader:
    """A page, everything that it asked for, and every complaint in its console."""

    def __init__(self, browser: Browser) -> None:
        size: Any = {"width": 1280, "height": 800}
        self.context = browser.new_context(viewport=size, reduced_motion="reduce")  # nothing to wait for
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.open()

    def open(self, anchor: str = "") -> None:
        self.page.goto("about:blank")  # from the page itself, an anchor alone would load nothing
        self.page.goto(f"{PAGE.as_uri()}{anchor}")

    def js(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def texts(self, selector: str) -> list[str]:
        return self.js(f"[...document.querySelectorAll({selector!r})].map(node => node.textContent)")

    def text(self, selector: str) -> str:
        (text,) = self.texts(selector)
        return text

    def choose(self, name: str) -> None:
        """Choose a layer by its radio buttons."""
        self.js(f"{CHOOSE}; choose_by_buttons({name!r})")

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            self.page.keyboard.press(key)

    @property
    def h(self) -> int:
        return int(self.page.locator("#h").input_value())


@pytest.fixture(scope="module")
def opened(browser: Browser) -> Iterator[Reader]:
    reader = Reader(browser)
    yield reader
    reader.context.close()


@pytest.fixture
def reader(opened: Reader) -> Iterator[Reader]:
    """The page as a reader finds it; whatever the test does, nothing is asked for and nothing goes wrong."""
    opened.requests.clear()
    opened.open()
    yield opened
    assert opened.complaints == []
    assert {url.partition("#")[0] for url in opened.requests} == {PAGE.as_uri()}


WALK = """(names) => (drawBoard = () => {}, names).map((name) => { // the checkerboard is not looked at here
  choose_by_buttons(name);
  const all = (selector) => [...document.querySelectorAll(`${selector} text`)];
  const each = (selector) => ["zeros", "matrix", "phases"].map(
    (view) => all(`#${view} ${selector}`).map((node) => node.textContent));
  return {
    chosen: ["r", "k", "p"].map((name) => document.querySelector(`input[name=${name}]:checked`).value).join(),
    outputs: each(".out"),
    steps: Array.from({length: Number(document.getElementById("h").max) + 1}, () => {
      document.getElementById("next").click();
      return {
        h: Number(document.getElementById("h").value),
        taps: each(".tap.lit"), pixels: each(".pixel.lit"), out: each(".out.lit"),
        equation: document.getElementById("equation").textContent,
      };
    }),
  };
})"""


@in_a_browser
def test_every_view_shows_pytorchs_numbers(reader: Reader) -> None:
    """Every layer, every output pixel: the taps and the pixels lit in each view are those of PyTorch's."""
    reader.choose("2,4,1")
    for name, seen in zip(LAYERS, reader.page.evaluate(WALK, list(LAYERS)), strict=True):
        expected = transposed(name)
        x, w = (tensor[0, 0].int().tolist() for tensor in tensors(name))
        r, k, p = parts(name)
        assert seen["chosen"] == name
        shown = list(map(str, expected))
        assert seen["outputs"][:2] == [shown, shown]
        assert seen["outputs"][2][-len(shown) :] == shown  # below its maps
        assert sorted(step["h"] for step in seen["steps"]) == list(range(len(expected)))
        for step in seen["steps"]:
            h = step["h"]
            pairs = [(n, h + p - n * r) for n in range(len(x)) if 0 <= h + p - n * r < k]
            weights, pixels = [str(w[t]) for _, t in pairs], [str(x[n]) for n, _ in pairs]
            assert step["taps"] == [weights] * 3
            assert step["pixels"] == [pixels] * 3
            assert step["out"] == [[shown[h]], [shown[h]], [shown[h]] * 2]  # once on its map
            symbols = " + ".join(f"x[{n}]·w[{t}]" for n, t in pairs)
            figures = " + ".join(f"{a}·{b}" for a, b in zip(pixels, weights, strict=True))
            assert step["equation"] == f"y[{h}] = {f'{symbols} = {figures} = ' if pairs else ''}{shown[h]}"


@in_a_browser
def test_arrow_keys_step_and_wrap(reader: Reader) -> None:
    reader.choose("2,4,1")
    last = len(transposed("2,4,1")) - 1
    reader.page.locator("#h").fill("0")
    reader.page.locator("#next").focus()
    reader.press("ArrowRight", 2)
    assert reader.h == 2
    reader.press("ArrowLeft", 3)
    assert reader.h == last
    reader.press("ArrowRight")
    assert reader.h == 0
    reader.page.locator("#h").focus()
    reader.press("ArrowRight")
    assert reader.h == 1
    assert reader.page.locator("#h").get_attribute("aria-valuetext") == f"1 of 0 to {last}"
    reader.page.locator("input[name=r]:checked").focus()  # here the arrows choose r
    reader.press("ArrowRight")
    assert reader.h == 1
    assert reader.page.locator("input[name=r]:checked").input_value() == "3"


@in_a_browser
@pytest.mark.parametrize("view", ["zeros", "matrix", "phases"])
def test_hovering_chooses_an_output_pixel(reader: Reader, view: str) -> None:
    reader.choose("3,5,1")
    for h in (0, 7, 4):
        reader.page.locator(f"#{view} .out[data-h='{h}']").last.hover()
        assert reader.h == h
        assert reader.texts(f"#{view} .out.lit text")[0] == str(transposed("3,5,1")[h])


@in_a_browser
def test_the_sentence_for_listeners_says_the_same(reader: Reader) -> None:
    reader.open("#r=2&k=3&p=1&h=3")
    spoken = reader.page.locator("#spoken")
    assert spoken.get_attribute("aria-live") == "polite"
    assert spoken.inner_text() == (
        "Output pixel 3 has phase 1, because 3 divided by 2 leaves 1. 1 times 3 plus 4 times 1 is 7. "
        "Of 3 taps, 2 meet a pixel."
    )
    reader.open("#r=3&k=2&p=0&h=2")
    assert "No tap of the kernel meets a pixel, so it is 0." in spoken.inner_text()


@in_a_browser
def test_sorting_the_rows_makes_a_block_for_each_phase(reader: Reader) -> None:
    reader.choose("3,5,1")
    order = (
        "[...document.querySelectorAll('#matrix .row')]"
        ".sort((a, b) => parseFloat(a.style.transform.slice(11)) - parseFloat(b.style.transform.slice(11)))"
        ".map(row => Number(row.dataset.h))"
    )
    count = len(transposed("3,5,1"))
    assert reader.js(order) == list(range(count))
    reader.page.locator("#sort").click()
    assert reader.js(order) == [h for phase in range(3) for h in range(phase, count, 3)]
    assert reader.page.locator("#sort").get_attribute("aria-checked") == "true"
    reader.page.locator("#sort").press("Space")
    assert reader.js(order) == list(range(count))


@in_a_browser
def test_padding_is_kept_where_the_kernel_allows_it(reader: Reader) -> None:
    reader.choose("2,9,4")
    reader.js("document.querySelector('input[name=k][value=\"3\"]').click()")
    assert reader.page.locator("input[name=p]:checked").input_value() == "1"
    assert reader.page.locator("input[name=p][value='2']").is_disabled()


@in_a_browser
def test_examples_and_links_choose_a_layer(reader: Reader) -> None:
    for button in reader.page.locator("[data-layer]").all():
        button.click()
        name = button.get_attribute("data-layer")
        assert reader.texts("#zeros .out text") == list(map(str, transposed(name)))
        assert button.get_attribute("aria-pressed") == "true"
    reader.open("#r=4&k=4&p=0&h=6")
    assert reader.texts("#zeros .out text") == list(map(str, transposed("4,4,0")))
    assert reader.h == 6
    reader.press("ArrowRight")
    expect(reader.page).to_have_url(f"{PAGE.as_uri()}#r=4&k=4&p=0&h=7")
    reader.js("location.hash = '#r=3&k=9&p=3&h=2'")
    expect(reader.page.locator("#h")).to_have_value("2")
    assert reader.texts("#zeros .out text") == list(map(str, transposed("3,9,3")))
    for nonsense, h in {"#r=99&k=x": 3, "#r=2&k=4&p=1&h=99": 0, "#%=<b>": 3}.items():
        reader.open(nonsense)
        assert reader.texts("#zeros .out text") == list(map(str, transposed("2,4,1")))
        assert reader.h == h


@in_a_browser
def test_play_steps_until_it_is_paused(reader: Reader) -> None:
    before = reader.h
    reader.page.locator("#play").click()
    expect(reader.page.locator("#h")).not_to_have_value(str(before))
    assert reader.text("#play") == "Pause"
    assert reader.page.locator("#spoken").get_attribute("aria-live") == "off"
    reader.page.locator("#play").click()
    assert reader.text("#play") == "Play"
    assert reader.page.locator("#spoken").get_attribute("aria-live") == "polite"


@in_a_browser
def test_checkerboard_goes_flat_with_icnr(reader: Reader) -> None:
    reader.choose("2,3,1")
    shades = (
        "[...new Set([...document.querySelectorAll('#{} rect')].map(n => getComputedStyle(n).fill))].length"
    )
    random, equal = (starts[0] for starts in LAYERS["2,3,1"]["starts"])
    assert set(reader.texts("#taps text")) == set(map(str, random["taps"])) == {"1", "2", "4"}
    assert reader.js(shades.format("taps")) == 3
    assert reader.js(shades.format("sums")) == len(set(random["sums"])) == 4
    reader.page.locator("#icnr").click()
    assert set(reader.texts("#taps text")) == set(map(str, equal["taps"])) == {"4"}
    assert reader.js(shades.format("taps")) == reader.js(shades.format("sums")) == 1
    assert "the kernel has grown to 4 \u00d7 4" in reader.text("#about-icnr")
    reader.page.locator("#draw").click()
    _, other = (starts[1] for starts in LAYERS["2,3,1"]["starts"])
    assert f"{other['sums'][0]:.2f} everywhere".replace("-", "\u2212") in reader.text("#caption-sums")
    assert reader.js(shades.format("sums")) == 1


@in_a_browser
def test_phases_of_the_checkerboard_are_chosen_by_slider_and_by_hovering(reader: Reader) -> None:
    reader.choose("3,5,1")
    taps = LAYERS["3,5,1"]["starts"][0][0]["taps"]
    reader.page.locator("#f").focus()
    reader.press("ArrowRight", 5)
    assert reader.text("#spoken-board").startswith(
        f"Phase 5, row 1, column 2 of each 3 \u00d7 3 block: {taps[5]} tap"
    )
    assert len(reader.texts("#kernel .lit")) == taps[5]  # the taps of one colour, counted
    reader.page.locator("#sums .cell").nth(12 + 1).hover()
    assert reader.text("#spoken-board").startswith(
        f"Phase 4, row 1, column 1 of each 3 \u00d7 3 block: {taps[4]} tap"
    )
    assert len(reader.texts("#kernel .lit")) == taps[4]


@in_a_browser
def test_copied_code_is_the_layer_chosen_and_agrees(reader: Reader) -> None:
    reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for name in ("2,4,1", "3,5,2", "4,9,3"):
        reader.choose(name)
        reader.page.locator("#copy").click()
        expect(reader.page.locator("#copied")).to_have_text("Copied.")
        text = reader.js("navigator.clipboard.readText()")
        assert "\nr, k, p = {}, {}, {}  #".format(*parts(name)) in text
        assert run_code(text) < 1e-12


@in_a_browser
def test_without_a_clipboard_the_code_is_copied_the_old_way(reader: Reader) -> None:
    reader.js(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true});"
        "document.addEventListener('copy', () => { window.copied = getSelection().toString(); })"
    )
    reader.page.locator("#copy").click()
    expect(reader.page.locator("#copied")).to_have_text("Copied.")
    assert run_code(reader.js("window.copied")) < 1e-12


@in_a_browser
def test_the_table_holds_all_pixels(reader: Reader) -> None:
    reader.choose("2,3,1")
    reader.page.locator("summary").click()
    assert reader.page.locator("#table").is_visible()
    cells = reader.texts("#table tbody td")
    assert cells[3::4] == list(map(str, transposed("2,3,1")))
    assert cells[4:8] == ["1", "1", "x[0]·w[2] + x[1]·w[0]", str(transposed("2,3,1")[1])]


@in_a_browser
def test_light_and_dark(reader: Reader) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    reader.page.emulate_media(color_scheme="light")
    light = reader.js(paper)
    reader.page.locator("#theme").click()
    dark = reader.js(paper)
    assert dark != light
    reader.page.emulate_media(color_scheme="dark")  # the reader's own choice is kept
    assert reader.js(paper) == dark
    reader.page.locator("#theme").click()
    assert reader.js(paper) == light
    reader.open("#again")
    reader.page.reload()
    assert reader.js(paper) == dark  # nothing chosen: as the system has it
    reader.page.emulate_media(color_scheme="light")
    assert reader.js(paper) == light


@in_a_browser
def test_motion_only_for_those_who_want_it(reader: Reader) -> None:
    duration = "getComputedStyle(document.getElementById('slide-zeros')).transitionDuration"
    assert reader.js(duration) == "0s"
    reader.page.emulate_media(reduced_motion="no-preference")
    assert reader.js(duration) != "0s"
    reader.page.emulate_media(reduced_motion="reduce")


CONTRASTS = """() => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const context = canvas.getContext("2d", {willReadFrequently: true});
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = (layers) => { // of colours with their opacities, the lowest first
    for (const [colour, opacity] of [["#fff", 1], ...layers]) {
      context.globalAlpha = opacity;
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
    }
    const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data].map((code) => linear(code / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const style = getComputedStyle;
  const behind = (node) => (node ? [...behind(node.parentElement), [style(node).backgroundColor, 1]] : []);
  const filled = (rect) => (rect ? [[style(rect).fill, Number(style(rect).fillOpacity)]] : []);
  const hasText = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  const all = document.querySelectorAll("body *:not(script, style, noscript, :disabled + span)");
  const measured = [...all].filter(hasText).map((node) => {
    const background = [...behind(node), ...filled(node.closest(".row")?.querySelector(".hit")),
      ...filled(node.closest(".cell")?.querySelector("rect"))];
    const text = [node.closest("svg") ? style(node).fill : style(node).color, Number(style(node).opacity)];
    const [dark, light] = [background, [...background, text]].map(luminance).sort((a, b) => a - b);
    return [(light + 0.05) / (dark + 0.05), `${node.getAttribute("class")}: ${node.textContent}`];
  });
  return measured.sort((a, b) => a[0] - b[0])[0];
}"""


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(reader: Reader, scheme: Any) -> None:
    """By 4.5 to 1 at least, as WCAG's level AA wants; controls that are disabled are exempt."""
    reader.page.emulate_media(color_scheme=scheme)
    for name in ("2,3,1", "3,5,2", "4,9,3"):
        reader.choose(name)
        for _ in range(parts(name)[0]):  # each phase is lit once
            reader.page.locator("#next").click()
            contrast, text = reader.js(CONTRASTS)
            assert contrast >= 4.5, text
    reader.page.emulate_media(color_scheme="light")


FOCUSED = """() => {
  const node = document.activeElement;
  const name = node.ariaLabel || node.labels?.[0]?.textContent || node.textContent;
  const key = node.id || node.name || node.dataset.layer || node.tagName;
  return node === document.body ? null : [key, name.trim()];
}"""
DANGLING = """() => ["aria-labelledby", "aria-describedby"].flatMap((attribute) =>
  [...document.querySelectorAll(`[${attribute}]`)].map((node) => node.getAttribute(attribute)))
  .filter((id) => !document.getElementById(id))"""


@in_a_browser
def test_every_control_is_reached_by_tab_and_has_a_name(reader: Reader) -> None:
    reached = {}
    for _ in range(40):
        reader.press("Tab")
        focused = reader.js(FOCUSED)
        if focused is None:
            break
        reached[focused[0]] = focused[1]
    controls = set("rkp") | {
        "theme",
        "2,3,1",
        "back",
        "h",
        "next",
        "play",
        "sort",
        "icnr",
        "draw",
        "f",
        "copy",
    }
    assert controls <= reached.keys()
    assert all(reached.values())
    assert reader.js(DANGLING) == []
    assert reader.js("[...document.querySelectorAll('svg')].every(s => s.getAttribute('role') === 'img')")


@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(reader: Reader, width: int) -> None:
    reader.page.set_viewport_size({"width": width, "height": 844})
    for name in ("2,4,1", "4,9,0", "2,9,0"):
        reader.choose(name)
        assert reader.js("document.documentElement.scrollWidth") <= width
    reader.page.set_viewport_size({"width": 1280, "height": 800})


@in_a_browser
def test_the_policy_forbids_connections(browser: Browser) -> None:
    """What the page's own script would have to do to phone home is refused by the browser."""
    other = Reader(browser)
    assert other.complaints == []
    refused = other.js("fetch('https://example.com/').then(() => 'sent', () => 'refused')")
    assert refused == "refused"
    assert "Content Security Policy" in "".join(other.complaints)
    other.context.close()
