"""The note, section 3: of two networks with the same run-time speed, "the representation power of the LR
network is actually greater than the HR network". The LR network has n maps and kernels of k x k in LR space;
the HR network up-samples the input first, and has n / r**2 maps and kernels of kr x kr in HR space. Both cost
the same, and the LR network has r**2 times the weights in its hidden layers.

Here both learn super-resolution: luma, reduced by bicubic interpolation, from the same patches in the same
order, with the same loss, optimizer and number of steps. Each kind has its own learning rate, the best of the
same few by validation after a short pilot run. What is compared is the PSNR on images that no network was
trained on, in pairs: one seed gives both the same patches.

*Equal operations.* Both have three layers with ReLUs between them, n maps of kernels kr, 3 and 3 in LR space
against n / r**2 maps of kernels kr, kr and kr in HR space (n = 32 for r = 2, n = 36 for r = 3, k = 3). The
first layer is wider in the LR network, so that every layer, the first and the last included, takes exactly as
many multiply-accumulates, and both see about as far (the HR network reads the bicubic image, whose pixels
depend on five LR pixels along an axis).

*Equal time.* The HR network has fewer maps or smaller kernels: of all such whose measured time in PyTorch is
at most that of the LR network, with 5 % more allowed, the three with the most multiply-accumulates, and of
these the best one after the pilot run. Each network is timed in the better of PyTorch's two memory formats.

Neither kind is given a better start: the layers of both add to the bicubic image, which the HR network has
at hand anyway. No layer pads, so that kernels of even size handicap nobody: maps move by half an HR pixel in
each such layer, and the whole network reads at most one HR pixel more after each pixel than before it.

*Longer, and with tanh.* What a network can represent shows only at the end of its training, and if training
gets there. For the first upscale factor the networks of equal operations are therefore trained once more for
longer, and once with tanh, as the paper behind the note does, with learning rates of its own.

*Freeing.* An HR network is an LR network with structured weights: `lift` makes of the trained one an LR
network with r**2 times the maps and the same output, most of whose weights are zeros or copies. Trained
further for a few steps, all weights free, it is compared with the HR network trained further as it is, each
with the better of the same learning rates. A kernel of kr taps lifts to k + 1, not to k: at equal operations
neither kind contains the other, and the freed network takes more of them.
"""  # noqa: D205 (a page's text, not a summary)

import numpy as np

from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.study import Result, Study
from subpixel.studies.representation.drawings import draw
from subpixel.studies.representation.shapes import MAPS, equal_operations
from subpixel.studies.representation.training import FREED, FURTHER, Scale
from subpixel.studies.representation.words import about, about_all, rows

EXACT = 1e-12  # of values in 0..1, in float64


def compute(bench: Bench) -> Result:
    """Train all networks for both upscale factors and compare them."""
    scales = [Scale(bench, r) for r in MAPS]
    scales[0].train_variants()
    table = [row for scale in scales for row in rows(scale)]
    errors = [scale.difference() for scale in scales]
    checks = {
        "at equal operations each layer takes exactly as many multiply-accumulates": all(
            [layer.weight.numel() for layer in lr.build(0).convolutions]
            == [r**2 * layer.weight.numel() for layer in hr.build(0).convolutions]
            for r in MAPS
            for lr, hr in [equal_operations(r)]
        ),
        f"trained HR networks, lifted, compute the same on a photograph, in float64 within {EXACT:g} of "
        f"values in 0..1": max(errors) <= EXACT,
        "lifted networks begin at the validated PSNR of those that are trained further as they are, within "
        "0.001 dB in float32": all(
            abs(freed["curve"][0, 1] - further["curve"][0, 1]) < 1e-3
            for scale in scales
            for freed, further in zip(scale.runs[FREED], scale.runs[FURTHER], strict=True)
        ),
    }
    findings = [about_all(scales), *(finding for scale in scales for finding in about(scale))]
    findings.append(
        f"Trained HR networks, lifted, change their output by at most {max(errors):.1e} on a photograph of "
        "values in 0..1, in float64."
    )
    arrays = {
        f"x{scale.r}, {label}": np.array([run["curve"] for run in runs])
        for scale in scales
        for label, runs in scale.runs.items()
    }
    return Result(table, findings, checks, arrays)


STUDY = Study("representation", "What LR and HR networks represent at equal cost", __doc__, compute, draw)
