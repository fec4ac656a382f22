"""Pairs cut from two aligned rasters: a map and the aerial view of the same ground.

The target's grid wins: the input is resampled to it. A vector map, on either side, is drawn on the other's grid. A source
is a square block of the ground; it yields the tiles whose origin lies in it, row by row. Legend: H W pixels, C bands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from p2p_core.config import Config
from p2p_core.encodings import Encoding, encoding
from p2p_core.errors import EmptySourceError, RasterError, UsageError
from p2p_core.files import sha256_json
from p2p_core.geometry import TileGrid, Window, around_all
from p2p_core.pairstore.layout import ROLES
from p2p_core.rasters.grid import Bounds, Grid
from p2p_core.rasters.protocol import Raster, full_window, grid_of
from p2p_core.rasters.registry import is_xyz, source_digest
from p2p_core.rasters.vector_file import is_vector
from p2p_core.rasters.world_file import place_beside
from p2p_core.rasters.xyz import XYZRaster
from preprocessing.align import open_aligned
from preprocessing.chosen_encodings import ChosenEncodings, EncodingChoice
from preprocessing.pairs import Outcome, Pair, Rejected, SourceRef
from preprocessing.places import Places
from preprocessing.quality import QualityRule
from preprocessing.raster_encoding import require_fit
from preprocessing.vector_maps import open_target, refuse_blended, require_palette_colours

__all__ = ["MapsBuilder", "MapsParameters", "MapsSource", "WaterRule", "judge", "named", "refuse_place_beside"]


class WaterRule(Config):
    """Tiles of open water alone teach nothing and there are many of them.

    Water is where the input's blue exceeds its red by more than `min_blue_over_red` grey levels; a tile of more than
    `max_fraction` water is rejected. 35 fits maps in the manner of Natural Earth's shaded relief: 94 % of the water has more,
    of the ice 2 %, of the land 0.2 %; what it misses are shallow seas, which are worth keeping.
    """

    min_blue_over_red: int = Field(default=35, ge=0, le=254)
    max_fraction: float = Field(default=0.97, ge=0, le=1)

    def fraction(self, levels_HWC: NDArray[Any]) -> float:
        """The share of water in a picture whose bands 1 and 3 are red and blue, in grey levels."""
        red, blue = levels_HWC[..., 0].astype(np.float32), levels_HWC[..., 2].astype(np.float32)
        return float((blue - red > self.min_blue_over_red).mean())


class MapsParameters(EncodingChoice):
    """`bounds`: the part of the target to use, (west, south, east, north) in its CRS; all of it unless given.

    `stride_px`: from one tile's origin to the next; tiles touch unless given. `source_px`: the side of the blocks that are
    built, and rebuilt, at once. `zoom`: of XYZ trees that hold several. `max_nodata_fraction`: more nodata than that in either
    picture rejects a tile. `input_side`: of plain pictures that hold both halves. `input_suffix`, `target_suffix`: of files in
    two directories, how names end that are one apart from that. `ground_crs`: of the grid that many scenes share, the first
    scene's unless given.
    """

    tile_px: int = Field(default=256, ge=1)
    stride_px: int | None = Field(default=None, ge=1)
    source_px: int = Field(default=1024, ge=1)
    bounds: Bounds | None = None
    zoom: int | None = Field(default=None, ge=0)
    water: WaterRule | None = None
    max_nodata_fraction: float = Field(default=0.1, ge=0, le=1)
    input_side: Literal["left", "right"] = "left"
    input_suffix: str = ""
    target_suffix: str = ""
    ground_crs: str | None = None
    quality: QualityRule = QualityRule()

    @model_validator(mode="after")
    def _encodings_fit(self) -> Self:
        kinds = [encoding(name) for name in (self.input_encoding, self.target_encoding)]
        if self.water and kinds[0].bands < 3:
            raise ValueError(f"the water rule looks at red and blue, which {self.input_encoding!r} input has not")
        return self


@dataclass(frozen=True)
class MapsSource(SourceRef):
    """`windows`: its tiles, in the target's pixels."""

    windows: tuple[Window, ...]


