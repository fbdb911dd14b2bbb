"""`subpixel networks`: list the networks that ship."""

from subpixel.cli.options import Debug, Json, Verbose
from subpixel.cli.show import print_rows


def networks(*, as_json: Json = False, _verbose: Verbose = False, _debug: Debug = False) -> None:
    """List the networks that ship: what they cost, and the PSNR in dB that they were measured to reach."""
    from subpixel.network import load, shipped

    rows = []
    for network in map(load, shipped()):
        row = {
            "network": network.name,
            "scale": network.upscale_factor,
            "parameters": network.parameters,
            "MACs / LR pixel": network.macs_per_lr_pixel,
            "receptive field": network.receptive_field,
        }
        rows.append(row | {f"PSNR {name}": psnr for name, psnr in network.metadata.get("psnr", {}).items()})
    print_rows(rows, as_json)
