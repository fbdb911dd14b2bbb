"""What does bf16 cost? The shipped networks on test sets, against float32, on a processor that has bf16.

Example: python benchmarks/precision.py Set5 Set14 B100
"""

import argparse
from importlib.metadata import version
from pathlib import Path

import numpy as np

import subpixel
from subpixel.degradation import crop_to_multiple, degrade, luma
from subpixel.evaluation.metrics import psnr
from subpixel.images import image_files, read_array
from subpixel.network import shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    folders = parser.parse_args().folders
    print(f"openvino {version('openvino')}\n")
    print("| network | images | PSNR f32 | PSNR bf16 | pixels more than one grey level off |")
    print("|---|---|---|---|---|")
    for name in shipped():
        exact, fast = (subpixel.Upscaler(name, "openvino", precision) for precision in ("f32", "bf16"))
        factor = subpixel.load(name).upscale_factor
        for folder in folders:
            rows = [compare(exact, fast, luma(read_array(file)), factor) for file in image_files(folder)]
            f32, bf16, off = np.mean(rows, axis=0)
            print(f"| {name} | {folder.name} | {f32:.4f} | {bf16:.4f} | {off:.4%} |", flush=True)


def compare(
    exact: subpixel.Upscaler, fast: subpixel.Upscaler, plane: np.ndarray, factor: int
) -> tuple[float, float, float]:
    truth = crop_to_multiple(plane, factor)
    lr = degrade(truth, factor)
    f32, bf16 = exact.plane(lr), fast.plane(lr)
    off = np.abs(f32.astype(int) - bf16) > 1
    return psnr(f32, truth, factor), psnr(bf16, truth, factor), float(off.mean())


if __name__ == "__main__":
    main()
