"""What do the shipped networks reach? PSNR and SSIM on test sets, with bicubic interpolation beside them.

Example: python benchmarks/quality.py Set5 Set14 B100
"""

import argparse
from pathlib import Path

import subpixel
from subpixel.evaluation.table import as_markdown, mean_rows
from subpixel.network import shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of HR images")
    folders = parser.parse_args().folders
    networks = {name: subpixel.load(name) for name in shipped()}
    upscalers = {name: subpixel.Upscaler(network) for name, network in networks.items()}
    print(f"subpixel {subpixel.__version__}, float32, in which all engines agree\n")
    rows = {name: mean_rows(upscalers[name], network, folders) for name, network in networks.items()}
    print(as_markdown(rows))


if __name__ == "__main__":
    main()
