"""Pairs of two XYZ trees: the tiles z/x/y of one address, a map's and its aerial view's. Legend: H W pixels, C bands.

One address is one pair. An address that only one of the trees has is a rejected item. Windows, bounds and areas are those of
the zoom's whole map: tile z/x/y begins at (y * tile_px, x * tile_px), and keeps its place when the trees grow. A source is a
square block of addresses, so that a changed tile costs its block and no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.errors import ConfigError, EmptySourceError, RasterError, SizeMismatchError
from p2p_core.files import sha256_json
from p2p_core.geometry import Window, around_all
from p2p_core.rasters.grid import Bounds, Grid
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.mercator import MAX_ZOOM, TileAddress, tile_range_grid
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import source_digest
from p2p_core.rasters.xyz import MAX_TILE_PIXELS, chosen_zoom, tile_paths
from preprocessing.align import resize
from preprocessing.chosen_encodings import ChosenEncodings
from preprocessing.maps import MapsParameters, judge, named
from preprocessing.pairs import Outcome, Pair, Rejected, SourceRef
from preprocessing.places import Places
from preprocessing.raster_encoding import misfit
from preprocessing.vector_maps import refuse_blended

__all__ = ["TilePair", "TilesBuilder", "TilesSource"]


@dataclass(frozen=True)
class TilePair:
    """The files of one address; None where a tree has none."""

    address: TileAddress
    input: Path | None
    target: Path | None


@dataclass(frozen=True)
class TilesSource(SourceRef):
    """`input_px`: the side of the input's tiles, which may differ from the target's."""

    tiles: tuple[TilePair, ...]
    input_px: int


@dataclass(frozen=True)
class TilesBuilder(ChosenEncodings):
    """Builder of pairs from (input tree, target tree). `tile_px` is the side of the target's tiles."""

    trees: tuple[Path, ...]
    parameters: MapsParameters

    name = "maps"
    version = 1
    detector_weights_sha256 = None

    def __post_init__(self) -> None:
        refuse_blended(self.trees, (self.input_encoding, self.target_encoding))
        if self.parameters.stride_px not in (None, self.parameters.tile_px):
            raise ConfigError(
                "Tiles of XYZ trees are paired address by address: they have no other stride than their size",
                remedy="Leave stride_px out",
            )

    def size_px(self) -> tuple[int, int]:
        return self.parameters.tile_px, self.parameters.tile_px

    def grid(self) -> Grid:
        """The zoom's whole map, in the target's pixels. Raises as `area`."""
        whole = range(2 ** self._zoom())
        return tile_range_grid(self._zoom(), whole, whole, self.parameters.tile_px)

    def area(self) -> Window:
        """The smallest window around the tiles that both trees have.

        Raises:
            ConfigError: a tree of several zooms and none chosen, or one it has not; bounds that hold no whole pixel.
            EmptySourceError: no tiles, or none inside the bounds.
            SizeMismatchError: the trees have different zooms, or no address in common.
            RasterError: a tile off the map, or there twice.
        """
        return around_all(self.windows())

    def windows(self) -> Sequence[Window]:
        """The tiles that both trees have, row by row. Raises as `area`."""
        return sorted(self._window(tile.address) for tile in self._tiles() if tile.input and tile.target)

    def window_around(self, bounds: Bounds) -> Window:
        """The smallest window that holds `bounds` (EPSG:3857 metres): for ground to be reserved. Raises as `area`."""
        return self.grid().around(bounds)

    def sources(self) -> Sequence[TilesSource]:
        """Raises as `area`; `ConfigError`, too, where the target's tiles are not `tile_px`."""
        tiles = self._tiles()
        input_px = _tile_px([tile.input for tile in tiles if tile.input])
        self._require_tile_px(_tile_px([tile.target for tile in tiles if tile.target]))
        side = max(1, self.parameters.source_px // self.parameters.tile_px)
        blocks: dict[str, list[TilePair]] = {}
        for tile in tiles:
            z, x, y = tile.address
            blocks.setdefault(f"z{z:02d}_y{y // side:07d}_x{x // side:07d}", []).append(tile)
        return [self._source(name, blocks[name], input_px) for name in sorted(blocks)]

    def build(self, source: TilesSource) -> Iterator[Outcome]:
        for tile in source.tiles:
            pair_id, window = str(tile.address), self._window(tile.address)
            files = tuple(path for path in (tile.input, tile.target) if path)
            reject = partial(Rejected, source.source_id, pair_id, window=window, seen_in=files)
            if tile.input is None or tile.target is None:
                absent = "target" if tile.target is None else "input"
                yield reject(
                    f"missing_{absent}", f"{' and '.join(self._named.by_role)}: only the {_OTHER[absent]} has {pair_id}"
                )
                continue
            try:
                input_HWC, input_empty = _read(tile.input, source.input_px, self.input_encoding)
                target_HWC, target_empty = _read(tile.target, self.parameters.tile_px, self.target_encoding)
            except RasterError as error:
                yield reject(error.reason, self._named.without(error.problem))
                continue
            pair = Pair(pair_id, source.source_id, resize(input_HWC, *self.size_px()), target_HWC, window)
            yield judge(pair, max(input_empty, target_empty), self.parameters)

    def _source(self, name: str, tiles: Sequence[TilePair], input_px: int) -> TilesSource:
        files = {
            f"{called}/{tile.address}{path.suffix}": source_digest(path)
            for tile in tiles
            for called, path in zip(self._named.by_role, (tile.input, tile.target), strict=True)
            if path
        }
        ordered = tuple(sorted(tiles, key=lambda tile: str(tile.address)))
        num_pairs = sum(1 for tile in tiles if tile.input and tile.target)
        return TilesSource(name, sha256_json([input_px, sorted(files.items())]), num_pairs, files, ordered, input_px)

    def _tiles(self) -> list[TilePair]:
        """Every address that either tree has inside the bounds; some have both files."""
        zoom = self._zoom()
        inputs, targets = (self._inside(tile_paths(tree, zoom)) for tree in self.trees)
        if not inputs.keys() & targets.keys():
            raise self._nothing_shared(inputs, targets)
        return [TilePair(address, inputs.get(address), targets.get(address)) for address in sorted(inputs | targets)]

    def _inside(self, paths: dict[TileAddress, Path]) -> dict[TileAddress, Path]:
        bounds = self.parameters.bounds
        if bounds is None:
            return paths
        part = self.grid().window_inside(bounds)
        return {address: path for address, path in paths.items() if part.contains(self._window(address))}

    def _zoom(self) -> int:
        zoom, other = (chosen_zoom(tree, self.parameters.zoom) for tree in self.trees)
        if zoom != other or zoom > MAX_ZOOM:
            raise SizeMismatchError(
                f"{self.trees[0]} has tiles of zoom {zoom}, {self.trees[1]} of zoom {other}",
                remedy=f"Give two trees of one zoom, up to {MAX_ZOOM}",
            )
        return zoom

    def _window(self, address: TileAddress) -> Window:
        tile_px = self.parameters.tile_px
        return Window(address.y * tile_px, address.x * tile_px, tile_px, tile_px)

    @property
    def _named(self) -> Places:
        return named(self.trees)

    def _require_tile_px(self, found_px: int) -> None:
        if found_px != self.parameters.tile_px:
            raise ConfigError(
                f"The tiles of {self.trees[1]} are {found_px} px, not {self.parameters.tile_px}",
                remedy=f"Set tile_px to {found_px}: --set tile_px={found_px}",
            )

    def _nothing_shared(self, inputs: Mapping[TileAddress, Path], targets: Mapping[TileAddress, Path]) -> SizeMismatchError:
        flipped = {TileAddress(z, x, 2**z - 1 - y) for z, x, y in inputs}
        counts = f"{self.trees[0]} ({len(inputs)} tiles) and {self.trees[1]} ({len(targets)} tiles)"
        inside = " inside the bounds" if self.parameters.bounds else ""
        return SizeMismatchError(
            f"{counts} have no address in common{inside}",
            remedy="One of them counts y from the south (TMS): rename its tiles to 2**z - 1 - y"
            if flipped & targets.keys()
            else "Give two trees of the same ground, tiles of Web Mercator named z/x/y.png",
        )


_OTHER = {"input": "target", "target": "input"}


def _tile_px(paths: Sequence[Path]) -> int:
    """The side of a tree's tiles: that of the first that can be opened."""
    for path in paths:
        try:
            with ImageRaster(path, max_pixels=MAX_TILE_PIXELS) as tile:
                return tile.width_px
        except RasterError:  # it will be rejected when it is its turn
            continue
    raise EmptySourceError(f"None of {len(paths)} tiles can be read, {paths[0]} for one", remedy="Make the tree anew")


def _read(path: Path, tile_px: int, encoding_name: str) -> tuple[NDArray[Any], float]:
    """The tile's colours, and the share of its pixels that hold no data. What is not opaque is none of it, and 0.

    Raises:
        RasterError: it cannot be read, or has another size or other bands than the rest.
    """
    with ImageRaster(path, max_pixels=MAX_TILE_PIXELS) as tile:
        if (tile.height_px, tile.width_px) != (tile_px, tile_px):
            raise _misfit(path, f"is {tile.width_px}x{tile.height_px} px, not {tile_px}x{tile_px}")
        colour_bands, own = {1: 1, 2: 1, 3: 3, 4: 3}[tile.bands], encoding(encoding_name)
        repeats = own.bands // colour_bands  # gray stands in for RGB, measurements for nothing else
        if not own.takes_dtype(tile.dtype) or repeats < 1 or (repeats > 1 and not own.is_picture):
            raise _misfit(path, misfit(tile, encoding_name).removeprefix(f"{tile.name} "))
        pixels_HWC, measured_HW = tile.read_measured(full_window(tile))
    colour_HWC = np.repeat(pixels_HWC[..., :colour_bands], repeats, axis=2)
    if tile.bands != colour_bands:
        measured_HW &= pixels_HWC[..., -1] == np.iinfo(tile.dtype).max
        colour_HWC[~measured_HW] = 0
    return own.of_raster(colour_HWC, measured_HW), 1 - float(measured_HW.mean())


def _misfit(path: Path, problem: str) -> RasterError:
    return RasterError(f"{path} {problem}", remedy="Make the tile anew as the others are", reason="misfit")
