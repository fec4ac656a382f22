"""The page's pictures: the translated scene beside its input and the truth, sheets of tiles, and the mosaic of XYZ tiles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2p_core.errors import EmptySourceError
from p2p_core.pairstore.reader import PairStore
from p2p_core.report.pictures import Picture, as_rgb, open_part, picture, preview, read_preview

__all__ = ["Mosaic", "Scene", "Sheet", "mosaic", "pairs_sheet", "scene", "training_sheets", "whole_sheet"]

SCENE_PX = 1400
MOSAIC_PX = 1024
SHEET_PX = 1200
NUM_TRAINING_SHEETS = 4
PAIRS_SHOWN, PAIRS_A_ROW = 8, 2


@dataclass(frozen=True)
class Scene:
    input: Picture
    generated: Picture
    target: Picture
    size: str
    crs: str
    num_megabytes: float


@dataclass(frozen=True)
class Sheet:
    picture: Picture
    label: str


@dataclass(frozen=True)
class Mosaic:
    input: Picture | None
    generated: Picture
    zooms: str
    num_tiles: int


def scene(directory: Path) -> Scene:
    """The region translated as one scene. Raises `RasterError` or `EmptySourceError` where one of the three is absent."""
    output = directory / "scene.tif"
    with open_part(output) as raster:
        generated_HWC = preview(raster, SCENE_PX)
        size, crs = f"{raster.width_px} x {raster.height_px} px", raster.crs or "no CRS"
    input_HWC = read_preview(directory / "sources" / "scene.tif", SCENE_PX)
    target_HWC = read_preview(directory / "sources" / "scene_target.tif", SCENE_PX)
    return Scene(
        input=picture(input_HWC, "The region as the input map shows it"),
        generated=picture(generated_HWC, "The same region as the model painted it from the map"),
        target=picture(target_HWC, "The same region in the true Blue Marble"),
        size=size,
        crs=crs,
        num_megabytes=output.stat().st_size / 1e6,
    )


def whole_sheet(path: Path, alt: str) -> Picture:
    """A contact sheet at page width."""
    return picture(read_preview(path, 4 * SHEET_PX), alt, width_px=SHEET_PX)


def training_sheets(run_dir: Path) -> tuple[Sheet, ...]:
    """The first and the last sheet of a run and some between, at even distances. Raises `EmptySourceError` for none."""
    paths = sorted((run_dir / "sheets").glob("*.png"), key=lambda path: (images_seen(path), path.name))
    if not paths:
        raise EmptySourceError(f"{run_dir / 'sheets'} holds no sheets", remedy="Train for longer than one validation interval")
    count = min(NUM_TRAINING_SHEETS, len(paths))
    chosen = [paths[round(i * (len(paths) - 1) / max(1, count - 1))] for i in range(count)]
    return tuple(_training_sheet(path) for path in chosen)


def _training_sheet(path: Path) -> Sheet:
    label = f"after {images_seen(path):,} images" if re.search(r"\d", path.stem) else path.stem
    alt = f"Input, generated and target of validation tiles {label}"
    return Sheet(whole_sheet(path, alt), label)


def images_seen(path: Path) -> int:
    """The number in a sheet's file name."""
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else 0


def pairs_sheet(store_path: Path, alt: str) -> Picture:
    """The first pairs of a store's training split, input beside target, some pairs a row. Raises `StoreError` for none."""
    split = PairStore.open(store_path).split("train")
    pairs = [split.read(i) for i in range(min(len(split), PAIRS_SHOWN))]
    tiles = [np.concatenate([as_rgb(input_HWC), as_rgb(target_HWC)], axis=1) for input_HWC, target_HWC in pairs]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % PAIRS_A_ROW)
    rows = [np.concatenate(tiles[i : i + PAIRS_A_ROW], axis=1) for i in range(0, len(tiles), PAIRS_A_ROW)]
    return picture(np.concatenate(rows), alt)


def mosaic(directory: Path) -> Mosaic:
    """All tiles of the exported XYZ tree as one picture, beside the tiles they were made from (left out if absent)."""
    tiles = directory / "xyz-tiles"
    generated = picture(read_preview(tiles, MOSAIC_PX), "The translated map tiles put together")
    paths = [p for p in tiles.glob("*/*/*.*") if p.parent.parent.name.isdecimal()]
    zooms = sorted({int(p.parent.parent.name) for p in paths})
    sources = directory / "sources" / "xyz"
    before = picture(read_preview(sources, MOSAIC_PX), "The map tiles as they came") if sources.exists() else None
    return Mosaic(before, generated, ", ".join(map(str, zooms)), len(paths))
