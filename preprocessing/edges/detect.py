"""Edge probabilities of whole photos of any size: mirrored borders, sides the network can halve, tiles where it is large.

Legend: H W pixels, C bands; probabilities are float32 in 0..1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from p2p_core.config import Config
from p2p_core.errors import UsageError
from p2p_core.geometry import Window, align_up
from preprocessing.edges.weights import STRIDE_PX, HEDWeights, read_weights
from preprocessing.photos import to_rgb

__all__ = ["DetectorConfig", "EdgeDetector", "Network", "WeightsChoice", "detector_for"]

HALO_PX = 128
"""A tile sees so much of its surroundings. Half the largest receptive field is 98 px (spec, section 4); magnifying the last
stage's scores reaches one of its features further, which is 16 px."""


class Network(Protocol):
    """HED by some engine."""

    def probabilities(self, photos_NHWC: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) RGB in 0..255, sides multiples of `STRIDE_PX` -> (N, H, W)."""
        ...


class DetectorConfig(Config):
    """What shapes the probabilities.

    Attributes:
        engine: `ncnn` on the CPU, or `torch` on the CPU or a GPU: the same network, whose results differ by some 1e-6.
        padding_px: photos are continued, mirrored, by so much on each side, so that the network's own zeros beyond are no edge.
        tile_px: photos with a longer side than this are taken in tiles, each with `HALO_PX` of its surroundings. One tile of
            the default takes about 1.2 GB; larger ones waste less time on surroundings.
    """

    engine: Literal["ncnn", "torch"] = "ncnn"
    padding_px: int = Field(48, ge=0, multiple_of=STRIDE_PX)
    tile_px: int = Field(640, ge=STRIDE_PX, multiple_of=STRIDE_PX)


class WeightsChoice(Config):
    """`path`: a published weights file, the installed one unless given. `sha256`: what it must have, if it is not published."""

    path: Path | None = None
    sha256: str | None = None


@lru_cache(maxsize=1)
def detector_for(config: DetectorConfig, weights: WeightsChoice, device: str = "cpu") -> EdgeDetector:
    """A detector, made once in a process and kept: loading the weights takes as long as several photos.

    Raises:
        MissingDependencyError, WeightsError: as `read_weights`.
        UsageError: the device is not there, or not the engine's.
    """
    return EdgeDetector(read_weights(weights.path, sha256=weights.sha256), config, device=device)


class EdgeDetector:
    """Photos to edge probabilities. A photo's result does not depend on the photos beside it.

    Args:
        device: `cpu`, or for the engine `torch` also `cuda`.
        batch: so many tiles of one size go through the network together.
    """

    def __init__(self, weights: HEDWeights, config: DetectorConfig, *, device: str = "cpu", batch: int = 4) -> None:
        self.config, self.batch = config, batch
        self._network = _network(weights, config.engine, device)

    def probability(self, photo_HWC: NDArray[Any]) -> NDArray[np.float32]:
        """(H, W, 1 to 4) uint8 or uint16, as `photos.read_photo` gives them -> (H, W)."""
        return self.probabilities([photo_HWC])[0]

    def probabilities(self, photos: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Of several photos; tiles that are the same size with their surroundings share a batch, whatever photo they are of."""
        results = [np.empty(photo_HWC.shape[:2], np.float32) for photo_HWC in photos]
        by_size: dict[tuple[int, int], list[_Tile]] = {}
        for index, photo_HWC in enumerate(photos):
            for tile in self._tiles(index, *photo_HWC.shape[:2]):
                by_size.setdefault((tile.whole.height_px, tile.whole.width_px), []).append(tile)
        for tiles in by_size.values():
            for start in range(0, len(tiles), self.batch):
                batch = tiles[start : start + self.batch]
                seen_NHWC = np.stack([_seen(photos[tile.photo], tile) for tile in batch])
                for tile, probability_HW in zip(batch, self._network.probabilities(seen_NHWC), strict=True):
                    inner = tile.core.shift(-tile.whole.y_px, -tile.whole.x_px)
                    results[tile.photo][tile.core.slices] = probability_HW[inner.slices]
        return results

    def _tiles(self, photo: int, height_px: int, width_px: int) -> Iterator[_Tile]:
        """One tile where the photo is no longer than `tile_px`. Corners are multiples of the stride: features fall alike."""
        tile_y, tile_x = self._side(height_px), self._side(width_px)
        for top in range(0, height_px, tile_y):
            for left in range(0, width_px, tile_x):
                core = Window(top, left, tile_y, tile_x).clip(height_px, width_px)
                seen = core.grow(HALO_PX).clip(height_px, width_px)
                # Only the photo's own borders are continued: where a tile sees surroundings it needs nothing more.
                y, y_end = self._continued(seen.y_px, seen.y_end_px, height_px)
                x, x_end = self._continued(seen.x_px, seen.x_end_px, width_px)
                yield _Tile(photo, core, seen, Window(y, x, y_end - y, x_end - x))

    def _side(self, size_px: int) -> int:
        """The least side, on the stride, with which as few tiles as of `tile_px` do: all are much the same size."""
        num_tiles = -(-size_px // self.config.tile_px)
        return align_up(-(-size_px // num_tiles), STRIDE_PX)

    def _continued(self, start: int, end: int, size_px: int) -> tuple[int, int]:
        padding_px = self.config.padding_px
        return start - (padding_px if start == 0 else 0), align_up(end + (padding_px if end == size_px else 0), STRIDE_PX)


@dataclass(frozen=True)
class _Tile:
    """`core`: what it yields. `seen`: its pixels of the photo. `whole`: with what is mirrored, in the photo's pixels."""

    photo: int
    core: Window
    seen: Window
    whole: Window


def _seen(photo_HWC: NDArray[Any], tile: _Tile) -> NDArray[np.float32]:
    """The tile with its surroundings, mirrored about the photo's border pixels."""
    seen, whole = tile.seen, tile.whole
    before_y, before_x = seen.y_px - whole.y_px, seen.x_px - whole.x_px
    after_y, after_x = whole.y_end_px - seen.y_end_px, whole.x_end_px - seen.x_end_px
    rgb_HWC = to_rgb(photo_HWC[seen.slices])
    seen_HWC: NDArray[np.float32] = cv2.copyMakeBorder(rgb_HWC, before_y, after_y, before_x, after_x, cv2.BORDER_REFLECT_101)
    return seen_HWC


def _network(weights: HEDWeights, engine: str, device: str) -> Network:
    if engine == "torch":
        from preprocessing.edges.torch_network import TorchHED

        try:
            return TorchHED(weights, device)
        except (RuntimeError, AssertionError) as error:  # what torch says of devices it does not have
            raise UsageError(
                f"There is no device {device!r} here: {error}", remedy="Use cpu, or a machine with a GPU"
            ) from None
    if device != "cpu":
        raise UsageError(f"The engine ncnn does not run on {device!r}", remedy="Use the engine torch there")
    from preprocessing.edges.ncnn_network import NcnnHED

    return NcnnHED(weights, _num_threads())


def _num_threads() -> int:
    """OMP_NUM_THREADS, which Dask sets to 1 in its workers, or one thread a CPU. Changes no number."""
    set_to = os.environ.get("OMP_NUM_THREADS", "")
    return int(set_to) if set_to.isdigit() and int(set_to) else len(os.sched_getaffinity(0))
