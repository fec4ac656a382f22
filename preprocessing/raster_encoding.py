"""Whether a raster's bands and type are those of an encoding, and which encoding would fit it. Legend: H W pixels, C bands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.bands import KIND, MAX_BANDS
from p2p_core.encodings import encoding
from p2p_core.errors import RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.protocol import Raster, full_window

__all__ = ["fits", "fitting_encoding", "misfit", "require_fit"]

_SAMPLES, _SAMPLE_PX = 5, 64
_PERCENTILES = (2, 98)


def require_fit(raster: Raster, encoding_name: str, *, setting: str, area: Window | None = None) -> None:
    """Raises `RasterError` unless `Encoding.of_raster` takes what the raster has; it proposes what would.

    Args:
        setting: what the user calls the encoding: `input_encoding`.
        area: where the raster can be read.
    """
    if fits(raster, encoding_name):
        return
    fitting = fitting_encoding(raster, area)
    remedy = "Convert it, for example with gdal_translate -b 1 -b 2 -b 3 -ot Byte"
    if fitting is not None:
        remedy = f"Name an encoding that fits, --set {setting}={fitting}{_why(fitting)}. Or convert it, for example with "
        remedy += "gdal_translate -b 1 -b 2 -b 3 -ot Byte"
    raise RasterError(misfit(raster, encoding_name), remedy=remedy, reason="unsupported")


def fits(raster: Raster, encoding_name: str) -> bool:
    """Whether `Encoding.of_raster` takes what the raster has."""
    own = encoding(encoding_name)
    return raster.bands == own.bands and own.takes_dtype(raster.dtype)


def misfit(raster: Raster, encoding_name: str) -> str:
    """What a message says of a raster that does not fit."""
    own = encoding(encoding_name)
    return f"{raster.name} has {raster.bands} bands of {raster.dtype}; {encoding_name} needs {own.bands} of {own.dtype}"


def fitting_encoding(raster: Raster, area: Window | None = None) -> str | None:
    """An encoding for a raster as it is; None where none is.

    Bytes get their whole range. Any other type gets the range of nearly all of its values, by a sample: from the lowest
    2nd to the highest 98th percentile of its bands, rounded outwards to two digits.
    """
    if raster.dtype == np.uint8 and raster.bands in (1, 3):
        return {1: "gray", 3: "rgb"}[raster.bands]
    if raster.bands > MAX_BANDS or raster.dtype.kind not in "uif":
        return None
    if raster.dtype == np.uint8:
        return f"{KIND}:{raster.bands}:uint8"
    values_NC = _sample(raster, area or full_window(raster))
    if not len(values_NC):
        return None
    ends = np.percentile(values_NC.astype(np.float64), _PERCENTILES, axis=0)
    low, high = _rounded_outwards(float(ends[0].min()), float(ends[1].max()))
    dtype = "uint16" if raster.dtype == np.uint16 else "float32"
    if dtype == "uint16":
        low, high = max(0, math.floor(low)), min(65535, math.ceil(high))
    return encoding(f"{KIND}:{raster.bands}:{dtype}:{low!r}:{high!r}").name


def _why(fitting: str) -> str:
    if not fitting.startswith(KIND) or ":uint8" in fitting:
        return ""
    return ", whose range holds nearly all of its values by a sample; what lies outside is cut to it"


def _sample(raster: Raster, area: Window) -> NDArray[Any]:
    """(N, C): measured values of small windows spread evenly."""
    height_px, width_px = min(_SAMPLE_PX, area.height_px), min(_SAMPLE_PX, area.width_px)
    parts = []
    for y_px in np.unique(np.linspace(area.y_px, area.y_end_px - height_px, _SAMPLES).astype(int)):
        for x_px in np.unique(np.linspace(area.x_px, area.x_end_px - width_px, _SAMPLES).astype(int)):
            pixels_HWC, measured_HW = raster.read_measured(Window(int(y_px), int(x_px), height_px, width_px))
            parts.append(pixels_HWC[measured_HW])
    values_NC = np.concatenate(parts)
    finite_NC: NDArray[Any] = values_NC[np.isfinite(values_NC).all(axis=1)]
    return finite_NC


def _rounded_outwards(low: float, high: float) -> tuple[float, float]:
    width = high - low or abs(high) or 1.0
    digits = 1 - math.floor(math.log10(width))
    step = 10.0**-digits
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    if low == high:
        high += step
    return round(low, max(0, digits)), round(high, max(0, digits))
