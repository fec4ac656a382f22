"""The fastest way to take training steps: networks compiled where asked for, on a GPU the step replayed as a CUDA graph.

At batch 1 launching kernels one by one costs more than running them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor

from p2p_core.errors import UsageError
from p2p_core.model.discriminator import PatchGAN
from p2p_core.model.generator import Generator
from p2p_core.training.config import RunConfig
from p2p_core.training.data import Batch
from p2p_core.training.step import Adversary, TrainingState, training_step

__all__ = ["Step", "make_step"]

Step = Callable[[Batch], dict[str, Tensor]]
"""Takes a batch, updates the state it was made for, returns scalars that the next call may overwrite."""

_WARM_UP_STEPS = 5
"""Ordinary steps before the capture: the libraries choose algorithms and allocate the moments in them."""


def make_step(state: TrainingState, config: RunConfig) -> Step:
    """The fastest way to take this run's steps on its device; with several processes, which exchange numbers within a step, an
    ordinary one.

    Raises:
        UsageError: the run is to be compiled and this machine has no C++ compiler.
    """
    on_gpu = next(state.generator.parameters()).device.type == "cuda"
    torch.backends.cudnn.benchmark = on_gpu  # every step has the same shapes: cuDNN tries its algorithms once
    if state.processes.count > 1:
        return partial(training_step, state, config)
    stepped = _compiled(state) if config.compile else state
    if not on_gpu:
        return partial(training_step, stepped, config)
    return _GraphedStep(stepped, config)


def _compiled(state: TrainingState) -> TrainingState:
    """The same weights and optimisers, the networks called through their compiled form; `state`'s own stay eager."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++")):
        raise UsageError(
            "compile=true needs a C++ compiler, and this machine has none",
            remedy="Install g++ (or name yours in CXX), or leave compile=false",
        )
    adversary = state.adversary
    if adversary is not None:
        adversary = Adversary(cast(PatchGAN, torch.compile(adversary.discriminator)), adversary.optimiser)
    return replace(state, generator=cast(Generator, torch.compile(state.generator)), adversary=adversary)


class _GraphedStep:
    """Warm-up steps are real steps of the run; the capture itself runs nothing."""

    def __init__(self, state: TrainingState, config: RunConfig) -> None:
        self._state, self._config = state, config
        self._steps = 0
        self._graph = torch.cuda.CUDAGraph()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._batch: Batch | None = None
        self._losses: dict[str, Tensor] = {}

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        self._steps += 1
        if self._steps <= _WARM_UP_STEPS:
            return self._warm_up(batch)
        if self._batch is None:
            self._capture(batch)
        self._replay(batch)
        return self._losses

    def _warm_up(self, batch: Batch) -> dict[str, Tensor]:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            losses = training_step(self._state, self._config, batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return losses

    def _capture(self, batch: Batch) -> None:
        self._batch = replace(batch, input_NCHW=batch.input_NCHW.clone(), target_NCHW=batch.target_NCHW.clone())
        with torch.cuda.graph(self._graph):
            self._losses = training_step(self._state, self._config, self._batch)

    def _replay(self, batch: Batch) -> None:
        assert self._batch is not None
        self._batch.input_NCHW.copy_(batch.input_NCHW)
        self._batch.target_NCHW.copy_(batch.target_NCHW)
        self._graph.replay()
