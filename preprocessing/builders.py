"""The builders there are, by the name the command line and the flows call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2p_core.config import Config
from p2p_core.rasters.registry import is_xyz, may_be_placed
from p2p_core.rasters.zarr_array import is_zarr
from preprocessing.colour import ColourBuilder, ColourParameters
from preprocessing.edges.builder import EdgesBuilder, EdgesParameters
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.frames import FramesBuilder, FramesParameters
from preprocessing.gray import GrayBuilder
from preprocessing.holes import HolesBuilder, HolesParameters
from preprocessing.labels import LabelsBuilder, LabelsParameters
from preprocessing.maps import MapsBuilder, MapsParameters
from preprocessing.matching import visible_files
from preprocessing.pairs import PairBuilder
from preprocessing.palette import PaletteBuilder, PaletteParameters
from preprocessing.plain_tiles import PlainTilesBuilder
from preprocessing.scenes import ScenesBuilder
from preprocessing.sizing import PictureParameters
from preprocessing.tiles import TilesBuilder

__all__ = ["BUILDERS", "BuilderKind"]


@dataclass(frozen=True)
class BuilderKind:
    """`make(sources, parameters)`, where `parameters` is one of the type that is named; `sources` says what they are."""

    parameters: type[Config]
    make: Callable[[tuple[Path, ...], Any], PairBuilder[Any]]
    sources: str


def _make_maps(
    sources: tuple[Path, ...], parameters: MapsParameters
) -> MapsBuilder | TilesBuilder | ScenesBuilder | PlainTilesBuilder:
    if len(sources) == 2 and all(map(is_xyz, sources)):
        return TilesBuilder(sources, parameters)
    if 1 <= len(sources) <= 2 and all(source.is_dir() and not is_xyz(source) and not is_zarr(source) for source in sources):
        plain = len(sources) == 1 or not any(map(may_be_placed, visible_files(sources[-1])))
        return PlainTilesBuilder(sources, parameters) if plain else ScenesBuilder(sources, parameters)
    return MapsBuilder(sources, parameters)


BUILDERS: dict[str, BuilderKind] = {
    "edges": BuilderKind(EdgesParameters, EdgesBuilder, "the photos' directory, then other HED weights if wanted"),
    "maps": BuilderKind(
        MapsParameters,
        _make_maps,
        "the input raster, then the target raster of the same ground (one may be a vector map); two XYZ trees z/x/y.png; two"
        " directories of scenes; or one directory of side-by-side pictures",
    ),
    "colour": BuilderKind(ColourParameters, ColourBuilder, "the photos' directory"),
    "gray": BuilderKind(PictureParameters, GrayBuilder, "the photos' directory"),
    "labels": BuilderKind(LabelsParameters, LabelsBuilder, "the photos' directory, then that of their label pictures"),
    "holes": BuilderKind(HolesParameters, HolesBuilder, "the photos' directory"),
    "palette": BuilderKind(PaletteParameters, PaletteBuilder, "the directory of photos, or of palettes as pictures"),
    "folders": BuilderKind(
        FoldersParameters, FoldersBuilder, "the inputs' directory, then the targets'; or one of side-by-side pictures"
    ),
    "frames": BuilderKind(FramesParameters, FramesBuilder, "the input clips' directory, then the target clips'"),
}
