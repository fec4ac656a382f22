"""Bands first and bands last are one picture."""

from __future__ import annotations

import numpy as np
import pytest

from p2p_core.rasters.band_order import bands_first, bands_last


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int16", "uint32", "float32", "int64", "float64"])
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 5, 7), (4, 1, 9), (16, 6, 1), (3, 0, 7), (2, 5, 0)])
def test_bands_change_their_place_and_no_bit(dtype: str, shape: tuple[int, int, int]) -> None:
    pixels_CHW = np.random.default_rng(0).integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
    pixels_CHW = (pixels_CHW > 127 if dtype == "bool" else pixels_CHW).view(dtype)[..., 0]  # any bits, NaN among them
    pixels_HWC = bands_last(pixels_CHW)
    assert pixels_HWC.dtype == dtype
    assert pixels_HWC.flags.c_contiguous
    assert pixels_HWC.tobytes() == np.moveaxis(pixels_CHW, 0, 2).tobytes()
    back_CHW = bands_first(pixels_HWC)
    assert back_CHW.dtype == dtype
    assert back_CHW.flags.c_contiguous
    assert back_CHW.tobytes() == pixels_CHW.tobytes()


def test_what_is_not_contiguous_is_taken_as_it_is() -> None:
    pixels_CHW = np.arange(4 * 6 * 8, dtype=np.uint16).reshape(4, 6, 8)[::2, 1::2, ::3]
    assert np.array_equal(bands_last(pixels_CHW), np.moveaxis(pixels_CHW, 0, 2))
    assert np.array_equal(bands_first(pixels_CHW), np.moveaxis(pixels_CHW, 2, 0))
