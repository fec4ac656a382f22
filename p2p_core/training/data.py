"""Pairs to batches: which pair comes when, where it is cropped, whether it is mirrored.

Every choice is a function of (seed, position of the image in the run) alone, so a resumed run sees what an
uninterrupted one would have seen. Legend: N pairs, H W pixels, C bands or channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from p2p_core.encodings import Encoding
from p2p_core.errors import StoreError
from p2p_core.model.processes import ALONE, Processes
from p2p_core.training.config import AugmentConfig

__all__ = ["Batch", "Batches", "Pairs", "ResidentPairs", "to_resident"]


@dataclass(frozen=True)
class Batch:
    """Network-ready tensors of about [-1, 1], and how many images the run has seen once it is used."""

    input_NCHW: Tensor
    target_NCHW: Tensor
    images_seen: int


class Pairs(Protocol):
    """Where batches take their pixels from, each half as its encoding wants to be kept (`resident`)."""

    encodings: tuple[Encoding, Encoding]
    jitter_px: int

    def __len__(self) -> int: ...

    @property
    def size_px(self) -> tuple[int, int]: ...

    def take(self, chosen: Sequence[int], soon: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the pairs with these numbers, on the training device. `soon`: those asked for next."""
        ...


class ResidentPairs:
    """All pairs of a split as tensors on the training device, each half as its encoding wants to be kept (`resident`).

    `jitter_px`: by so much they are larger than what a network is to see of them (`DatasetSpec.jitter_px`).
    """

    def __init__(
        self,
        input_NHWC: NDArray[Any],
        target_NHWC: NDArray[Any],
        device: torch.device,
        encodings: tuple[Encoding, Encoding],
        jitter_px: int = 0,
    ) -> None:
        if not len(input_NHWC):
            raise StoreError("The training split holds no pair", remedy="Build the store from more sources or change the split")
        self.encodings, self.jitter_px = encodings, jitter_px
        self.input_NCHW = to_resident(input_NHWC, encodings[0]).to(device)
        self.target_NCHW = to_resident(target_NHWC, encodings[1]).to(device)

    def __len__(self) -> int:
        return len(self.input_NCHW)

    @property
    def size_px(self) -> tuple[int, int]:
        height, width = self.input_NCHW.shape[-2:]
        return height, width

    def take(self, chosen: Sequence[int], soon: Sequence[int]) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return _taken(self.input_NCHW, chosen), _taken(self.target_NCHW, chosen)


def to_resident(pixels_NHWC: NDArray[Any], encoding: Encoding) -> Tensor:
    """Pixels as a store has them -> (N, C, H, W) as they are kept for training."""
    if encoding.resident == "pixels":
        if pixels_NHWC.dtype == np.uint16:
            pixels_NHWC = (pixels_NHWC ^ np.uint16(_WORD_OFFSET)).view(np.int16)
        return torch.from_numpy(np.ascontiguousarray(pixels_NHWC.transpose(0, 3, 1, 2)))
    # One by one: what a conversion needs on its way is several times what it leaves.
    return torch.stack([torch.from_numpy(encoding.to_resident(image)).permute(2, 0, 1) for image in pixels_NHWC])


_WORD_OFFSET = 1 << 15
"""PyTorch flips and joins no uint16 everywhere: int16 that are so much less stand for them."""


_LOOK_AHEAD = 32
"""So many images ahead, or two batches, pairs are read that are not resident."""


