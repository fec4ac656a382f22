"""Pairs cut from many aligned scenes: two directories of rasters matched by name, an input and a target each.

Scenes overlap, and lie in several CRSs. Every tile's window is therefore its ground in one grid that all scenes share, not its
place in its own target: tiles of different splits whose windows lie apart have no ground in common, whichever scenes they
are of. A window holds all of its tile's ground, rounded outwards. Legend: H W pixels, C bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from p2p_core.encodings import encoding
from p2p_core.errors import ConfigError, EmptySourceError, P2PError, RasterError, SizeMismatchError
from p2p_core.files import sha256_json
from p2p_core.geometry import Window, around_all
from p2p_core.pairstore.layout import ROLES
from p2p_core.rasters.geotiff import reproject_bounds
from p2p_core.rasters.grid import Bounds, Grid, window_bounds
from p2p_core.rasters.protocol import grid_of
from p2p_core.rasters.registry import open_raster, source_digest
from p2p_core.rasters.world_file import place_beside
from preprocessing.chosen_encodings import ChosenEncodings
from preprocessing.maps import MapsBuilder, MapsParameters, MapsSource, refuse_place_beside
from preprocessing.matching import find_pictures, match_pictures
from preprocessing.pairs import Outcome, Rejected, SourceRef
from preprocessing.places import Places, require_two
from preprocessing.split import directory_split
from preprocessing.vector_maps import refuse_blended

__all__ = ["ScenesBuilder", "ScenesSource"]


@dataclass(frozen=True)
class ScenesSource(SourceRef):
    """A block of one scene. `ground`: of each window of `block`, in the common grid. `refused`: why the scene is left out."""

    scene: str
    paths: tuple[Path, ...]
    block: MapsSource | None
    ground: tuple[Window, ...]
    refused: Rejected | None


@dataclass(frozen=True)
class ScenesBuilder(ChosenEncodings):
    """Builder of pairs from the rasters in (input directory, target directory)."""

    directories: tuple[Path, ...]
    parameters: MapsParameters

    name = "maps"
    detector_weights_sha256 = None

    def __post_init__(self) -> None:
        wanted = self.parameters
        require_two("maps", self.directories, (wanted.input_suffix, wanted.target_suffix), "the inputs'", "the targets'")
        refuse_blended(self.directories, (self.input_encoding, self.target_encoding))
        if wanted.bounds or wanted.zoom is not None:
            raise ConfigError(
                "`bounds` and `zoom` are of one raster, and many scenes are given",
                remedy="Leave them out; to keep ground free, reserve it: --reserve",
            )

    @property
    def version(self) -> int:
        """2 of measurements: what misses in some bands was blended, and counted as measured, before."""
        return 1 if all(encoding(name).is_picture for name in (self.input_encoding, self.target_encoding)) else 2

    def size_px(self) -> tuple[int, int]:
        return self.parameters.tile_px, self.parameters.tile_px

    def grid(self) -> Grid:
        """The common grid: of `ground_crs`, or the first scene's CRS, with the pixels of the first scene.

        It is as long as the CRS, so that ground keeps its window when scenes come and go: row 0 lies at y = 0, give or take the
        part of a pixel by which the first scene's pixels are off. Of it only transform and CRS count.

        Raises:
            EmptySourceError: no scene has a place on the Earth.
            ConfigError: a CRS that PROJ does not know, or that the first scene has no place in.
        """
        return self._grid

    def area(self) -> Window:
        """The smallest window around all tiles. Raises as `grid`."""
        return around_all(self.windows())

    def ground(self) -> tuple[Window, ...]:
        """The smallest window around each scene's tiles. Raises as `grid`."""
        return tuple(around_all(windows) for windows in self._windows.values())

    def windows(self) -> Sequence[Window]:
        """Of every tile that `build` looks at. Raises as `grid`."""
        return [window for windows in self._windows.values() for window in windows]

    def window_around(self, bounds: Bounds) -> Window:
        """The smallest window that holds `bounds`, in the common grid's CRS: for ground to be reserved. Raises as `grid`."""
        return self._grid.around(bounds)

    def sources(self) -> Sequence[ScenesSource]:
        """Raises as `PairBuilder.sources` and `grid`, and `PairingError` where names do not match."""
        return [source for scene in self._scenes for source in self._of_scene(scene)]

    def build(self, source: ScenesSource) -> Iterator[Outcome]:
        if source.refused or not source.block:
            if source.refused:
                yield source.refused
            return
        ground = dict(zip(source.block.windows, source.ground, strict=True))
        split = directory_split(source.scene)
        for outcome in MapsBuilder(source.paths, self.parameters).build(source.block):
            window, source_id = ground[outcome.window] if outcome.window else None, source.source_id
            if isinstance(outcome, Rejected):
                yield replace(outcome, source_id=source_id, item=f"{source.scene}/{outcome.item}", window=window)
                continue
            pair_id, known = f"{source.scene}/{outcome.pair_id}", {**outcome.attributes, "scene": source.scene}
            if split:
                known["split"] = split
            yield replace(outcome, source_id=source_id, pair_id=pair_id, window=window, attributes=known)

    def _of_scene(self, scene: str) -> list[ScenesSource]:
        """Its blocks, or one source that says why it has none."""
        paths, grid = self._scenes[scene], self._grids.get(scene)
        files = {
            f"{role}/{path.relative_to(place).as_posix()}": source_digest(path)
            for role, path, place in zip(ROLES, paths, self.directories, strict=True)
        }
        beside = [found.name for path in paths if (found := place_beside(path))]
        digest = sha256_json([files, self._grid.crs, self._grid.transform, *beside])
        try:
            refuse_place_beside(paths)
            if grid is None:
                with open_raster(paths[1]) as target:
                    grid_of(target)  # says why
            blocks = MapsBuilder(paths, self.parameters).sources()
        except P2PError as error:
            reason = error.reason if isinstance(error, RasterError) else "misfit"
            if reason == "missing":  # it was there when directories were listed: not a verdict to keep
                raise
            named = Places(dict(zip(ROLES, self.directories, strict=True)))
            refused = Rejected(scene, scene, reason, named.without(error.problem))
            return [ScenesSource(scene, digest, 0, files, scene, paths, None, (), refused)]
        if grid is None:
            refused = Rejected(scene, scene, "no_place", f"It has no place in the common grid's CRS, {self._grid.crs}")
            return [ScenesSource(scene, digest, 0, files, scene, paths, None, (), refused)]
        return [
            ScenesSource(
                f"{scene}/{block.source_id}",
                digest,
                block.max_pairs,
                files,
                scene,
                paths,
                block,
                tuple(self._window(grid, window) for window in block.windows),
                None,
            )
            for block in blocks
        ]

    def _window(self, grid: Grid, window: Window) -> Window:
        """A window of a scene's target -> the window of the common grid that holds its ground."""
        bounds = window_bounds(grid.transform, window)
        if grid.crs == self._grid.crs:
            return self._grid.around(bounds)
        # A pixel more: edges bend between the points that are looked at.
        return self._grid.around(reproject_bounds(bounds, grid.crs, self._grid.crs)).grow(1)

    def __getstate__(self) -> dict[str, object]:
        return {"directories": self.directories, "parameters": self.parameters}  # workers need none of what is kept here

    @cached_property
    def _windows(self) -> dict[str, list[Window]]:
        """Of the tiles of every scene that has any."""
        found = {}
        for scene, grid in self._grids.items():
            windows = [self._window(grid, window) for window in MapsBuilder(self._scenes[scene], self.parameters).windows()]
            if windows:
                found[scene] = windows
        if not found:
            raise EmptySourceError(f"No tile of {self.parameters.tile_px} px fits a scene", remedy="Choose smaller tiles")
        return found

    @cached_property
    def _scenes(self) -> dict[str, tuple[Path, Path]]:
        endings = self.parameters.input_suffix, self.parameters.target_suffix
        found = [find_pictures(place, ending) for place, ending in zip(self.directories, endings, strict=True)]
        return match_pictures(found[0], found[1], what="scenes")

    @cached_property
    def _placed(self) -> dict[str, Grid]:
        """The target's grid of every scene that has one."""
        placed = {}
        for scene, (_, target_path) in self._scenes.items():
            try:
                with open_raster(target_path) as target:
                    placed[scene] = grid_of(target)
            except P2PError:  # will be rejected, with its reason, when it is built
                continue
        if not placed:
            raise EmptySourceError(
                f"None of the {len(self._scenes)} rasters in {self.directories[1]} has a place on the Earth",
                remedy="Georeference them; pictures without a place are cut from plain images (PNG, JPEG, WebP)",
            )
        return placed

    @cached_property
    def _grid(self) -> Grid:
        first = next(iter(self._placed.values()))
        crs = self.parameters.ground_crs or first.crs
        try:
            there = reproject_bounds(first.bounds, first.crs, crs)
        except SizeMismatchError as error:
            raise ConfigError(error.problem, remedy="Choose a ground_crs that the scenes lie in") from error
        if crs == first.crs:
            a, e = abs(first.transform[0] or first.transform[1]), abs(first.transform[4] or first.transform[3])
        else:
            a, e = (there.east - there.west) / first.width_px, (there.north - there.south) / first.height_px
        return Grid(crs, (a, 0.0, there.west % a, 0.0, -e, there.north % e), 1, 1)

    @cached_property
    def _grids(self) -> dict[str, Grid]:
        """The target's grid of every scene that lies in the common one."""
        inside = {}
        for scene, grid in self._placed.items():
            try:
                there = reproject_bounds(grid.bounds, grid.crs, self._grid.crs)
            except SizeMismatchError:  # will be rejected as `no_place`
                continue
            if there.west < there.east:  # else it lies across the antimeridian of that CRS
                inside[scene] = grid
        return inside
