"""GeoTIFF, COG and VRT through rasterio, read by window, as they are or resampled onto another grid.

`warped` reads a raster on somebody else's grid. How it resamples is chosen by how many of the source's pixels one
pixel of the grid spans, measured at the grid's centre: at least 2 on an axis (halving or more) takes the area-weighted
`average`, so that 2:1 on aligned grids is the mean of each 2 x 2 block; anything else takes `bilinear`.

A warped pixel depends on its place alone, never on the window it is read with, so results of any cutting join without
seams. Three settings make that true: GDAL's filter width is pinned by XSCALE and YSCALE (it is otherwise derived anew
for every chunk: a quarter of a million pixels differ between one 1024 px warp and its sixteen tiles); the coordinate
transformation is exact instead of approximated along each chunk's rows; and integers of up to 16 bits are warped as
float32 and rounded here, half up, because GDAL's own rounding sends some halves down.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.warp
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # GDAL's own errors pass through some calls unwrapped
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from p2p_core.errors import ConfigError, RasterError, SizeMismatchError
from p2p_core.geometry import Window
from p2p_core.rasters.band_order import bands_last
from p2p_core.rasters.grid import Bounds, Grid, Transform
from p2p_core.rasters.protocol import Raster, grid_of, measured_pixels, require_inside

__all__ = [
    "GEOTIFF_SUFFIXES",
    "MAX_BLOCK_PIXELS",
    "DatasetRaster",
    "ResamplingName",
    "open_geotiff",
    "reproject_bounds",
    "warped",
]

ResamplingName = Literal["nearest", "bilinear", "average"]

GEOTIFF_SUFFIXES = (".tif", ".tiff", ".vrt")
_DRIVERS = {".vrt": "VRT"}  # and GTiff otherwise: a file of another kind is refused, whatever GDAL could make of it

MAX_BLOCK_PIXELS = 2**28
"""GDAL decodes whole blocks (tiles or strips). A file with larger ones is refused as a decompression bomb."""

_EXACT_PX = 1e-6  # rasterio 1.4 cannot make a WarpedVRT with 0
_AVERAGE_FROM = 2.0
_UNMEASURED = -(2.0**20)
_UNMEASURED_FLOAT = -(2.0**120)
"""What a warped pixel holds where the source has nothing: no integer of 16 bits is the one, no measurement the other."""


class DatasetRaster(Raster):
    """A rasterio dataset as `Raster`; owns what is in `resources` and closes it.

    `warped_from`: the dataset is a warped view of that one, whose dtype and nodata are what is read. `has_mask`: the file
    tells what was not measured by a mask of its own, instead of a nodata value.
    """

    def __init__(self, name: str, dataset: Any, resources: ExitStack, *, warped_from: DatasetRaster | None = None) -> None:
        self.name = name
        self.height_px, self.width_px, self.bands = dataset.height, dataset.width, dataset.count
        self._read_dtype: np.dtype[Any] = np.dtype(dataset.dtypes[0])
        self.dtype: np.dtype[Any] = warped_from.dtype if warped_from else self._read_dtype
        self.crs = _crs_name(dataset.crs)
        located = self.crs is not None or not dataset.transform.is_identity
        self.transform: Transform | None = tuple(dataset.transform)[:6] if located else None
        nodata: float | None = warped_from.nodata if warped_from else dataset.nodata
        self.nodata: float | None = None if nodata is None else float(nodata)
        self._nothing: float | None = dataset.nodata
        self.has_mask = dataset.nodata is None and MaskFlags.per_dataset in dataset.mask_flag_enums[0]
        self._dataset = dataset
        self._resources = resources

    def read(self, window: Window) -> NDArray[Any]:
        return self.read_measured(window)[0]

    def read_measured(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        require_inside(window, self)
        if window.height_px == 0 or window.width_px == 0:
            size = window.height_px, window.width_px
            return np.empty((*size, self.bands), self.dtype), np.empty(size, np.bool_)
        place = RasterioWindow(window.x_px, window.y_px, window.width_px, window.height_px)
        with _gdal_errors(self.name):
            pixels_CHW = self._dataset.read(window=place)
            mask_HW = self._dataset.dataset_mask(window=place) if self.has_mask else None
        measured_HW = measured_pixels(pixels_CHW, self._nothing, self.dtype, axis=0) if mask_HW is None else mask_HW != 0
        if self.dtype != self._read_dtype:
            np.floor(pixels_CHW + np.float32(0.5), out=pixels_CHW)
        if self._nothing != self.nodata:
            pixels_CHW[:, ~measured_HW] = self.nodata or 0
        return bands_last(pixels_CHW.astype(self.dtype, copy=False)), measured_HW

    @property
    def files(self) -> list[Path]:
        """Every file it reads from: itself, its sidecars, and what a VRT refers to."""
        return [Path(file) for file in self._dataset.files]

    def close(self) -> None:
        self._resources.close()


def open_geotiff(path: Path) -> DatasetRaster:
    """Open a GeoTIFF, COG or VRT. Blocks are decoded when read.

    Raises:
        RasterError: empty, truncated, not a GeoTIFF or VRT, or of blocks beyond `MAX_BLOCK_PIXELS`.
    """
    with _opening(path) as (dataset, resources):
        return DatasetRaster(str(path), dataset, resources)


def warped(
    path: Path,
    crs: str,
    transform: Transform,
    height_px: int,
    width_px: int,
    resampling: ResamplingName | None = None,
) -> Raster:
    """Open a georeferenced file as if it had been made on this grid; see the module for `resampling`.

    Pixels of the grid outside the source hold its nodata value, or 0 where it has none; `read_measured` tells which they are.

    Raises:
        RasterError: the file cannot be opened or has no CRS or transform.
        SizeMismatchError: the grid lies outside the source. ConfigError: its CRS is none.
    """
    grid = Grid(crs, transform, height_px, width_px)
    with _opening(path) as (dataset, resources):
        source = DatasetRaster(str(path), dataset, resources)
        _require_overlap(source, grid)
        scale_x, scale_y = source_px_per_grid_px(grid_of(source), grid)
        small_integers = source.dtype.kind in "ui" and source.dtype.itemsize <= 2
        nothing = _UNMEASURED if small_integers else _UNMEASURED_FLOAT if source.dtype.kind == "f" else source.nodata
        view = WarpedVRT(
            dataset,
            crs=parse_crs(crs),
            transform=rasterio.Affine(*transform),
            height=height_px,
            width=width_px,
            resampling=Resampling[resampling or choose_resampling(scale_x, scale_y)],
            tolerance=_EXACT_PX,
            dtype="float32" if small_integers else None,
            nodata=nothing,
            XSCALE=repr(min(1.0, 1 / scale_x)),
            YSCALE=repr(min(1.0, 1 / scale_y)),
            # Otherwise a value of nodata is blended into its neighbours where another band of its pixel holds a measurement.
            **({} if source.dtype == np.uint8 else {"UNIFIED_SRC_NODATA": "NO"}),
        )
        return DatasetRaster(source.name, resources.enter_context(view), resources, warped_from=source)


def choose_resampling(scale_x: float, scale_y: float) -> ResamplingName:
    """By source pixels per grid pixel on each axis: see the module."""
    return "average" if max(scale_x, scale_y) >= _AVERAGE_FROM - 1e-6 else "bilinear"


def source_px_per_grid_px(source: Grid, grid: Grid) -> tuple[float, float]:
    """How many source pixels a step of one pixel along x and along y spans, at the grid's centre.

    Raises:
        SizeMismatchError: the centre has no coordinates in the source's CRS.
    """
    column, row = grid.width_px / 2, grid.height_px / 2
    corners = [(column, row), (column + 1, row), (column, row + 1)]
    to_grid, to_source = rasterio.Affine(*grid.transform), ~rasterio.Affine(*source.transform)
    xs, ys = zip(*(to_grid @ corner for corner in corners), strict=True)
    xs, ys = rasterio.warp.transform(parse_crs(grid.crs), parse_crs(source.crs), xs, ys)
    (x0, y0), *steps = (to_source @ point for point in zip(xs, ys, strict=True))
    scale_x, scale_y = (math.hypot(x - x0, y - y0) for x, y in steps)
    if not (0 < scale_x < math.inf and 0 < scale_y < math.inf):
        raise SizeMismatchError(
            f"The centre of a grid in {grid.crs} has no place in {source.crs}", remedy="Choose bounds inside the source"
        )
    return scale_x, scale_y


def reproject_bounds(bounds: Bounds, from_crs: str, to_crs: str) -> Bounds:
    """The smallest bounds in `to_crs` around `bounds`, whose edges may bend on the way.

    Raises:
        ConfigError: a CRS that PROJ does not know. SizeMismatchError: bounds without a place in `to_crs`.
    """
    if from_crs == to_crs:
        return bounds
    try:
        there = Bounds(*rasterio.warp.transform_bounds(parse_crs(from_crs), parse_crs(to_crs), *bounds))
    except (RasterioError, CPLE_BaseError) as error:
        raise _no_place(bounds, from_crs, to_crs) from error
    if not all(map(math.isfinite, there)):
        raise _no_place(bounds, from_crs, to_crs)
    return there


def _no_place(bounds: Bounds, from_crs: str, to_crs: str) -> SizeMismatchError:
    return SizeMismatchError(
        f"Bounds {tuple(bounds)} in {from_crs} have no place in {to_crs}", remedy="Choose bounds that both systems cover"
    )


def parse_crs(crs: str) -> CRS:
    """Raises `ConfigError` for a CRS that PROJ does not know."""
    try:
        return CRS.from_user_input(crs)
    except (CRSError, ValueError) as error:  # of a code that is no number, rasterio raises the second
        raise ConfigError(f"{crs!r} is no CRS: {error}", remedy="Write it as EPSG:4326, or as WKT") from error


def _require_overlap(source: Raster, grid: Grid) -> None:
    own = grid_of(source)
    wanted = reproject_bounds(grid.bounds, grid.crs, own.crs)
    if not own.bounds.overlaps(wanted):
        raise SizeMismatchError(
            f"The grid lies outside {source.name}: {tuple(wanted)} against {tuple(own.bounds)}",
            remedy=f"Choose bounds inside the source, in {own.crs}",
        )


@contextmanager
def _opening(path: Path) -> Iterator[tuple[Any, ExitStack]]:
    """The open dataset and what closes it; closed at once if the body fails."""
    with _gdal_errors(str(path)), ExitStack() as resources:
        if path.stat().st_size == 0:
            raise RasterError(f"{path} is empty", remedy="Fetch or export it again", reason="empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # `crs` and `transform` are None: that says it
            dataset = resources.enter_context(rasterio.open(str(path), driver=_DRIVERS.get(path.suffix.lower(), "GTiff")))
        _refuse_bombs(path, dataset)
        _refuse_mixed_bands(path, dataset)
        kept = resources.pop_all()
        try:
            yield dataset, kept
        except BaseException:
            kept.close()
            raise


def _refuse_bombs(path: Path, dataset: Any) -> None:
    for height_px, width_px in dataset.block_shapes:
        if height_px * width_px > MAX_BLOCK_PIXELS:
            raise RasterError(
                f"{path} is refused as a decompression bomb: blocks of {width_px} x {height_px} pixels, "
                f"and the limit is {MAX_BLOCK_PIXELS}",
                remedy="If it is what you expect, rewrite it tiled, for example with rio cogeo create",
                reason="bomb",
            )


def _refuse_mixed_bands(path: Path, dataset: Any) -> None:
    if len(set(dataset.dtypes)) != 1:
        raise RasterError(
            f"{path} has bands of several dtypes: {', '.join(dataset.dtypes) or 'none at all'}",
            remedy="Give all bands one dtype, for example with gdal_translate -ot",
            reason="unsupported",
        )


def _crs_name(crs: CRS | None) -> str | None:
    if not crs:
        return None
    authority = crs.to_authority()
    # rasterio also proposes codes of systems that merely resemble this one.
    if authority is not None and CRS.from_authority(*authority) == crs:
        return ":".join(authority)
    return str(crs.to_wkt(version="WKT2_2019"))


@contextmanager
def _gdal_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (RasterioError, CPLE_BaseError, CRSError, OSError) as error:
        detail = _innermost(error)
        cut_short = re.search(r"got \d+ bytes, expected", detail) is not None
        raise RasterError(
            f"{name} {'ends too early' if cut_short else 'cannot be read'}: {detail}",
            remedy="Fetch or export it again",
            reason="truncated" if cut_short else "unreadable",
        ) from error


def _innermost(error: BaseException) -> str:
    """GDAL chains its errors; the first one raised says what is wrong."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error).removesuffix(".")
