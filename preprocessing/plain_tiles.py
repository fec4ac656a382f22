"""Pairs cut from plain pictures, which lie nowhere: both halves side by side, as the paper's maps, or two directories.

All tiles of a picture have its source, so that a split by source keeps them together. Legend: H W pixels, C bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.errors import ConfigError, RasterError
from p2p_core.files import sha256_json
from p2p_core.geometry import TileGrid
from p2p_core.pairstore.layout import ROLES
from p2p_core.rasters.world_file import place_beside
from preprocessing.align import resize, resize_nearest
from preprocessing.chosen_encodings import ChosenEncodings
from preprocessing.maps import MapsParameters, judge, refuse_place_beside
from preprocessing.matching import find_pictures, match_pictures
from preprocessing.pairs import Outcome, Pair
from preprocessing.pictures import picture_size_px, read_halves, read_picture
from preprocessing.places import FilesSource, Places, require_two
from preprocessing.sizing import require_one_aspect

__all__ = ["PlainTilesBuilder"]


@dataclass(frozen=True)
class PlainTilesBuilder(ChosenEncodings):
    """Builder of tiles from one directory of side-by-side pictures, or from (input directory, target directory)."""

    directories: tuple[Path, ...]
    parameters: MapsParameters

    name = "maps"
    version = 1
    detector_weights_sha256 = None

    def __post_init__(self) -> None:
        if len(self.directories) != 1:
            require_two("maps", self.directories, self._endings, "the inputs'", "the targets'")
        if self.parameters.bounds or self.parameters.zoom is not None or self.parameters.ground_crs:
            raise ConfigError(
                "`bounds`, `zoom` and `ground_crs` are of rasters that lie somewhere; plain pictures do not",
                remedy="Leave them out, or give GeoTIFFs",
            )

    @property
    def _endings(self) -> tuple[str, str]:
        return self.parameters.input_suffix, self.parameters.target_suffix

    @property
    def _named(self) -> Places:
        return Places(dict(zip(ROLES if len(self.directories) == 2 else ("pair",), self.directories, strict=True)))

    def size_px(self) -> tuple[int, int]:
        return self.parameters.tile_px, self.parameters.tile_px

    def sources(self) -> Sequence[FilesSource]:
        """Raises as `PairBuilder.sources`, and `PairingError` where names do not match."""
        if len(self.directories) == 2:
            found = [find_pictures(place, ending) for place, ending in zip(self.directories, self._endings, strict=True)]
            matched: dict[str, tuple[Path, ...]] = dict(match_pictures(found[0], found[1]))
        else:
            matched = {name: (path,) for name, path in find_pictures(self.directories[0]).by_name.items()}
        return [_with_places(source) for source in self._named.sources(matched, max_pairs=self._max_pairs)]

    def build(self, source: FilesSource) -> Iterator[Outcome]:
        if source.refused:
            yield source.refused
            return
        try:
            refuse_place_beside(source.paths)
            input_HWC, target_HWC = self._read(source.paths)
            windows = list(self._grid(*target_HWC.shape[:2]))
            if not windows:
                raise RasterError(
                    f"No tile of {self.parameters.tile_px} px fits its {target_HWC.shape[1]}x{target_HWC.shape[0]} px",
                    remedy="Choose smaller tiles",
                    reason="size",
                )
        except RasterError as error:
            yield self._named.rejected(source, source.source_id, error)
            return
        attributes = {"split": source.split} if source.split else {}
        for window in windows:
            pair_id = f"{source.source_id}/y{window.y_px:05d}_x{window.x_px:05d}"
            tiles = [np.ascontiguousarray(half_HWC[window.slices]) for half_HWC in (input_HWC, target_HWC)]
            yield judge(Pair(pair_id, source.source_id, tiles[0], tiles[1], attributes=attributes), 0.0, self.parameters)

    def _read(self, paths: tuple[Path, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Raises `RasterError`. The target's grid wins: an input of another size is brought to it."""
        if len(paths) == 1:
            return read_halves(paths[0], (self.input_encoding, self.target_encoding), self.parameters.input_side)
        input_HWC, target_HWC = read_picture(paths[0], self.input_encoding), read_picture(paths[1], self.target_encoding)
        require_one_aspect(("input", "the target"), input_HWC.shape[:2], target_HWC.shape[:2])
        resized = resize_nearest if encoding(self.input_encoding).is_palette else resize
        return resized(input_HWC, *target_HWC.shape[:2]), target_HWC

    def _max_pairs(self, paths: tuple[Path, ...]) -> int:
        try:
            height_px, width_px = picture_size_px(paths[-1])
        except RasterError as error:
            if error.reason == "missing":
                raise
            return 0  # `build` will say why
        return len(self._grid(height_px, width_px if len(paths) == 2 else width_px // 2))

    def _grid(self, height_px: int, width_px: int) -> TileGrid:
        tile_px = self.parameters.tile_px
        return TileGrid(height_px, width_px, tile_px, self.parameters.stride_px or tile_px)


def _with_places(source: FilesSource) -> FilesSource:
    """One that is built again when a file that tells a picture's place is laid beside it or taken away."""
    beside = [found.name for path in source.paths if (found := place_beside(path))]
    return replace(source, digest=sha256_json([source.digest, beside])) if beside else source
