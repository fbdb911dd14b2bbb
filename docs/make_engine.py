"""Write docs/engine.svg, the bands of a network while it runs: python docs/make_engine.py.

Three 3x3 layers and a bicubic skip, in the middle of step 5 of a block. `Layer` and `memory` follow the rules
of `native/block.hpp`: a layer gives band step - lag; band j lies in slot j mod the length of the ring.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from subpixel.studies.lab.palette import PHASES, TEXT

PICTURE = Path(__file__).with_name("engine.svg")

STEP, CHUNKS, BANDS, ROWS = 5, 4, 7, 4  # a step, chunks of a band, bands that are drawn, rows of a band
AT_WORK = 14  # the chunk that is being computed, in the order of the step; those before it are finished

WIDTH, HEIGHT = 840, 498
LEFT, TOP, CELL, BAND, PITCH = 244, 100, 32, 40, 154
ROW = BAND / ROWS
SLOTS = TOP + BANDS * BAND + 52  # the upper edge of what is in memory

STYLE = f"""
text {{ font: 13px system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif; fill: {TEXT} }}
.paper {{ fill: #FFFFFF }}
.heading {{ font-weight: 600; font-size: 14px }}
.note {{ font-size: 12px; fill: #595959 }}
.middle {{ text-anchor: middle }}
.end {{ text-anchor: end }}
.edge {{ fill: none; stroke: #8A8A8A }}
.tick {{ stroke: #8A8A8A }}
.later {{ fill: none; stroke: #BBBBBB; stroke-width: .7 }}
.gone {{ fill: none; stroke: #8A8A8A; stroke-width: .7; stroke-dasharray: 2 3 }}
.kept {{ fill: {PHASES[4]}; fill-opacity: .32 }}
.done {{ fill: {PHASES[4]} }}
.written {{ fill: {PHASES[2]}; fill-opacity: .6 }}
.a {{ fill: {PHASES[0]} }}
.b {{ fill: {PHASES[5]} }}
.twice {{ fill: #A9CBE4 }}
.reads {{ fill: none; stroke: {PHASES[0]}; stroke-width: 2.5 }}
.skip {{ stroke-dasharray: 5 3 }}
.on-done {{ fill: {TEXT} }}
.on-a {{ fill: #FFFFFF; font-weight: 600 }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #E4E4E4 }}
  .paper {{ fill: #1F222B }}
  .note {{ fill: #B4B4B4 }}
  .later {{ stroke: #5A5E69 }}
  .twice {{ fill: #2C5F85 }}
  .reads {{ stroke: #FFFFFF }}
  .on-done {{ fill: {TEXT} }}
  .on-a {{ fill: #FFFFFF }}
}}
"""

FILLED = ("twice", "done", "kept", "written", "a")  # classes that need an edge


class Layer(NamedTuple):
    """A column of the picture: a layer, the bands that it lags behind the image, and those of its ring."""

    name: str
    lag: int
    ring: int

    @property
    def band(self) -> int:
        """The band that it gives at this step."""
        return STEP - self.lag


# A ring holds what its reader still needs: two bands. The skip, which the last layer adds, reads the image.
LAYERS = (Layer("image", 0, 4), Layer("1st layer", 1, 2), Layer("2nd layer", 2, 2), Layer("3rd layer", 3, 0))


def picture() -> str:
    """Return the drawing as SVG."""
    parts = [f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="8"/>']
    parts += [*blocks(20, 52), *legend(20, 192)]
    parts.append(text(LEFT, 26, f"The block of thread A at step {STEP}", "heading"))
    parts += [text(LEFT - 14, TOP + BAND * (band + 0.5), str(band), "note end") for band in range(BANDS)]
    parts.append(text(LEFT - 14, TOP - 18, "band", "note end"))
    numbers = count(1)
    for place, layer in enumerate(LAYERS):
        parts += column(LEFT + place * PITCH, layer, numbers)
        parts += memory(LEFT + place * PITCH, layer)
    parts += reads()
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    lines = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{STYLE}</style>\n{lines}\n</svg>\n'


def blocks(left: float, top: float) -> Iterator[str]:
    """Draw the image, cut into blocks, and what the first one computes of its neighbours."""
    width, height, border = 82, 50, 9
    yield text(left, 26, "The image in blocks", "heading")
    yield rectangle(left + width, top, width, height, "b")
    yield rectangle(left, top, width + border, height + border, "twice")
    yield rectangle(left, top, width, height, "a")
    for row, place in ((0, 0), (0, 1), (1, 0), (1, 1)):
        yield rectangle(left + place * width, top + row * height, width, height, "edge")
    yield text(left + width / 2, top + height / 2, "thread A", "middle on-a")
    yield text(left + width + (width + border) / 2, top + height / 2, "thread B", "middle on-a")


def column(left: float, layer: Layer, numbers: Iterator[int]) -> Iterator[str]:
    """Draw the bands of a layer, and the chunks of the one of this step."""
    is_last = layer is LAYERS[-1]
    yield text(left, 60, layer.name, "heading")
    yield text(left, 78, f"lag {layer.lag}", "note")
    for band in range(BANDS):
        top = TOP + band * BAND
        if band != layer.band:
            yield rectangle(left, top, CHUNKS * CELL, BAND, name := kind(layer, band))
            if name in FILLED:
                yield rectangle(left, top, CHUNKS * CELL, BAND, "edge")
            continue
        for chunk, number in zip(range(CHUNKS), numbers, strict=False):
            x = left + chunk * CELL
            finished = "written" if is_last else "done"
            name = "a" if number == AT_WORK else finished if number < AT_WORK else "later"
            yield rectangle(x, top, CELL, BAND, name)
            yield rectangle(x, top, CELL, BAND, "edge")
            yield text(x + CELL / 2, top + 0.75 * BAND, str(number), f"middle on-{name}")
        yield from (line(left - 5, top + row * ROW, 5) for row in range(ROWS + 1))


def kind(layer: Layer, band: int) -> str:
    """Return what became of a band that is not of this step."""
    if band > layer.band:
        return "later"
    if layer is LAYERS[-1]:
        return "written"
    return "kept" if band > layer.band - layer.ring else "gone"


def memory(left: float, layer: Layer) -> Iterator[str]:
    """Draw what a layer has in memory."""
    if not layer.ring:
        yield text(left, SLOTS - 14, "no ring: enlarged", "note")
        yield text(left, SLOTS + 2, "and written at once", "note")
        return
    yield text(left, SLOTS - 14, f"ring of {layer.ring} bands", "note")
    for slot in range(layer.ring):
        band = next(band for band in range(layer.band, -1, -1) if band % layer.ring == slot)
        x = left + slot * CELL
        yield rectangle(x, SLOTS, CELL, BAND, "done" if band == layer.band else "kept")
        yield rectangle(x, SLOTS, CELL, BAND, "edge")
        yield text(x + CELL / 2, SLOTS + BAND / 2, str(band), f"middle{' on-done' * (band == layer.band)}")
        if band == layer.band + 1 - layer.ring:
            yield text(x + CELL / 2, SLOTS + BAND + 13, f"then {layer.band + 1}", "note middle")


def reads() -> Iterator[str]:
    """Frame what the chunk at work reads: 6 rows of the layer before and, for the skip, 8 of the image."""
    chunk, tile = (AT_WORK - 1) % CHUNKS, 5
    top = TOP + LAYERS[-1].band * BAND
    yield rectangle(LEFT + 2 * PITCH + chunk * CELL, top, CELL + tile, 6 * ROW, "reads")
    yield rectangle(LEFT + chunk * CELL, top + ROW, CELL + 2 * tile, 8 * ROW, "reads skip")


def legend(left: float, top: float) -> Iterator[str]:
    """Say what the colours mean."""
    words = {
        "twice": ("computed by A, and", "by its neighbours too"),
        "done": ("finished in this step",),
        "kept": ("kept from earlier steps",),
        "gone": ("overwritten",),
        "written": ("enlarged and written",),
        "a": ("the chunk at work",),
        "reads": ("what it reads",),
        "reads skip": ("what its skip reads",),
        "later": ("to come, in the order", "of the numbers"),
    }
    y = top
    for name, lines in words.items():
        yield rectangle(left + 1, y, 18, 13, name)
        if name in FILLED:
            yield rectangle(left + 1, y, 18, 13, "edge")
        for meaning in lines:
            yield text(left + 30, y + 6, meaning, "note")
            y += 16
        y += 8


def rectangle(x: float, y: float, width: float, height: float, name: str) -> str:
    """Draw a rectangle of a class of the style."""
    return f'<rect class="{name}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>'


def line(x: float, y: float, length: float) -> str:
    """Draw a tick between two rows."""
    return f'<line class="tick" x1="{x:g}" y1="{y:g}" x2="{x + length:g}" y2="{y:g}"/>'


def text(x: float, y: float, words: str, name: str) -> str:
    """Write words, their middle at y."""
    return f'<text class="{name}" x="{x:g}" y="{y:g}" dy=".35em">{words}</text>'


if __name__ == "__main__":
    PICTURE.write_text(picture())
