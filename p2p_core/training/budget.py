"""A budget is a number of images; minutes only choose it, by timing this recipe's own step on this machine."""

from __future__ import annotations

import time

import torch

from p2p_core.config import replace
from p2p_core.training.config import RunConfig
from p2p_core.training.data import Batch
from p2p_core.training.fast_step import make_step
from p2p_core.training.step import make_state

__all__ = ["images_for_minutes", "measure_images_per_s"]

_WARM_UP_STEPS = 6
_STEP_SHARE = 0.9
"""Of a run's time; the rest goes to validation, checkpoints, statistics and sheets."""


def measure_images_per_s(config: RunConfig, *, seconds: float = 8.0) -> float:
    """Training throughput on this machine, by running real steps on random images of the recipe's shape."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state = make_state(config, device)
    step = make_step(state, config)
    size = (config.batch_size, config.generator.input_bands, config.augment.crop_px, config.augment.crop_px)
    input_NCHW = torch.rand(size, device=device).contiguous(memory_format=torch.channels_last)
    target_NCHW = torch.rand((config.batch_size, config.generator.output_bands, *size[2:]), device=device).contiguous(
        memory_format=torch.channels_last
    )
    batch = Batch(input_NCHW, target_NCHW, 0)
    for _ in range(_WARM_UP_STEPS):
        float(step(batch)["generator_l1"])
    started_s, steps = time.monotonic(), 0
    while time.monotonic() - started_s < seconds:
        float(step(batch)["generator_l1"])  # waits for the device
        steps += 1
    return steps * config.batch_size / (time.monotonic() - started_s)


def images_for_minutes(config: RunConfig, minutes: float) -> RunConfig:
    """`config` with the budget that fits about so many minutes here, in whole validation intervals of a sixth of it."""
    images = measure_images_per_s(config) * minutes * 60 * _STEP_SHARE
    every = max(config.batch_size, round(images / 6 / config.batch_size) * config.batch_size)
    return replace(config, budget_images=every * 6, validate_every_images=every, checkpoint_every_images=every)
