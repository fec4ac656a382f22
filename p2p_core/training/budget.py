"""A budget is a number of images; minutes only choose it, by timing this recipe's own step on this machine."""

from __future__ import annotations

import time

import torch

from p2p_core.config import replace
from p2p_core.model.device import usable_device
from p2p_core.model.processes import ALONE, Processes
from p2p_core.training.config import RunConfig
from p2p_core.training.data import Batch
from p2p_core.training.fast_step import make_step
from p2p_core.training.step import make_state

__all__ = ["images_for_minutes", "measure_images_per_s"]

_WARM_UP_STEPS = 6
_STEP_SHARE = 0.9
"""Of a run's time; the rest goes to validation, checkpoints, statistics and sheets."""


def measure_images_per_s(
    config: RunConfig, *, seconds: float = 8.0, device: str = "auto", processes: Processes = ALONE
) -> float:
    """Training throughput of all `processes` on this machine, by running real steps on random images of the recipe's shape."""
    place = usable_device(device)
    state = make_state(config, place, processes)
    step = make_step(state, config)
    share = len(processes.share_of(config.batch_size))
    size = (share, config.generator.input_bands, config.augment.crop_px, config.augment.crop_px)
    input_NCHW = torch.rand(size, device=place).contiguous(memory_format=torch.channels_last)
    target_NCHW = torch.rand((share, config.generator.output_bands, *size[2:]), device=place).contiguous(
        memory_format=torch.channels_last
    )
    batch = Batch(input_NCHW, target_NCHW, 0)
    for _ in range(_WARM_UP_STEPS):
        float(step(batch)["generator_l1"])
    started_s, steps = time.monotonic(), 0
    while processes.agreed(time.monotonic() - started_s, place) < seconds:
        float(step(batch)["generator_l1"])  # waits for the device
        steps += 1
    return steps * config.batch_size / processes.agreed(time.monotonic() - started_s, place)


def images_for_minutes(config: RunConfig, minutes: float, device: str = "auto", processes: Processes = ALONE) -> RunConfig:
    """`config` with the budget that fits about so many minutes here, in whole validation intervals of a sixth of it."""
    images = measure_images_per_s(config, device=device, processes=processes) * minutes * 60 * _STEP_SHARE
    every = max(config.batch_size, round(images / 6 / config.batch_size) * config.batch_size)
    return replace(config, budget_images=every * 6, validate_every_images=every, checkpoint_every_images=every)
