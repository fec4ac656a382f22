"""Running statistics for `frozen` inference, taken after training over real crops.

During training they trail behind weights that move; an average over many batches of the final weights is what makes
`frozen` output agree with what the discriminator was taught on.
"""

from __future__ import annotations

import torch

from p2p_core.model.generator import Generator
from p2p_core.model.norm import reset_running_statistics
from p2p_core.training.data import Batches

__all__ = ["estimate_running_statistics"]


@torch.no_grad()
def estimate_running_statistics(generator: Generator, batches: Batches, num_images: int) -> None:
    """Replace the generator's running statistics by their plain average over `num_images` training crops.

    Dropout is off: inference runs without it. Leaves the generator in `eval()`.
    """
    reset_running_statistics(generator)
    generator.train()
    for dropout in (m for m in generator.modules() if isinstance(m, torch.nn.Dropout)):
        dropout.eval()
    for start in range(0, num_images, batches.batch_size):
        generator(batches.at(start).input_NCHW)
    generator.eval()