@dataclass(frozen=True)
class MapsBuilder(ChosenEncodings):
    """Builder of pairs from (input raster, target raster)."""

    rasters: tuple[Path, ...]
    parameters: MapsParameters

    name = "maps"
    detector_weights_sha256 = None

    def __post_init__(self) -> None:
        if len(self.rasters) != 2:
            raise UsageError(
                f"The maps builder takes two rasters, not {len(self.rasters)}", remedy="Give the input first, then the target"
            )
        refuse_blended(self.rasters, (self.input_encoding, self.target_encoding))

    @property
    def version(self) -> int:
        """3 of measurements: what misses in some bands was blended, and counted as measured, before."""
        return 2 if all(encoding(name).is_picture for name in (self.input_encoding, self.target_encoding)) else 3

    def size_px(self) -> tuple[int, int]:
        return self.parameters.tile_px, self.parameters.tile_px

    def area(self) -> Window:
        """The ground that is tiled, in the target's pixels: where a `BlockSplit` has to reach.

        Raises:
            RasterError: the target cannot be read, or bounds were given and it lies nowhere.
            ConfigError: no whole pixel lies inside the bounds.
        """
        with self._open_target() as target:
            return _area(target, self.parameters.bounds)

    def grid(self) -> Grid:
        """The target's. Raises `RasterError`: the target cannot be read or lies nowhere."""
        with self._open_target() as target:
            return grid_of(target)

    def window_around(self, bounds: Bounds) -> Window:
        """The smallest window of the target's pixels that holds `bounds`: for ground to be reserved. Raises as `grid`."""
        return self.grid().around(bounds)

    def windows(self) -> Sequence[Window]:
        """Every tile that `build` looks at, row by row. Raises as `area`."""
        area = self.area()
        return [window.shift(area.y_px, area.x_px) for window in _tile_grid(area, self.parameters)]

    def sources(self) -> Sequence[MapsSource]:
        """Raises as `PairBuilder.sources`, and `SizeMismatchError` where the rasters do not cover the same ground."""
        with self._open() as (_, _, area):
            blocks = _tiles_by_block(area, self.parameters)
        if not blocks:
            raise EmptySourceError(
                f"No tile of {self.parameters.tile_px} px fits the area of {area.width_px}x{area.height_px} px",
                remedy="Choose smaller tiles or larger bounds",
            )
        files = {name: source_digest(path) for name, path in self._named.by_role.items()}
        digest = sha256_json(list(files.values()))
        return [
            MapsSource(f"y{row:05d}_x{column:05d}", digest, len(windows), files, tuple(windows))
            for (row, column), windows in sorted(blocks.items())
        ]

    def build(self, source: MapsSource) -> Iterator[Outcome]:
        with self._open() as (input_raster, target_raster, _):
            ground = around_all(source.windows)
            read_input = _reader(input_raster, ground, encoding(self.input_encoding))
            read_target = _reader(target_raster, ground, encoding(self.target_encoding))
            for window in source.windows:
                pair_id = f"y{window.y_px:07d}_x{window.x_px:07d}"
                if missing := target_raster.missing_under(window) if isinstance(target_raster, XYZRaster) else []:
                    detail = f"{list(self._named.by_role)[1]} has no tile {missing[0]}"
                    yield Rejected(source.source_id, pair_id, "missing_target", detail, window)
                    continue
                try:
                    (input_HWC, input_empty), (target_HWC, target_empty) = read_input(window), read_target(window)
                except RasterError as error:
                    yield Rejected(source.source_id, pair_id, error.reason, self._named.without(error.problem), window)
                    continue
                pair = Pair(pair_id, source.source_id, input_HWC, target_HWC, window)
                yield judge(pair, max(input_empty, target_empty), self.parameters)

    @property
    def _named(self) -> Places:
        return named(self.rasters)

    def _open_target(self) -> Raster:
        refuse_place_beside(self.rasters)
        # Of two trees TilesBuilder makes pairs; here the zoom is that of the one tree there may be.
        zoom = None if is_xyz(self.rasters[0]) and not is_vector(self.rasters[1]) else self.parameters.zoom
        return open_target(*self.rasters, zoom=zoom)

    @contextmanager
    def _open(self) -> Iterator[tuple[Raster, Raster, Window]]:
        """Both rasters on the target's grid, and the area to tile."""
        with ExitStack() as stack:
            target = stack.enter_context(self._open_target())
            area = _area(target, self.parameters.bounds)
            zoom = self.parameters.zoom if is_xyz(self.rasters[0]) else None
            aligned = stack.enter_context(open_aligned(self.rasters[0], target, area, zoom=zoom))
            require_fit(aligned, self.input_encoding, setting="input_encoding", area=area)
            require_fit(target, self.target_encoding, setting="target_encoding", area=area)
            require_palette_colours(aligned, self.input_encoding)
            require_palette_colours(target, self.target_encoding)
            yield aligned, target, area


