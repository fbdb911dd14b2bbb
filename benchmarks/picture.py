"""What does it look like? Details of a photo: input, bicubic interpolation, ours and the truth, side by side.

Example: python benchmarks/picture.py PHOTO docs/comparison.png --network espcn-x3 --box 180,120 --box 40,300
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import subpixel
from subpixel.degradation import crop_to_multiple, degrade
from subpixel.evaluation.protocol import enlarge_bicubic
from subpixel.images import read_array

DETAIL, ZOOM, GAP, TITLE = 96, 3, 8, 30  # side of a detail, its enlargement on the page, spaces; in pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path, help="the truth; it is reduced before it is enlarged")
    parser.add_argument("out", type=Path, help="the picture to write")
    parser.add_argument("--network", default="espcn-x3")
    parser.add_argument("--box", action="append", required=True, help="LEFT,TOP of a detail")
    options = parser.parse_args()
    versions = enlarged(read_array(options.photo), options.network)
    boxes = [tuple(map(int, box.split(","))) for box in options.box]
    sheet(versions, boxes).save(options.out, optimize=True)


def enlarged(photo: np.ndarray, network: str) -> dict[str, np.ndarray]:
    upscaler = subpixel.Upscaler(network)
    factor = subpixel.load(network).upscale_factor
    truth = crop_to_multiple(photo, factor)
    lr = degrade(truth, factor)
    return {
        "input": lr.repeat(factor, 0).repeat(factor, 1),
        "bicubic": enlarge_bicubic(lr, factor),
        network: upscaler.image(lr),
        "truth": truth,
    }


def sheet(versions: dict[str, np.ndarray], boxes: list[tuple[int, int]]) -> Image.Image:
    side = DETAIL * ZOOM
    size = (len(versions) * (side + GAP) - GAP, TITLE + len(boxes) * (side + GAP) - GAP)
    page = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    for column, (title, image) in enumerate(versions.items()):
        x = column * (side + GAP)
        pen.text((x + side / 2, TITLE / 2), title, "black", font, anchor="mm")
        for row, (left, top) in enumerate(boxes):
            detail = Image.fromarray(image[top : top + DETAIL, left : left + DETAIL])
            page.paste(detail.resize((side, side), Image.Resampling.NEAREST), (x, TITLE + row * (side + GAP)))
    return page


if __name__ == "__main__":
    main()
