"""Training pairs that are read while the networks learn, where a store has more of them than memory has room for.

Threads read and decompress the pairs that the next batches take, and pinned memory brings them to a GPU while it is at work.
Batches are the same, bit for bit, as those of pairs that are resident. Legend: H W pixels, C bands or channels, N pairs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2p_core.encodings import Encoding
from p2p_core.pairstore.reader import PairSplit
from p2p_core.training.data import Pairs, ResidentPairs, to_resident

__all__ = ["Inputs", "StreamedPairs", "training_pairs"]

_MAX_READERS = 8
_RESIDENT_SHARE = 0.5
"""Of the memory that is free. While they are loaded, pairs are there as the store has them and as they are kept."""


class StreamedPairs:
    """Pairs of a split, each read when it is soon to be used; so many are in memory as that takes."""

    def __init__(self, split: PairSplit, device: torch.device, encodings: tuple[Encoding, Encoding]) -> None:
        self.encodings, self.jitter_px, self.size_px = encodings, split.jitter_px, split.size_px
        self._split, self._device = split, device
        self._threads = ThreadPoolExecutor(min(_MAX_READERS, os.cpu_count() or 1), thread_name_prefix="pairs")
        self._reading: dict[int, Future[tuple[Tensor, Tensor]]] = {}

    def __len__(self) -> int:
        return len(self._split)

    def take(self, chosen: Sequence[int], soon: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Raises `StoreError` where a pair's bytes are damaged or gone."""
        known = self._reading
        self._reading = {i: known.get(i) or self._threads.submit(self._read, i) for i in (*chosen, *soon)}
        halves = zip(*(self._reading[i].result() for i in chosen), strict=True)
        input_NCHW, target_NCHW = (self._on_device(torch.stack(half)) for half in halves)
        return input_NCHW, target_NCHW

    def _read(self, i: int) -> tuple[Tensor, Tensor]:
        halves = zip(self._split.read(i), self.encodings, strict=True)
        input_CHW, target_CHW = (to_resident(pixels_HWC[np.newaxis], encoding)[0] for pixels_HWC, encoding in halves)
        return input_CHW, target_CHW

    def _on_device(self, images_NCHW: Tensor) -> Tensor:
        if self._device.type != "cuda":
            return images_NCHW.to(self._device)
        return images_NCHW.pin_memory().to(self._device, non_blocking=True)


class Inputs:
    """The inputs of a split's pairs in their order, read one at a time, as often as they are gone through."""

    def __init__(self, split: PairSplit) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self._split.read(i)[0] for i in range(len(self)))


def training_pairs(
    split: PairSplit, device: torch.device, encodings: tuple[Encoding, Encoding], resident_gb: float | None
) -> Pairs:
    """Resident on the device where they fit, streamed where they do not.

    Args:
        resident_gb: the most they may take, in 10^9 bytes; None for half of what is free where they would lie.
    """
    limit_bytes = _RESIDENT_SHARE * _free_bytes(device) if resident_gb is None else resident_gb * 1e9
    if _needed_bytes(split, encodings) <= limit_bytes:
        return ResidentPairs(*split.read_all(), device, encodings, split.jitter_px)
    return StreamedPairs(split, device, encodings)


def _needed_bytes(split: PairSplit, encodings: tuple[Encoding, Encoding]) -> int:
    """As the store has them, and as they are kept."""
    height_px, width_px = split.size_px
    floats = sum(encoding.channels for encoding in encodings if encoding.resident == "network")
    return 2 * split.num_bytes + 4 * floats * height_px * width_px * len(split)


def _free_bytes(device: torch.device) -> int:
    free_bytes: int = psutil.virtual_memory().available
    return min(free_bytes, torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_bytes
