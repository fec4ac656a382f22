"""Claim: what drawing a vector map costs, opening it apart: a tile of 256 px, and the world at 4096x2048.

The file is drawn in the default style (areas and their outlines) on a grid in degrees. Opening is reading, unrolling and
clipping; it is done once a process. Each figure is the median of some rounds, in seconds of one core's time.

    python -m benchmarks.vector_maps VECTOR_FILE [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from p2p_core.geometry import Window
from p2p_core.rasters.grid import Bounds, transform_of_bounds
from p2p_core.rasters.protocol import Raster, full_window
from p2p_core.rasters.registry import open_raster
from p2p_core.rasters.vector import draw_layers, open_vector
from p2p_core.rasters.vector_file import read_vector_file

_HEIGHT_PX, _WIDTH_PX = 2048, 4096
_TILES = {"Mediterranean": (12.0, 42.0), "Indonesia": (105.0, 0.0), "open sea": (-140.0, 10.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, metavar="VECTOR_FILE")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, open_raster(_world(Path(directory))) as world:
        rows = _rows(options.file, world, options.rounds)
    features = read_vector_file(options.file).features
    title = f"# Vector maps\n\n{hardware_name()}, one process."
    head = f"{title} {options.file.name}: {len(features)} features, drawn in the default style.\n\n"
    write_result("vector-maps", head + table(("what", "CPU seconds"), rows) + "\n")


def _rows(file: Path, world: Raster, rounds: int) -> list[tuple[str, str]]:
    def opened() -> None:
        draw_layers.cache_clear()
        open_vector(file, world).close()

    def drawn(window: Window) -> Callable[[], object]:
        return lambda: open_vector(file, world).read(window)  # a new reader: no cell is remembered

    rows = [("open", _median_s(opened, rounds))]
    for name, (longitude, latitude) in _TILES.items():
        y_px = int((90 - latitude) / 180 * _HEIGHT_PX) // 256 * 256
        x_px = int((longitude + 180) / 360 * _WIDTH_PX) // 256 * 256
        rows.append((f"tile of 256 px on the cells' grid, {name}", _median_s(drawn(Window(y_px, x_px, 256, 256)), rounds)))
        rows.append(
            (f"tile of 256 px over four cells, {name}", _median_s(drawn(Window(y_px - 128, x_px - 128, 256, 256)), rounds))
        )
    rows.append((f"the world, {_WIDTH_PX}x{_HEIGHT_PX} px", _median_s(drawn(full_window(world)), rounds)))
    return [(what, f"{seconds:.3f}") for what, seconds in rows]


def _median_s(work: Callable[[], object], rounds: int) -> float:
    times_s = []
    for _ in range(rounds):
        started_s = time.process_time()
        work()
        times_s.append(time.process_time() - started_s)
    return statistics.median(times_s)


def _world(directory: Path) -> Path:
    transform = rasterio.Affine(*transform_of_bounds(Bounds(-180, -90, 180, 90), _HEIGHT_PX, _WIDTH_PX))
    shape = {"height": _HEIGHT_PX, "width": _WIDTH_PX, "count": 1, "dtype": "uint8", "crs": "EPSG:4326", "transform": transform}
    with rasterio.open(directory / "world.tif", "w", driver="GTiff", **shape) as dataset:
        dataset.write(np.zeros((1, _HEIGHT_PX, _WIDTH_PX), np.uint8))
    return directory / "world.tif"


if __name__ == "__main__":
    main()
