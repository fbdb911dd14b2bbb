"""The quality of networks as a table in Markdown, a column for each test set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from subpixel.evaluation.protocol import Row, Score, mean_row, score_network

if TYPE_CHECKING:
    from subpixel.network import LRNetwork
    from subpixel.upscale import Upscaler


def mean_rows(upscaler: "Upscaler", network: "LRNetwork", folders: Sequence[Path]) -> dict[str, Row]:
    """Return the means that a network reaches on each folder of HR images, by the folder's name."""
    return {folder.name: mean_row(score_network(upscaler, network, folder)) for folder in folders}


def as_markdown(networks: Mapping[str, Mapping[str, Row]]) -> str:
    """Return a table of PSNR and SSIM, with bicubic interpolation below each network.

    Args:
        networks: by a network's name, the means by test set; the same test sets for each.

    Example:
        >>> print(as_markdown({"mine": {"Set5": Row("mean", Score(33.1, 0.91), Score(30.39, 0.8681))}}))
        | PSNR / SSIM | Set5 |
        |---|---|
        | mine | 33.10 / 0.9100 |
        | bicubic | 30.39 / 0.8681 |
    """
    names = [*next(iter(networks.values()))]
    lines = [_line("PSNR / SSIM", *names), "|---" * (1 + len(names)) + "|"]
    for name, rows in networks.items():
        lines.append(_line(name, *(_text(row.network) for row in rows.values())))
        lines.append(_line("bicubic", *(_text(row.bicubic) for row in rows.values())))
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _text(score: Score) -> str:
    return f"{score.psnr:.2f} / {score.ssim:.4f}"
