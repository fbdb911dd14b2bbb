"""What is left of the gain when the small image was saved as a JPEG? Ours and bicubic interpolation.

Example: python benchmarks/compressed.py Set5 Set14 B100 --network espcn-x3
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import subpixel
from subpixel.evaluation.protocol import Enlarge, Pixels, enlarge_bicubic, score
from subpixel.images import image_files, read_array

QUALITIES = (None, 95, 90, 85, 75, 60, 45, 30)  # None: not compressed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--network", default="espcn-x3")
    options = parser.parse_args()
    factor = subpixel.load(options.network).upscale_factor
    ours = subpixel.Upscaler(options.network).plane
    images = [read_array(file) for folder in options.folders for file in image_files(folder)]
    print(f"{options.network}, {len(images)} images, mean PSNR of the luma in dB\n")
    print("| JPEG quality of the small image | bicubic | ours | gain |\n|---|--:|--:|--:|")
    for quality in QUALITIES:
        bicubic = mean_psnr(lambda lr: enlarge_bicubic(lr, factor), images, factor, quality)
        network = mean_psnr(ours, images, factor, quality)
        print(
            f"| {quality or 'clean'} | {bicubic:.2f} | {network:.2f} | {network - bicubic:+.2f} |", flush=True
        )


def mean_psnr(enlarge: Enlarge, images: list[Pixels], factor: int, quality: int | None) -> float:
    return float(np.mean([score(after_jpeg(enlarge, quality), image, factor).psnr for image in images]))


def after_jpeg(enlarge: Enlarge, quality: int | None) -> Callable[[Pixels], Pixels]:
    def enlarge_compressed(lr: Pixels) -> Pixels:
        if quality is None:
            return enlarge(lr)
        file = io.BytesIO()
        Image.fromarray(lr).save(file, "JPEG", quality=quality)
        return enlarge(np.asarray(Image.open(file)))

    return enlarge_compressed


if __name__ == "__main__":
    main()
