"""Whole models not written by us, with random weights, for `models.py` to rewrite.

Each needs its own package only; where that is missing, building the model raises `ModuleNotFoundError`.
Beside `pip install -c constraints.txt -e '.[dev]'`, and with the same constraints:

    pip install transformers diffusers einops
    pip install --no-deps torchvision segment-anything spandrel timm segmentation-models-pytorch
    pip install --no-deps monai torchgan demucs julius rapidocr-onnxruntime
    pip install --no-deps asteroid asteroid-filterbanks soundfile pandas torch-optimizer

`--no-deps`, because they would bring another PyTorch, or OpenCV. torchaudio must be absent: its wheel expects
CUDA, and transformers and diffusers load it where they find it.
"""

import logging
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache, partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name as load

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

Inputs = tuple[Tensor, ...]
Built = tuple[nn.Module, Inputs]


@cache
def load_torchvision() -> torch.library.Library | None:
    """Import torchvision, if there is one, beside a CPU build of PyTorch, for which it has no operators."""
    try:
        load("torchvision")
    except ModuleNotFoundError:
        pass  # what needs it will say so
    except RuntimeError:  # an operator is missing; nothing here calls one
        operators = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            operators.define(f"{name}() -> Tensor")
        load("torchvision")
        return operators  # the cache keeps them declared
    return None


class Called(nn.Module):
    """A module that `call` calls, so that only tensors go in and come out."""

    def __init__(self, module: nn.Module, call: Callable[..., object]) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, *inputs: Tensor) -> object:
        return self.call(self.module, *inputs)


def by_default(network: str, config: str) -> nn.Module:
    """A model of transformers, of the size that its configuration has by default."""
    return load(network)(load(f"transformers:{config}")())


def speecht5_hifigan() -> Built:
    return by_default("transformers:SpeechT5HifiGan", "SpeechT5HifiGanConfig"), (torch.randn(1, 64, 80),)


def vits_hifigan() -> Built:
    network = by_default("transformers.models.vits.modeling_vits:VitsHifiGan", "VitsConfig")
    return network, (torch.randn(1, 192, 64),)


def encodec() -> Built:
    return by_default("transformers:EncodecModel", "EncodecConfig").decoder, (torch.randn(1, 128, 150),)


def dac() -> Built:
    return by_default("transformers:DacModel", "DacConfig").decoder, (torch.randn(1, 1024, 43),)


def mimi() -> Built:
    """The way from latents to samples: a transposed convolution of 512 groups, a transformer, a decoder."""
    decoder = by_default("transformers:MimiModel", "MimiConfig").decoder
    return Called(decoder, lambda call, latents: call(latents).audio_values), (torch.randn(1, 512, 25),)


def sam() -> Built:
    transformer = load("segment_anything.modeling:TwoWayTransformer")(
        depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8
    )
    decoder = load("segment_anything.modeling:MaskDecoder")(transformer_dim=256, transformer=transformer)
    image, positions, dense = torch.randn(3, 1, 256, 64, 64)
    network = Called(decoder, lambda call, *inputs: call(*inputs, multimask_output=True))
    return network, (image, positions, torch.randn(1, 2, 256), dense)


def autoencoder_kl() -> Built:
    """The decoder of Stable Diffusion 1."""
    channels = (128, 256, 512, 512)
    network = load("diffusers:AutoencoderKL")(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=2,
        latent_channels=4,
    )
    return network.decoder, (torch.randn(1, 4, 24, 24),)


def autoencoder_tiny() -> Built:
    return load("diffusers:AutoencoderTiny")().decoder, (torch.randn(1, 4, 32, 32),)


def unet_3d() -> Built:
    network = load("monai.networks.nets:UNet")(
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        channels=(16, 32, 64, 128, 256),
        strides=(2, 2, 2, 2),
        num_res_units=2,
    )
    return network, (torch.randn(1, 1, 96, 96, 96),)


def dynunet_3d() -> Built:
    network = load("monai.networks.nets:DynUNet")(
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        kernel_size=(3, 3, 3, 3, 3),
        strides=(1, 2, 2, 2, 2),
        upsample_kernel_size=(2, 2, 2, 2),
    )
    return network, (torch.randn(1, 1, 64, 64, 64),)


def segmentation(architecture: str) -> Built:
    network = load(f"segmentation_models_pytorch:{architecture}")("resnet34", encoder_weights=None)
    return network, (torch.randn(1, 3, 512, 512),)


def spandrel(path: str, size: int) -> Built:
    return load(f"spandrel.architectures.{path}")(), (torch.rand(1, 3, size, size),)


def dcgan() -> Built:
    return load("torchgan.models:DCGANGenerator")(encoding_dims=100, out_size=128), (torch.randn(1, 100),)


def fsrcnn(scale: int) -> Built:
    """FSRCNN(56, 12, 4) by its paper (Dong, Loy, Tang 2016), for no package has it."""
    d, s, m = 56, 12, 4
    mapping = [layer for _ in range(m) for layer in (nn.Conv2d(s, s, 3, padding=1), nn.PReLU(s))]
    network = nn.Sequential(
        *(nn.Conv2d(1, d, 5, padding=2), nn.PReLU(d)),
        *(nn.Conv2d(d, s, 1), nn.PReLU(s)),
        *mapping,
        *(nn.Conv2d(s, d, 1), nn.PReLU(d)),
        nn.ConvTranspose2d(d, 1, 9, scale, padding=4, output_padding=scale - 1),
    )
    return network, (torch.rand(1, 1, 270, 480),)


