"""A transposed convolution, and the same layer as an LR convolution and a shuffle."""

import torch
from torch.nn.functional import conv2d, conv_transpose2d, pad, pixel_shuffle

r, k, p = 2, 4, 1  # upscale factor (stride), taps and padding of the transposed convolution
K, lead, low, high = 3, 1, 1, 1  # taps of a phase kernel, zeros before the first, zeros around the image

x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
w = torch.randn(3, 5, k, k, dtype=torch.float64)  # (channels in, channels out, k, k)
transposed = conv_transpose2d(x, w, stride=r, padding=p)

# The same weights, cut into r * r phase kernels, side by side as output channels.
W = pad(w, (lead, K * r - lead - k) * 2).reshape(3, 5, K, r, K, r)
W = W.permute(1, 3, 5, 0, 2, 4).reshape(5 * r * r, 3, K, K).flip(2, 3)
shuffled = pixel_shuffle(conv2d(pad(x, (low, high) * 2), W), r)
shuffled = shuffled[..., : transposed.shape[2], : transposed.shape[3]]

print(f"the largest difference is {(transposed - shuffled).abs().max().item():.1e}")

# subpixel makes W, in any number of dimensions, with dilation and groups:
# W = subpixel.kernels.transposed_to_lr(w, subpixel.geometry.axes((k, k), r, p), form="aligned")
