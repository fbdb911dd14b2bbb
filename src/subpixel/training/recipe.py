"""The numbers of a training run; this file needs no PyTorch."""

import math
from dataclasses import dataclass
from typing import Literal

Loss = Literal["mse", "l1", "charbonnier"]


@dataclass(frozen=True)
class Recipe:
    """The numbers of a run; two runs of one recipe on one machine give the same weights.

    The optimizer is SOAP (Vyas et al. 2024, arXiv:2409.11321), which is
    Adam in the eigenbasis of Shampoo's preconditioner: on networks this small the basis costs a tenth of a
    step, and a thousand steps of SOAP lead further than many thousands of Adam's. The result is a moving
    average of the weights.

    Attributes:
        steps: the number of steps.
        batch: patches in a step of one process.
        patch: side of a patch in LR pixels.
        learning_rate: the highest one, reached after the warm-up; a cosine lowers it to a hundredth.
        seed: seeds the first weights and the choice of patches.
        warm_up: steps over which the learning rate rises.
        average: the share of the moving average that a step keeps.
        loss: "mse", the mean squared error, which PSNR measures; "l1", the mean absolute error; or
            "charbonnier", which is l1 with its corner at 0 made round.
    """

    steps: int = 100_000
    batch: int = 16
    patch: int = 32
    learning_rate: float = 1.5e-3
    seed: int = 0
    warm_up: int = 200
    average: float = 0.999
    loss: Loss = "mse"

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0.

        Example:
            >>> recipe = Recipe(steps=1000, learning_rate=1.0, warm_up=10)
            >>> [round(recipe.rate(step), 2) for step in (0, 9, 500, 1000)]
            [0.1, 1.0, 0.51, 0.01]
        """
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * min(1, (step + 1) / self.warm_up) * (0.01 + 0.99 * cosine)
