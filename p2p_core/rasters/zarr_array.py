"""A Zarr v3 array (y, x, band) or (y, x) as a raster, and an archive's output directory, whose array is `image.zarr`.

The array's attributes tell its place: `proj:code` ("EPSG:4326") or `proj:wkt2`, `spatial:transform` (six numbers in the
order of `grid.Transform`), `spatial:dimensions` (["y", "x"], if given) and `nodata`. All may be absent.

Damaged chunks are errors where the codecs notice: zstd, crc32c, shards, short raw chunks. Blosc decodes garbage in silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from p2p_core.errors import RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.grid import Transform
from p2p_core.rasters.protocol import Raster, require_inside

__all__ = ["ARCHIVE_ARRAY", "ZarrRaster", "is_zarr"]

ARCHIVE_ARRAY = "image.zarr"


def is_zarr(path: Path) -> bool:
    """Whether the directory is a Zarr v3 array or an archive's output."""
    return (path / "zarr.json").is_file() or (path / ARCHIVE_ARRAY / "zarr.json").is_file()


class ZarrRaster(Raster):
    """Chunks never written read as the array's fill value.

    Raises:
        RasterError: no Zarr v3 array, one of another shape or kind, or attributes that make no sense.
    """

    def __init__(self, path: Path) -> None:
        self._path = path / ARCHIVE_ARRAY if (path / ARCHIVE_ARRAY).is_dir() else path
        self.name = str(path)
        with _zarr_errors(self._path):
            self._array = zarr.open_array(self._path, mode="r", zarr_format=3)
        self.dtype = np.dtype(self._array.dtype)
        if self._array.ndim not in (2, 3) or min(self._array.shape) < 1 or self.dtype.kind not in "uif":
            raise RasterError(
                f"{self._path} is no image: shape {self._array.shape}, dtype {self.dtype}",
                remedy="Expected are the axes (y, x, band) or (y, x) of numbers",
                reason="unsupported",
            )
        self.height_px, self.width_px = self._array.shape[:2]
        self.bands = self._array.shape[2] if self._array.ndim == 3 else 1
        attributes = self._array.attrs.asdict()
        _require_y_x(attributes, self._path)
        self.crs = _crs(attributes, self._path)
        self.transform = _transform(attributes, self._path)
        self.nodata = _nodata(attributes, self._path)

    def read(self, window: Window) -> NDArray[Any]:
        require_inside(window, self)
        with _zarr_errors(self._path, window):
            pixels = np.asarray(self._array[window.slices])
        return pixels.reshape(window.height_px, window.width_px, self.bands)

    def close(self) -> None:
        """Nothing is held open."""


def _require_y_x(attributes: Mapping[str, Any], path: Path) -> None:
    dimensions = attributes.get("spatial:dimensions", ["y", "x"])
    if dimensions != ["y", "x"]:
        raise _bad_attribute(path, "spatial:dimensions", dimensions, 'it is ["y", "x"] for the axes (y, x, band)')


def _crs(attributes: Mapping[str, Any], path: Path) -> str | None:
    for key in ("proj:code", "proj:wkt2"):
        value = attributes.get(key)
        if isinstance(value, str) and value:
            return value
        if value is not None:
            raise _bad_attribute(path, key, value, "it is a string")
    return None


def _transform(attributes: Mapping[str, Any], path: Path) -> Transform | None:
    key = "spatial:transform"
    value = attributes.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 6 or not all(map(_is_finite, value)):
        raise _bad_attribute(path, key, value, "it is the six numbers a, b, c, d, e, f of an affine transform")
    a, b, c, d, e, f = map(float, value)
    return (a, b, c, d, e, f)


def _nodata(attributes: Mapping[str, Any], path: Path) -> float | None:
    value = attributes.get("nodata")
    if value is None:
        return None
    if value != "NaN" and not _is_finite(value):
        raise _bad_attribute(path, "nodata", value, 'it is a number or "NaN"')
    return float(value)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _bad_attribute(path: Path, key: str, value: object, expected: str) -> RasterError:
    return RasterError(f"{path} has the attribute {key} = {value!r}", remedy=f"Correct it: {expected}", reason="misfit")


@contextmanager
def _zarr_errors(path: Path, window: Window | None = None) -> Iterator[None]:
    try:
        yield
    # Zarr's own errors are ValueErrors, metadata of another shape gives TypeErrors and AttributeErrors;
    # damaged chunks are ValueError (checksums, sizes) or RuntimeError (zstd).
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        where = "" if window is None else f" at {window}"
        raise RasterError(
            f"{path} cannot be read{where}: {error}",
            remedy="Expected is a whole Zarr v3 array: write it again" if window is None else "Write those chunks again",
        ) from error