def waifu2x() -> Built:
    """upconv_7 as its authors publish it (nagadomi/waifu2x), for no package has it for PyTorch."""
    channels = pairwise((3, 16, 32, 64, 128, 128, 256))
    layers = [layer for pair in channels for layer in (nn.Conv2d(*pair, 3), nn.LeakyReLU(0.1))]
    return nn.Sequential(*layers, nn.ConvTranspose2d(256, 3, 4, 2, 3)), (torch.rand(1, 3, 192, 192),)


def conv_tasnet() -> Built:
    return load("asteroid.models:ConvTasNet")(n_src=2), (torch.randn(1, 16000),)


def demucs() -> Built:
    return load("demucs.demucs:Demucs")(["drums", "bass", "other", "vocals"]), (torch.randn(1, 2, 44100),)


def hybrid_demucs() -> Built:
    return load("demucs.hdemucs:HDemucs")(["drums", "bass", "other", "vocals"]), (torch.randn(1, 2, 44100),)


def istft(window: int, dtype: torch.dtype = torch.float32) -> Built:
    """The inverse STFT as a layer: real and imaginary parts to samples, 75 % of overlap."""
    filters = load("asteroid_filterbanks:STFTFB")(window, window, window // 4)
    spectrum = torch.randn(1, window + 2, 2**20 // window, dtype=dtype)
    return load("asteroid_filterbanks:Decoder")(filters).to(dtype), (spectrum,)


def ocr_detector() -> tuple[Path, Inputs]:
    """PP-OCRv4's detector with its real weights, and a page of text, for it finds nothing in noise."""
    package = find_spec("rapidocr_onnxruntime")
    if package is None:
        raise ModuleNotFoundError("No module named 'rapidocr_onnxruntime'", name="rapidocr_onnxruntime")
    page = Image.new("RGB", (640, 640), "white")
    text = "\n".join(["Sub-pixel convolution"] * 12)
    ImageDraw.Draw(page).multiline_text((40, 40), text, "black", font_size=36)
    pixels = torch.tensor(np.asarray(page)).permute(2, 0, 1)[None] / 127.5 - 1
    return Path(package.origin).parent / "models/ch_PP-OCRv4_det_infer.onnx", (pixels,)


def build(name: str) -> Built:
    """A model of `MODELS`, the same at every call, ready for inference."""
    torch.manual_seed(0)
    load_torchvision()
    module, inputs = MODELS[name]()
    return module.eval().requires_grad_(False), inputs


def export(module: nn.Module, inputs: Inputs, path: Path) -> None:
    """Write the model as ONNX, in one file."""
    options = {"dynamo": True, "opset_version": 18, "external_data": False, "verbose": False}
    logging.disable()
    with redirect_stdout(None):  # where it fails it prints whole graphs
        torch.onnx.export(module, inputs, path, **options)


MODELS: dict[str, Callable[[], Built]] = {
    "SpeechT5 HiFi-GAN": speecht5_hifigan,
    "VITS HiFi-GAN": vits_hifigan,
    "EnCodec decoder": encodec,
    "DAC decoder": dac,
    "Mimi decoder": mimi,
    "SAM mask decoder": sam,
    "AutoencoderKL decoder": autoencoder_kl,
    "AutoencoderTiny decoder": autoencoder_tiny,
    "U-Net 3-D": unet_3d,
    "DynUNet 3-D": dynunet_3d,
    "Linknet": partial(segmentation, "Linknet"),
    "U-Net": partial(segmentation, "Unet"),
    "RRDBNet x4": partial(spandrel, "ESRGAN:ESRGAN", 48),
    "RealCUGAN x2": partial(spandrel, "RealCUGAN:UpCunet2x", 192),
    "RealCUGAN x3": partial(spandrel, "RealCUGAN:UpCunet3x", 128),
    "RealCUGAN x2 fast": partial(spandrel, "RealCUGAN:UpCunet2x_fast", 256),
    "SRVGG x4": partial(spandrel, "Compact:Compact", 128),
    "DCGAN": dcgan,
    "FSRCNN x2": partial(fsrcnn, 2),
    "FSRCNN x3": partial(fsrcnn, 3),
    "FSRCNN x4": partial(fsrcnn, 4),
    "waifu2x upconv_7": waifu2x,
    "Conv-TasNet": conv_tasnet,
    "Demucs": demucs,
    "Hybrid Demucs": hybrid_demucs,
    "iSTFT 64": partial(istft, 64),
    "iSTFT 1024": partial(istft, 1024),
    "iSTFT 1024, bfloat16": partial(istft, 1024, torch.bfloat16),
    "iSTFT 2048": partial(istft, 2048),
}
ONNX_MODELS: dict[str, Callable[[], tuple[Path, Inputs]]] = {"PP-OCRv4 detector": ocr_detector}
