"""What a source did not measure: how it is told there, and how in the output. Legend: H W pixels, C bands."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from p2p_core.rasters.geotiff import DatasetRaster
from p2p_core.rasters.protocol import Raster, measured_pixels

__all__ = ["Nodata", "has_mask", "hidden_pixels", "mark_nodata", "nodata_of", "nodata_of_output", "show_mask"]

Nodata = int | float | Literal["NaN"]
"""JSON has no NaN; the attribute `nodata` of a Zarr array is written the same way."""


def nodata_of(raster: Raster) -> Nodata | None:
    """The value that marks pixels of a source; None where none of its values can be that.

    Floats may always hold NaN: a source that declares nothing may hold some all the same. Integers whose file has a mask
    instead are read with 0 under it (`show_mask`).
    """
    if raster.dtype.kind == "f":
        return "NaN" if raster.nodata is None or not math.isfinite(raster.nodata) else float(raster.nodata)
    limits = np.iinfo(raster.dtype)
    value = 0 if has_mask(raster) else raster.nodata
    return int(value) if value is not None and float(value).is_integer() and limits.min <= value <= limits.max else None


def has_mask(raster: Raster) -> bool:
    """Whether its file tells what was not measured by a mask of its own, and by no value."""
    return isinstance(raster, DatasetRaster) and raster.has_mask


def show_mask(pixels_HWC: NDArray[Any], measured_HW: NDArray[np.bool_], nodata: Nodata) -> None:
    """Put `nodata` under a mask, in place; measured pixels that look like it lose its look, by one level."""
    value = float(nodata)
    lookalike_HW = hidden_pixels(pixels_HWC, nodata) & measured_HW
    pixels_HWC[lookalike_HW[..., np.newaxis] & (pixels_HWC == value)] = value + 1  # NaN equals nothing
    pixels_HWC[~measured_HW] = value


def nodata_of_output(nodata: Nodata | None, dtype: np.dtype[Any]) -> Nodata | None:
    """The same value where the output can hold it; else NaN of floats and 0 of integers."""
    if nodata is None:
        return None
    if dtype.kind == "f":
        return "NaN"
    fits = nodata != "NaN" and float(nodata).is_integer() and 0 <= nodata <= np.iinfo(dtype).max
    return int(nodata) if fits else 0


def hidden_pixels(source_HWC: NDArray[Any], nodata: Nodata | None) -> NDArray[np.bool_]:
    """(H, W): `nodata` in any band, of 8-bit pictures in all of them, or in any band no number: as `measured_pixels`."""
    hidden_HW = np.zeros(source_HWC.shape[:2], np.bool_)
    if nodata is not None and nodata != "NaN":
        hidden_HW |= ~measured_pixels(source_HWC, float(nodata), source_HWC.dtype)
    if source_HWC.dtype.kind == "f":
        hidden_HW |= ~np.isfinite(source_HWC).all(axis=-1)
    return hidden_HW


def mark_nodata(generated_HWC: NDArray[Any], hidden_HW: NDArray[np.bool_], nodata: Nodata) -> None:
    """Carry the source's nodata over, in place: hidden pixels become `nodata`, and no other pixel has its look."""
    value = float(nodata)
    if not math.isnan(value):
        collides_HW = (generated_HWC == value).all(axis=-1) & ~hidden_HW
        generated_HWC[collides_HW, 0] = value + 1 if value < np.iinfo(generated_HWC.dtype).max else value - 1
    generated_HWC[hidden_HW] = value
