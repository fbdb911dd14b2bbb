"""Super-resolution as a task for small networks: the same patches for all, the protocol of the tables."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from subpixel.degradation import to_uint8
from subpixel.evaluation.metrics import psnr
from subpixel.extras import needing
from subpixel.studies.lab.fit import Batches
from subpixel.studies.lab.samples import Plane, Samples
from subpixel.training.data import Pair, Patches

with needing("study"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import mse_loss

CONTEXT = 12  # LR pixels around each patch: the largest radius that a network may have
VALIDATED = 8  # batches of patches that a network is validated on


class SuperResolution:
    """Luma reduced by MATLAB's bicubic, to be enlarged again.

    Networks are unpadded: (n, 1, h + 2m, w + 2m) in 0..1 to (n, 1, r*h, r*w), where m is the radius, the LR
    pixels of context that they read.

    Args:
        samples: images to train on and to measure on.
        upscale_factor: r.
        patch: side of a training patch in LR pixels.
        batch: patches in a step.
        held_back: how many images are not trained on, but validated on; they are spread over all.
    """

    def __init__(
        self, samples: Samples, upscale_factor: int, *, patch: int = 32, batch: int = 16, held_back: int = 0
    ) -> None:
        self.upscale_factor = upscale_factor
        self._samples, self._patch, self._batch, self._held = samples, patch, batch, held_back

    @cached_property
    def _all_pairs(self) -> list[Pair]:  # read when first needed: trials that are kept need no images
        return [Pair.from_hr(plane, self.upscale_factor, CONTEXT) for plane in self._samples.photos]

    @cached_property
    def _tests(self) -> dict[str, list[Pair]]:
        return {
            name: [Pair.from_hr(plane, self.upscale_factor, CONTEXT) for plane in planes]
            for name, planes in self._samples.tests.items()
        }

    def _of(self, *, held_back: bool) -> list[Pair]:
        """Return the images that are validated on, or those that are trained on."""
        held = {index * len(self._all_pairs) // self._held for index in range(self._held)}
        return [pair for index, pair in enumerate(self._all_pairs) if (index in held) == held_back]

    def batches(self, seed: int, radius: int) -> Batches:
        """Return the batches of a seed: the same patches for each network, with the context that it reads."""
        return self._batches(self._of(held_back=False), seed, radius)

    def _batches(self, pairs: Sequence[Pair], seed: int, radius: int) -> Batches:
        patches = Patches(pairs, self.upscale_factor, CONTEXT, self._patch, (seed,))

        def batch(index: int) -> tuple[Tensor, Tensor]:
            lr, hr = patches.batch(index, self._batch)
            return _as_tensor(_with_context(lr, radius)), _as_tensor(hr)

        return batch

    def validate(self, network: nn.Module, radius: int) -> float:
        """Return the PSNR in dB over fixed patches of the images held back, not rounded to 8 bits."""
        batches = self._batches(self._of(held_back=True), 0, radius)
        with torch.no_grad():
            errors = [mse_loss(network(lr), hr) for lr, hr in map(batches, range(VALIDATED))]
        return float(-10 * torch.stack(errors).mean().log10())

    def psnr(self, network: nn.Module, radius: int, sets: Sequence[str] | None = None) -> dict[str, float]:
        """Return the mean PSNR in dB over the images of each set, by the protocol of the tables.

        Args:
            network: what to measure.
            radius: LR pixels of context that it reads.
            sets: names of sets; None for all.
        """
        return {
            name: float(np.mean([self._psnr(network, radius, pair) for pair in pairs]))
            for name, pairs in self._tests.items()
            if sets is None or name in sets
        }

    def enlarged(self, network: nn.Module, radius: int, name: str, index: int) -> Plane:
        """Return what a network makes of an image of a set."""
        return to_uint8(255 * _output(network, radius, self._tests[name][index]))

    def original(self, name: str, index: int) -> Plane:
        """Return an image of a set before it was reduced."""
        return self._tests[name][index].hr

    def outputs(self, network: nn.Module, radius: int, name: str) -> list[NDArray[np.float64]]:
        """Return what a network makes of the images of a set, before it is rounded to 8 bits: 0..1."""
        return [_output(network, radius, pair) for pair in self._tests[name]]

    def originals(self, name: str) -> list[NDArray[np.float64]]:
        """Return the images of a set before they were reduced, 0..1."""
        return [pair.hr / 255 for pair in self._tests[name]]

    @property
    def smallest(self) -> str:
        """The name of the set with the fewest images, to measure on while training."""
        return min(self._tests, key=lambda name: len(self._tests[name]))

    def _psnr(self, network: nn.Module, radius: int, pair: Pair) -> float:
        return psnr(to_uint8(255 * _output(network, radius, pair)), pair.hr, self.upscale_factor)


def _output(network: nn.Module, radius: int, pair: Pair) -> NDArray[np.float64]:
    with torch.no_grad():
        sr = network(_as_tensor(_with_context(pair.padded_lr, radius)[None, None]))
    return sr[0, 0].double().numpy()  # type: ignore[no-any-return]


def _with_context(padded: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Return LR planes with as much context as a network reads."""
    spare = CONTEXT - radius
    return padded[..., spare : padded.shape[-2] - spare, spare : padded.shape[-1] - spare]


def _as_tensor(planes: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(planes)).float() / 255
