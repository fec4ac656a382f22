"""Write any raster as one tiled, compressed GeoTIFF or COG: block by block, whole or not at all, the same bytes every time.

What was written is read back and compared before it gets its name: GDAL flushes its last blocks when a file is closed,
and a disk that fills up just then goes unreported.
"""

from __future__ import annotations

import os
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from p2p_core.errors import OutputError
from p2p_core.files import output_errors
from p2p_core.geometry import Window
from p2p_core.rasters.band_order import bands_first
from p2p_core.rasters.geotiff import parse_crs
from p2p_core.rasters.grid import Grid
from p2p_core.rasters.protocol import Raster

__all__ = ["write_cog", "write_geotiff"]

BLOCK_PX = 256
# Many blocks a write: rows of blocks keep the sources' own blocks in use, and memory stays at tens of MB.
_BAND_HEIGHT_PX, _BAND_WIDTH_PX = 2 * BLOCK_PX, 32 * BLOCK_PX
_COG = {
    "BLOCKSIZE": BLOCK_PX,  # small, so that also a small scene gets overviews
    "COMPRESS": "DEFLATE",
    "PREDICTOR": "YES",
    "OVERVIEW_RESAMPLING": "AVERAGE",
    "BIGTIFF": "IF_SAFER",
}
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
    with _scratch_beside(dest) as scratch, _write_errors(dest):
        whole = scratch / "plain.tif"
        _write_checked(whole, raster, grid, {})
        _give_name(whole, dest)


def write_cog(dest: Path, raster: Raster, tags: Mapping[str, str]) -> None:
    """Copy `raster` to `dest` as a Cloud Optimized GeoTIFF with overviews and `tags`, with what `write_geotiff` promises.

    Memory does not grow with the raster: its blocks go into a temporary GeoTIFF beside `dest`, GDAL does the rest.

    Raises:
        OutputError: the place is read-only or full.
        RasterError: the raster's pixels cannot be read.
        ConfigError: PROJ does not know the CRS.
    """
    with _scratch_beside(dest) as scratch, _write_errors(dest):
        plain, whole = scratch / "plain.tif", scratch / "cog.tif"
        written = _write_checked(plain, raster, None, tags)
        rasterio.shutil.copy(str(plain), str(whole), driver="COG", **_COG)
        _require_equal(whole, raster, written)
        _decode_overviews(whole)
        _give_name(whole, dest)


def _write_checked(path: Path, raster: Raster, grid: Grid | None, tags: Mapping[str, str]) -> list[int]:
    """Write the pixels and read them back; returns the checksum of every band of blocks."""
    written = _copy(raster, path, _profile(raster, grid), tags)
    _require_equal(path, raster, written)
    return written


def _require_equal(path: Path, raster: Raster, written: list[int]) -> None:
    with rasterio.open(str(path)) as dataset:
        windows = _bands_of_blocks(raster.height_px, raster.width_px)
        if [zlib.crc32(dataset.read(window=_place(window))) for window in windows] != written:
            raise RasterioError("what was read back differs from what was written")


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


def _copy(raster: Raster, path: Path, profile: dict[str, object], tags: Mapping[str, str]) -> list[int]:
    """Returns the checksum of every band of blocks."""
    checksums = []
    with rasterio.open(str(path), "w", **profile) as dataset:
        dataset.update_tags(**tags)
        for window in _bands_of_blocks(raster.height_px, raster.width_px):
            pixels_CHW = bands_first(raster.read(window))
            dataset.write(pixels_CHW, window=_place(window))
            checksums.append(zlib.crc32(pixels_CHW.data))
    return checksums


def _decode_overviews(path: Path) -> None:
    """A block that was cut short does not decode: deflate carries a checksum of its own."""
    with rasterio.open(str(path)) as dataset:
        num_overviews = len(dataset.overviews(1))
    for level in range(num_overviews):
        with rasterio.open(str(path), overview_level=level) as overview:
            for window in _bands_of_blocks(overview.height, overview.width):
                overview.read(window=_place(window))


def _place(window: Window) -> RasterioWindow:
    return RasterioWindow(window.x_px, window.y_px, window.width_px, window.height_px)


def _bands_of_blocks(height_px: int, width_px: int) -> Iterator[Window]:
    for y_px in range(0, height_px, _BAND_HEIGHT_PX):
        for x_px in range(0, width_px, _BAND_WIDTH_PX):
            yield Window(y_px, x_px, _BAND_HEIGHT_PX, _BAND_WIDTH_PX).clip(height_px, width_px)


@contextmanager
def _scratch_beside(dest: Path) -> Iterator[Path]:
    """A directory that is gone afterwards, with whatever GDAL left in it."""
    with output_errors(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{dest.name}.", suffix=".partial", dir=dest.parent) as scratch:
            yield Path(scratch)


def _give_name(whole: Path, dest: Path) -> None:
    with whole.open("rb") as file:
        os.fsync(file.fileno())
    with output_errors(dest):
        whole.replace(dest)


@contextmanager
def _write_errors(dest: Path) -> Iterator[None]:
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain image stays one
        try:
            yield
        except (RasterioError, CPLE_BaseError) as error:
            raise OutputError(
                f"{dest} cannot be written: {str(error).removesuffix('.')}",
                # GDAL names the tile it could not write, and the reason on standard error alone.
                remedy="Most often the disk is full: free space there or choose another place, then run the same command again",
            ) from error
