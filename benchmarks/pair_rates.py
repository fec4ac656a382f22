"""Claim: dataset builds take little more than decoding their sources and compressing their pairs.

Three builds, each in this process, interleaved with its codecs alone and with a plain PIL loop, on real pictures
(MAPS_DIR, 1200x600 px, an aerial photo on the left and its map on the right):

- tiling: the halves pasted to two GeoTIFFs of 4,800x4,800 px (tiled, deflate), cut into pairs of 256 px by `maps`;
- colour: the pictures as photos, made 256 px for colorization by `colour`;
- side by side: the pictures as pairs of 600 px, by `folders`.

Codecs alone: the same sources decoded by the same decoder, the same pairs compressed as the store does, in one thread.
PIL loop: opens each source with Pillow, cuts or scales, saves each half of a pair as a PNG file with its defaults.

    python -m benchmarks.pair_rates MAPS_DIR [--rounds 5] [--pictures 192]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from PIL import Image

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from p2p_core.pairstore import PairStore
from p2p_core.pairstore.layout import SPLITS, StoreLayout
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster
from preprocessing.build import build_dataset
from preprocessing.colour import ColourBuilder, ColourParameters
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.maps import MapsBuilder, MapsParameters
from preprocessing.pairs import PairBuilder
from preprocessing.split import BlockSplit, NameSplit, SplitRule

_ZSTD = Zstd(level=1, checksum=True)  # as the store compresses pairs
_TILE_PX, _SHEET = 256, 8
# As many pairs to a shard as a dataset of thousands has: few sources in the 32 buckets of the default would be few to each.
_LAYOUT = StoreLayout(num_buckets=8)


@dataclass(frozen=True)
class Kind:
    """`sources`: what is decoded, whole. `save_pairs(out)`: what the PIL loop does."""

    builder: PairBuilder[Any]
    split_rule: SplitRule
    sources: tuple[Path, ...]
    save_pairs: Callable[[Path], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("maps", type=Path, metavar="MAPS_DIR", help="a directory of 1200x600 px JPEG pictures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--work", type=Path, default=None, metavar="DIR", help="where sources and stores are made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as directory:
        work = Path(directory)
        pictures = _pictures(options.maps, work / "pictures", options.pictures)
        kinds = {
            "tiling": _tiling(pictures, work),
            "colour": Kind(
                ColourBuilder((work / "pictures",), ColourParameters()), NameSplit(), pictures, _colour_loop(pictures)
            ),
            "side by side": Kind(
                FoldersBuilder((work / "pictures",), FoldersParameters(layout="side_by_side")),
                NameSplit(),
                pictures,
                _side_by_side_loop(pictures),
            ),
        }
        rows = [row for name, kind in kinds.items() for row in _rows(name, kind, work, options.rounds)]
    write_result("pair-rates", _page(rows, options))


def _pictures(maps: Path, out: Path, count: int) -> tuple[Path, ...]:
    """Copies of different bytes: what is over the number of real pictures is mirrored."""
    found = sorted(maps.rglob("*.jpg"))
    out.mkdir()
    made = []
    for number in range(count):
        path = out / f"{number:05d}.jpg"
        picture_HWC = cv2.imread(str(found[number % len(found)]))
        cv2.imwrite(str(path), picture_HWC if number < len(found) else picture_HWC[::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        made.append(path)
    return tuple(made)


def _tiling(pictures: tuple[Path, ...], work: Path) -> Kind:
    halves = [np.hsplit(np.asarray(Image.open(path)), 2) for path in pictures[: _SHEET**2]]
    rasters = tuple(work / f"{name}.tif" for name in ("map", "aerial"))
    for path, side in zip(rasters, (1, 0), strict=True):
        rows = [np.concatenate([half[side] for half in halves[_SHEET * row :][:_SHEET]], axis=1) for row in range(_SHEET)]
        _write_geotiff(path, np.concatenate(rows))
    builder = MapsBuilder(rasters, MapsParameters(tile_px=_TILE_PX))
    return Kind(builder, BlockSplit(area=builder.area(), block_px=1200), rasters, _tiling_loop(rasters))


def _write_geotiff(path: Path, pixels_HWC: NDArray[np.uint8]) -> None:
    height_px, width_px, bands = pixels_HWC.shape
    profile = {"driver": "GTiff", "height": height_px, "width": width_px, "count": bands, "dtype": "uint8"}
    place = {"crs": "EPSG:3857", "transform": rasterio.Affine(1, 0, 500_000, 0, -1, 5_000_000)}
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "photometric": "RGB"}
    with rasterio.open(path, "w", **profile, **place, **layout) as dataset:
        dataset.write(np.moveaxis(pixels_HWC, 2, 0))


def _tiling_loop(rasters: tuple[Path, ...]) -> Callable[[Path], None]:
    def loop(out: Path) -> None:
        sheets = [Image.open(path).convert("RGB") for path in rasters]
        for y in range(0, sheets[0].height - _TILE_PX + 1, _TILE_PX):
            for x in range(0, sheets[0].width - _TILE_PX + 1, _TILE_PX):
                for side, sheet in enumerate(sheets):
                    sheet.crop((x, y, x + _TILE_PX, y + _TILE_PX)).save(out / f"{y}_{x}_{side}.png")

    return loop


def _colour_loop(pictures: tuple[Path, ...]) -> Callable[[Path], None]:
    def loop(out: Path) -> None:
        for path in pictures:
            with Image.open(path) as picture:
                side_px = min(picture.size)
                left = (picture.width - side_px) // 2
                photo = picture.convert("RGB").resize((256, 256), Image.Resampling.LANCZOS, (left, 0, left + side_px, side_px))
            photo.convert("L").save(out / f"{path.stem}_A.png")
            photo.save(out / f"{path.stem}_B.png")

    return loop


def _side_by_side_loop(pictures: tuple[Path, ...]) -> Callable[[Path], None]:
    def loop(out: Path) -> None:
        for path in pictures:
            with Image.open(path) as picture:
                rgb = picture.convert("RGB")
            middle = rgb.width // 2
            rgb.crop((0, 0, middle, rgb.height)).save(out / f"{path.stem}_A.png")
            rgb.crop((middle, 0, rgb.width, rgb.height)).save(out / f"{path.stem}_B.png")

    return loop


def _rows(name: str, kind: Kind, work: Path, rounds: int) -> Iterator[tuple[str, ...]]:
    summary = build_dataset(kind.builder, work / "first", kind.split_rule, layout=_LAYOUT)
    pairs = [
        array for split in SPLITS if summary.counts[split] for array in PairStore.open(work / "first").split(split).read_all()
    ]
    num_pairs = sum(summary.counts.values())
    ways: dict[str, Callable[[Path], object]] = {
        "build": lambda place: build_dataset(kind.builder, place / "store", kind.split_rule, layout=_LAYOUT),
        "codecs alone": lambda place: _codecs(kind.sources, pairs, place),
        "PIL loop": kind.save_pairs,
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, run in ways.items():
            place = work / "round"
            place.mkdir()
            started_s = time.perf_counter()
            run(place)
            if number:
                rates[way].append(num_pairs / (time.perf_counter() - started_s))
            shutil.rmtree(place)
    shutil.rmtree(work / "first")
    medians = {way: statistics.median(values) for way, values in rates.items()}
    for way, values in rates.items():
        ratio = f"{medians['build'] / medians[way]:.2f}x"
        yield (name, way, f"{num_pairs}", f"{medians[way]:.1f}", f"{min(values):.1f}", f"{max(values):.1f}", ratio)


def _codecs(sources: tuple[Path, ...], pairs: list[NDArray[Any]], place: Path) -> None:
    for path in sources:
        with open_raster(path) as raster:
            window = full_window(raster)
            for top in range(0, window.height_px, 1024):  # as the maps builder reads them
                raster.read(type(window)(top, 0, min(1024, window.height_px - top), window.width_px))
    for number, images_NHWC in enumerate(pairs):
        (place / f"{number}").write_bytes(b"".join(_ZSTD.encode(image_HWC) for image_HWC in images_NHWC))


def _page(rows: list[tuple[str, ...]], options: argparse.Namespace) -> str:
    head = ("dataset", "way", "pairs", "pairs/s (median)", "slowest", "fastest", "build is")
    return f"""# Rates of dataset builds beside their codecs alone and beside a plain loop

{table(head, rows)}

{options.rounds} interleaved rounds after one that is not counted. A build runs in one process; its compression and its
writing run in a thread beside its decoding. Codecs alone: the same sources decoded, the same pairs compressed, one after
the other.

{hardware_name()}.

    python -m benchmarks.pair_rates MAPS_DIR --rounds {options.rounds} --pictures {options.pictures}
"""


if __name__ == "__main__":
    main()