def refuse_place_beside(rasters: Sequence[Path]) -> None:
    """A picture whose place is ignored would be stretched over ground that it does not show."""
    for raster in rasters:
        if beside := place_beside(raster):
            raise RasterError(
                f"{raster} lies where {beside.name} says, which is read of GeoTIFFs alone",
                remedy=f"Convert it to GeoTIFF: gdal_translate {raster.name} {raster.with_suffix('.tif').name}."
                f" If its place does not matter, move {beside.name} away",
                reason="unsupported",
            )


def named(rasters: Sequence[Path]) -> Places:
    """What the dataset calls an input and a target, wherever they lie."""
    return Places({f"{role}/{path.name}": path for role, path in zip(ROLES, rasters, strict=True)})


def judge(pair: Pair, empty_fraction: float, parameters: MapsParameters) -> Outcome:
    """The pair itself, or why it is left out. `empty_fraction`: the share of the emptier picture that holds no data."""

    def reject(reason: str, detail: str) -> Rejected:
        return Rejected.of_pair(pair, reason, detail)

    if empty_fraction > parameters.max_nodata_fraction:
        return reject("nodata", f"{empty_fraction:.1%} of its pixels hold no data")
    water = parameters.water
    levels_HWC = encoding(parameters.input_encoding).to_grey_levels(pair.input_HWC)
    if water and (fraction := water.fraction(levels_HWC)) > water.max_fraction:
        return reject("ocean_only", f"{fraction:.1%} of its pixels are water")
    return parameters.quality.judge(pair, (parameters.input_encoding, parameters.target_encoding))


def _area(target: Raster, bounds: Bounds | None) -> Window:
    if bounds is None:
        return full_window(target)
    grid = grid_of(target)
    part = grid.inside(bounds)
    (a, _, c, _, e, f), (_, _, part_c, _, _, part_f) = grid.transform, part.transform
    return Window(round((part_f - f) / e), round((part_c - c) / a), part.height_px, part.width_px)


def _tiles_by_block(area: Window, parameters: MapsParameters) -> dict[tuple[int, int], list[Window]]:
    blocks: dict[tuple[int, int], list[Window]] = {}
    for window in _tile_grid(area, parameters):
        block = window.y_px // parameters.source_px, window.x_px // parameters.source_px
        blocks.setdefault(block, []).append(window.shift(area.y_px, area.x_px))
    return blocks


def _tile_grid(area: Window, parameters: MapsParameters) -> TileGrid:
    """Its windows begin at the area's corner."""
    return TileGrid(area.height_px, area.width_px, parameters.tile_px, parameters.stride_px or parameters.tile_px)


def _reader(raster: Raster, ground: Window, own: Encoding) -> Callable[[Window], tuple[NDArray[Any], float]]:
    """Reads a tile's pixels, and the share of them that hold no data.

    Tiles overlap, so the ground is read once; where part of it cannot be, tile by tile, so that only bad tiles fail.
    """
    try:
        ground_HWC, measured_HW = raster.read_measured(ground)
    except RasterError:
        return lambda window: _pixels(own, *raster.read_measured(window))

    def cut(window: Window) -> tuple[NDArray[Any], float]:
        place = window.shift(-ground.y_px, -ground.x_px).slices
        return _pixels(own, ground_HWC[place], measured_HW[place])

    return cut


def _pixels(own: Encoding, values_HWC: NDArray[Any], measured_HW: NDArray[np.bool_]) -> tuple[NDArray[Any], float]:
    return own.of_raster(values_HWC, measured_HW), 1 - np.count_nonzero(measured_HW) / measured_HW.size
