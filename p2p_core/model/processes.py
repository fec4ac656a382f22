"""Processes that train one model together, each on its rows of every batch, and the sums by which they do what one would.

A batch is cut into equal shares, so the mean over it is the mean of the shares' means: of losses, gradients and statistics
alike. Where a layer depends on the whole batch (`OfWholeBatch`), the processes make it do so.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from p2p_core.errors import ConfigError, ProcessLostError, StoreError, UsageError
from p2p_core.model.device import usable_device

__all__ = ["ALONE", "OfWholeBatch", "Processes", "alone", "device_of", "joined", "share_batches"]

_PATIENCE = timedelta(hours=1)
"""The others wait while the first validates and writes. A process that dies is noticed at once, by whoever started them."""


@dataclass(frozen=True)
class Processes:
    """This process among the `count` that train together. The first, rank 0, alone writes, validates and tells how far it is.

    Every method is called by all of them, in the same order. They raise `ProcessLostError` where another is gone.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share_of(self, batch_size: int) -> range:
        """This process' rows of a batch. Raises `ConfigError` unless all get as many."""
        share, left = divmod(batch_size, self.count)
        if left or not share:
            fitting = max(1, round(batch_size / self.count)) * self.count
            fewer = max(count for count in range(1, self.count) if batch_size % count == 0)
            raise ConfigError(
                f"A batch of {batch_size} pairs cannot be shared equally by {self.count} processes",
                remedy=f"Use --set batch_size={fitting} or another multiple of {self.count}, or --devices {fewer}",
            )
        return range(self.rank * share, (self.rank + 1) * share)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of the processes' values; gradients flow back to every one of them."""
        if self.count == 1:
            return value
        mean: Tensor = _Sum.apply(value) / self.count  # type: ignore[no-untyped-call]
        return mean

    @torch.no_grad()
    def average_(self, values: Sequence[Tensor]) -> None:
        """Replace each tensor by the mean of all processes' ones, in one exchange."""
        if self.count == 1 or not values:
            return
        flat = torch.cat([value.flatten() for value in values])
        _add_up(flat)
        flat /= self.count
        for value, mean in zip(values, torch.split(flat, [value.numel() for value in values]), strict=True):
            value.copy_(mean.view(value.shape))

    def agreed(self, value: float, device: str | torch.device) -> float:
        """The first process' value."""
        if self.count == 1:
            return value
        shared = torch.tensor([value if self.is_first else 0.0], dtype=torch.float64, device=device)
        _add_up(shared)
        return float(shared)

    def require_same(self, text: str, device: str | torch.device) -> None:
        """Wait for all. Raises `StoreError` unless they came with the same text: where they begin from."""
        if self.count == 1:
            return
        own = float(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]))  # 48 bits, which a float64 holds exactly
        if self.agreed(own, device) != own:
            raise StoreError(
                "The processes of this training found different stores, settings or checkpoints: one was written as they began",
                remedy="Run it again when nothing else writes there",
            )


ALONE = Processes()


class OfWholeBatch(nn.Module):
    """A layer whose output depends on all rows of a batch, or on a random number for each: with the processes' rows beside
    its own it does what it would do in one process with the whole batch."""

    processes: Processes = ALONE


def share_batches(module: nn.Module, processes: Processes) -> None:
    """From now on, in training, `module` is given this process' rows of each batch."""
    for layer in module.modules():
        if isinstance(layer, OfWholeBatch):
            layer.processes = processes


@contextmanager
def alone(module: nn.Module) -> Iterator[None]:
    """Inside, `module` is given whole batches in this process, while the others do something else."""
    layers = [layer for layer in module.modules() if isinstance(layer, OfWholeBatch)]
    together = [layer.processes for layer in layers]
    share_batches(module, ALONE)
    try:
        yield
    finally:
        for layer, processes in zip(layers, together, strict=True):
            layer.processes = processes


def device_of(rank: int, count: int, name: str, num_gpus: int) -> str:
    """The device of one of `count` processes on a machine with so many GPUs: one each, or the CPU for all.

    Raises:
        UsageError: there are too few, or `name` is one GPU.
    """
    if name == "cpu" or (name == "auto" and num_gpus == 0):
        return "cpu"
    if name not in ("auto", "cuda"):
        raise UsageError(f"{count} processes cannot train on the one device {name!r}", remedy="Use --device cuda, or cpu")
    if count > num_gpus:
        raise UsageError(
            f"{count} processes need as many GPUs, and torch sees {num_gpus} here",
            remedy=f"Use {f'--devices {num_gpus}' if num_gpus else '--device cpu'}, or look at CUDA_VISIBLE_DEVICES",
        )
    return f"cuda:{rank}"


@contextmanager
def joined(count: int, device: str) -> Iterator[tuple[Processes, str]]:
    """Join the others that torchrun started beside this one; yields this one's place and device. With `count` 1 there are none.

    Raises:
        UsageError: this machine has not the devices.
        ProcessLostError: the others do not come.
    """
    if count == 1:
        yield ALONE, device
        return
    rank = int(os.environ["RANK"])
    own = device_of(rank, count, device, torch.cuda.device_count() if torch.cuda.is_available() else 0)
    place = usable_device(own)
    on_gpu = place.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(place)
    with _losses_told():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE, device_id=place if on_gpu else None)
    yield Processes(dist.get_rank(), dist.get_world_size()), own
    dist.destroy_process_group()  # not after an error: the others may be in the middle of an exchange


class _Sum(torch.autograd.Function):
    """Every process' output is the sum of all inputs, so every input's gradient is the sum of all outputs' gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004
        return _add_up(value.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return _add_up(gradient.contiguous().clone())


def _add_up(value: Tensor) -> Tensor:
    with _losses_told():
        dist.all_reduce(value)
    return value


@contextmanager
def _losses_told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of every backend
        told = str(error).splitlines()[0].partition(". ")[0]
        raise ProcessLostError(
            f"Another process of this training is gone ({told})", remedy="Run it again with --resume"
        ) from error
