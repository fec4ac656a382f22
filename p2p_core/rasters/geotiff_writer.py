"""Write any raster as one tiled, compressed GeoTIFF: block by block, whole or not at all, the same bytes every time.

What was written is read back and compared before it gets its name: GDAL flushes its last blocks when a file is closed,
and a disk that fills up just then goes unreported.
"""

from __future__ import annotations

import os
import uuid
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from p2p_core.errors import OutputError
from p2p_core.files import output_errors
from p2p_core.geometry import Window
from p2p_core.rasters.geotiff import parse_crs
from p2p_core.rasters.grid import Grid
from p2p_core.rasters.protocol import Raster

__all__ = ["write_geotiff"]

BLOCK_PX = 256
# Many blocks a write: rows of blocks keep the sources' own blocks in use, and memory stays at tens of MB.
_BAND_HEIGHT_PX, _BAND_WIDTH_PX = 2 * BLOCK_PX, 32 * BLOCK_PX
_CACHE_MB = 64  # GDAL's own choice is a twentieth of the machine's memory


def write_geotiff(dest: Path, raster: Raster, *, grid: Grid | None = None) -> None:
    """Copy `raster` to `dest`, which appears only when complete and replaces what was there.

    Args:
        grid: where the pixels lie, for a raster that does not know; its size is the raster's.

    Raises:
        OutputError: the place is read-only or full.
        RasterError: the raster's pixels cannot be read.
        ConfigError: PROJ does not know the CRS.
    """
    if grid is not None and (grid.height_px, grid.width_px) != (raster.height_px, raster.width_px):
        raise ValueError(f"{raster.name} has {raster.height_px} x {raster.width_px} px, its grid {grid}")
    with output_errors(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        temporary = dest.with_name(f".{dest.name}.{uuid.uuid4().hex}.partial")
        try:
            with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB), _write_errors(dest):
                written = _copy(raster, temporary, _profile(raster, grid))
                if _checksums(temporary, raster) != written:
                    raise _refused(dest, "what was read back differs from what was written")
            _flush_to_disk(temporary)
            temporary.replace(dest)
        finally:
            temporary.unlink(missing_ok=True)


def _profile(raster: Raster, grid: Grid | None) -> dict[str, object]:
    crs, transform = (raster.crs, raster.transform) if grid is None else (grid.crs, grid.transform)
    return {
        "driver": "GTiff",
        "height": raster.height_px,
        "width": raster.width_px,
        "count": raster.bands,
        "dtype": raster.dtype,
        "nodata": raster.nodata,
        "crs": None if crs is None else parse_crs(crs),
        "transform": None if transform is None else rasterio.Affine(*transform),
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "interleave": "pixel",
        "photometric": "RGB" if raster.bands == 3 and raster.dtype.kind == "u" else "MINISBLACK",
        # Level 1 with the predictor is twice as fast as the default level and an eighth larger.
        "compress": "deflate",
        "zlevel": 1,
        "predictor": 3 if raster.dtype.kind == "f" else 2,
        "bigtiff": "IF_SAFER",
    }


def _copy(raster: Raster, temporary: Path, profile: dict[str, object]) -> list[int]:
    """Returns the checksum of every band of blocks."""
    checksums = []
    with rasterio.open(str(temporary), "w", **profile) as dataset:
        for window in _bands_of_blocks(raster):
            pixels_CHW = np.ascontiguousarray(np.moveaxis(raster.read(window), 2, 0))
            dataset.write(pixels_CHW, window=_place(window))
            checksums.append(zlib.crc32(pixels_CHW.data))
    return checksums


def _checksums(path: Path, raster: Raster) -> list[int]:
    with rasterio.open(str(path)) as dataset:
        return [zlib.crc32(dataset.read(window=_place(window))) for window in _bands_of_blocks(raster)]


def _place(window: Window) -> RasterioWindow:
    return RasterioWindow(window.x_px, window.y_px, window.width_px, window.height_px)


def _bands_of_blocks(raster: Raster) -> Iterator[Window]:
    for y_px in range(0, raster.height_px, _BAND_HEIGHT_PX):
        for x_px in range(0, raster.width_px, _BAND_WIDTH_PX):
            yield Window(y_px, x_px, _BAND_HEIGHT_PX, _BAND_WIDTH_PX).clip(raster.height_px, raster.width_px)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _write_errors(dest: Path) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain image stays one
        try:
            yield
        except (RasterioError, CPLE_BaseError) as error:
            raise _refused(dest, str(error)) from error


def _refused(dest: Path, detail: str) -> OutputError:
    return OutputError(
        f"{dest} cannot be written: {detail}",
        remedy="Check that the disk has room and that you may write there, then run the same command again",
    )