class Batches:
    """`batches.at(images_seen)`: the batch that follows when so many images have been seen.

    Args:
        times: how often each pair comes in an epoch; once unless given.
    """

    def __init__(
        self,
        pairs: Pairs,
        augment: AugmentConfig,
        batch_size: int,
        seed: int,
        times: NDArray[np.int64] | None = None,
    ) -> None:
        self.pairs, self.augment, self.batch_size, self.seed = pairs, augment, batch_size, seed
        # Pairs with room for jitter have the pixels that crops are cut from; resizing would blur what they are larger for.
        self._resize_px = None if pairs.jitter_px else augment.resize_px
        height, width = (self._resize_px, self._resize_px) if self._resize_px else pairs.size_px
        if min(height, width) < augment.crop_px:
            raise StoreError(
                f"The store's pairs are {height}x{width} px, smaller than the crop of {augment.crop_px} px",
                remedy=f"Set augment.crop_px to at most {min(height, width)}, or build larger tiles",
            )
        self._room_px = (height - augment.crop_px, width - augment.crop_px)
        self._epoch_pairs = np.repeat(np.arange(len(pairs)), 1 if times is None else times)
        self._look_ahead = max(_LOOK_AHEAD, 2 * batch_size)
        self._order = lru_cache(maxsize=2)(self._order_of)  # batches that are looked ahead to may be of the next epoch

    def at(self, images_seen: int, processes: Processes = ALONE) -> Batch:
        """This process' rows of the batch that one process would see whole."""
        rows = processes.share_of(self.batch_size)
        positions = [images_seen + row for row in rows]
        ahead = range(images_seen + self.batch_size, images_seen + self.batch_size + self._look_ahead, self.batch_size)
        soon = [self._pair_at(begin + row) for begin in ahead for row in rows]
        input_NCHW, target_NCHW = self.pairs.take([self._pair_at(p) for p in positions], soon)
        draws = [self._draw(p) for p in positions]
        source, target = self.pairs.encodings
        return Batch(
            self._augment(input_NCHW, source, draws),
            self._augment(target_NCHW, target, draws),
            images_seen + self.batch_size,
        )

    def _pair_at(self, position: int) -> int:
        """Without replacement within an epoch; a new permutation for each."""
        epoch, place = divmod(position, len(self._epoch_pairs))
        return int(self._order(epoch)[place])

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(self._epoch_pairs)

    def _draw(self, position: int) -> tuple[int, int, bool]:
        rng = np.random.default_rng([self.seed, 1, position])
        y_px, x_px = (int(rng.integers(room + 1)) for room in self._room_px)
        return y_px, x_px, self.augment.mirror and bool(rng.random() < 0.5)

    def _augment(self, resident_NCHW: Tensor, encoding: Encoding, draws: list[tuple[int, int, bool]]) -> Tensor:
        if self._resize_px and self._resize_px != resident_NCHW.shape[-1]:
            resident_NCHW = _resized(resident_NCHW, self._resize_px, encoding)
        crop_px = self.augment.crop_px
        crops = [image[:, y : y + crop_px, x : x + crop_px] for image, (y, x, _) in zip(resident_NCHW, draws, strict=True)]
        crops = [crop.flip(-1) if mirrored else crop for crop, (_, _, mirrored) in zip(crops, draws, strict=True)]
        return to_network(torch.stack(crops), encoding)


def _taken(resident_NCHW: Tensor, chosen: Sequence[int]) -> Tensor:
    """By numbers the host knows: a tensor of indices would have to reach the device first, and the host to wait for it."""
    return torch.stack([resident_NCHW[index] for index in chosen])


def _resized(resident_NCHW: Tensor, size_px: int, encoding: Encoding) -> Tensor:
    """To a square. Between two classes there is no third: they take the nearest, centre on centre as the other half's do."""
    if encoding.resident == "classes":
        return F.interpolate(resident_NCHW.float(), (size_px, size_px), mode="nearest-exact")
    return F.interpolate(resident_NCHW.float(), (size_px, size_px), mode="bilinear", align_corners=False)


def to_network(resident_NCHW: Tensor, encoding: Encoding) -> Tensor:
    """What is resident -> what `Encoding.to_network` gives for arrays; channels-last, which convolutions run fastest on."""
    if encoding.resident == "pixels":
        offset = _WORD_OFFSET if encoding.dtype == np.uint16 else 0
        values_NCHW = resident_NCHW.float()
        network_NCHW: Tensor = encoding.scaled(values_NCHW + offset if offset else values_NCHW)
    elif encoding.resident == "network":
        network_NCHW = resident_NCHW
    else:
        network_NCHW = F.one_hot(resident_NCHW[:, 0].long(), encoding.channels).permute(0, 3, 1, 2) * 2.0 - 1
    return network_NCHW.contiguous(memory_format=torch.channels_last)
