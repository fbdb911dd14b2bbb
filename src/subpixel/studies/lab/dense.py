"""Two tasks from an image to as many values as it has pixels, and an encoder-decoder for them."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from subpixel.degradation import bicubic_resize, to_uint8
from subpixel.evaluation.metrics import psnr
from subpixel.extras import needing
from subpixel.studies.lab.fit import Batches
from subpixel.studies.lab.samples import Plane, Samples, middle
from subpixel.training.data import Pair, Patches

with needing("study"):
    import torch
    from torch import Tensor, nn

STRIDE = 4  # of the encoder
SIGMA = 25  # 8-bit codes: the deviation of the noise
DIGIT_SIDES = 16, 48  # pixels
CONTRASTS = 40, 120  # 8-bit codes between a digit and its ground
_DIGITS = 8  # in a scene, and as densely in a patch
_PATCH, _SCENE = 64, 128  # pixels: the side of what is trained on and of what is measured on
_BATCH = 8

Decoder = Literal["shuffle", "outputs", "features"]
Float = NDArray[np.float64]
Scene = tuple[Float, Float]  # what a network sees and what it should say, in 0..1


class EncoderDecoder(nn.Module):
    """A network that works at a quarter of the image's resolution, with one of three ways back.

    It takes (n, 1, 4h, 4w) and returns the same shape; 0 is mid-grey. The decoders cost the same:

    - "shuffle": two LR convolutions, the last to 16 maps, and a periodic shuffle;
    - "outputs": two LR convolutions, the last to one map, and bilinear interpolation, as in FCN;
    - "features": fewer maps, bilinear interpolation of those, and two convolutions in HR space.

    Args:
        decoder: the way back.
        skip: whether the image itself is added to the output.

    References: Long et al. 2015 (arXiv:1411.4038), section 3.3, for "outputs".
    """

    def __init__(self, decoder: Decoder, *, skip: bool = False) -> None:
        super().__init__()
        self.skip = skip
        enlarge = partial(nn.Upsample, scale_factor=STRIDE, mode="bilinear")
        strided = nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()
        self.encoder = nn.Sequential(*strided, _convolution(32, 32), nn.ReLU())
        # The maps are as many as give 13,824 multiply-accumulates an LR pixel, and 13,726 for "outputs".
        decoders: dict[str, Callable[[], tuple[nn.Module, ...]]] = {
            "shuffle": lambda: (
                *(_convolution(32, 32), nn.ReLU(), _convolution(32, STRIDE**2)),
                nn.PixelShuffle(STRIDE),
            ),
            "outputs": lambda: (_convolution(32, 46), nn.ReLU(), _convolution(46, 1), enlarge()),
            "features": lambda: (
                *(nn.Conv2d(32, 9, 1), enlarge()),
                *(_convolution(9, 9), nn.ReLU(), _convolution(9, 1)),
            ),
        }
        self.decoder = nn.Sequential(*decoders[decoder]())
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the few HR maps run faster

    @property
    def macs_per_pixel(self) -> float:
        """Multiply-accumulates for a pixel of the image, interpolation included."""
        macs, area = 0.0, 1.0
        for layer in (*self.encoder, *self.decoder):
            if isinstance(layer, nn.Conv2d):
                area /= layer.stride[0] ** 2
                macs += area * layer.weight.numel()
                maps = layer.out_channels
            elif isinstance(layer, nn.Upsample):
                area *= STRIDE**2
                macs += area * maps * 4  # the taps of bilinear interpolation
        return macs

    def forward(self, image: Tensor) -> Tensor:
        """Return a value for each pixel."""
        output: Tensor = self.decoder(self.encoder(image))
        return output + image if self.skip else output


class Dense:
    """A task from an image to a value for each pixel, on the photographs.

    Args:
        samples: photographs and digits to train on and to measure on.
        scene: makes a scene from a photograph, digits and random numbers.
    """

    def __init__(self, samples: Samples, scene: Callable[[Plane, Plane, np.random.Generator], Scene]) -> None:
        self._scene = scene
        self._digits, digits = samples.digits
        self._pairs = [Pair(plane, plane) for plane in samples.photos]
        photos = samples.tests["B100"] if "B100" in samples.tests else next(iter(samples.tests.values()))
        self.scenes = [
            scene(middle(photo, _SCENE), digits, np.random.default_rng(index))
            for index, photo in enumerate(photos)
        ]

    def batches(self, seed: int) -> Batches:
        """Return the batches of a seed, (8, 1, 64, 64) each."""
        patches = Patches(self._pairs, 1, 0, _PATCH, (seed,))

        def batch(index: int) -> tuple[Tensor, Tensor]:
            random = np.random.default_rng((seed, index, 1))
            photos, _ = patches.batch(index, _BATCH)
            inputs, targets = zip(
                *(self._scene(photo[0], self._digits, random) for photo in photos), strict=True
            )
            return _as_tensor(inputs) - 0.5, _as_tensor(targets)

        return batch

    def outputs(self, network: nn.Module) -> Float:
        """Return what a network makes of the scenes, (n, 128, 128)."""
        with torch.no_grad():
            inputs = (_as_tensor([scene[0]]) - 0.5 for scene in self.scenes)
            return np.concatenate([network(each)[:, 0].double().numpy() for each in inputs])


def add_noise(photo: Plane, _digits: Plane, random: np.random.Generator) -> Scene:
    """Return a photograph under Gaussian noise, and itself less one half, as a network gives it."""
    noise = random.normal(0, SIGMA / 255, photo.shape)
    return photo / 255 + noise, photo / 255 - 0.5


def add_digits(photo: Plane, digits: Plane, random: np.random.Generator) -> Scene:
    """Return a photograph with digits on it, and the mask of these.

    Their places, sizes and contrasts are random, and whether they are lighter or darker than their ground.
    """
    image, mask = photo.astype(np.float64), np.zeros(photo.shape)
    for _ in range(_DIGITS * photo.size // _SCENE**2):
        side = int(random.integers(DIGIT_SIDES[0], DIGIT_SIDES[1] + 1))
        digit = digits[random.integers(len(digits))]
        ink = np.clip(bicubic_resize(digit, Fraction(side, len(digit))) / digit.max(), 0, 1)
        place = tuple(slice(at, at + side) for at in random.integers(np.array(photo.shape) - side + 1))
        image[place] += random.choice((-1, 1)) * random.uniform(*CONTRASTS) * ink
        mask[place] = np.maximum(mask[place], ink > 0.5)
    return np.clip(image, 0, 255) / 255, mask


def mean_psnr(outputs: Float, scenes: Sequence[Scene]) -> float:
    """Return the mean PSNR in dB of images less one half."""
    pairs = zip(outputs, scenes, strict=True)
    return float(np.mean([psnr(as_image(output), as_image(truth)) for output, (_, truth) in pairs]))


def overlap(outputs: Float, scenes: Sequence[Scene]) -> float:
    """Return the intersection over the union, in percent over all scenes, of where logits are positive.

    Example:
        >>> overlap(np.array([[[1.0, 1.0, -1.0]]]), [(np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0]]))])
        50.0
    """
    masks = np.stack([mask for _, mask in scenes]) > 0
    found = outputs > 0
    return float(100 * np.sum(found & masks) / np.sum(found | masks))


def as_image(centred: Float) -> Plane:
    """Return an image less one half as 8-bit codes."""
    return to_uint8(255 * (centred + 0.5))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _as_tensor(planes: Sequence[Float]) -> Tensor:
    return torch.from_numpy(np.stack(planes)[:, None]).float()
