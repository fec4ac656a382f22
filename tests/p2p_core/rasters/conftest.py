"""Pixels and files that several raster tests need. Everything is made here; nothing is shipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"real imagery is not at {DATA}")
    return DATA


@pytest.fixture(scope="session")
def noise() -> Callable[..., NDArray[Any]]:
    """`noise(height, width, bands, dtype)`: every pixel differs from its neighbours, so no shift goes unseen."""

    def make(height: int, width: int, bands: int, dtype: Any = np.uint8) -> NDArray[Any]:
        rng = np.random.default_rng([height, width, bands])
        return rng.integers(1, np.iinfo(dtype).max, (height, width, bands), dtype=dtype, endpoint=True)

    return make


@pytest.fixture(scope="session")
def write_tif() -> Callable[..., Path]:
    """`write_tif(path, pixels_HWC, transform, crs)` straight through rasterio; None leaves the place out."""

    def write(
        path: Path,
        pixels: NDArray[Any],
        transform: tuple[float, ...] | None = (0.5, 0, 10.0, 0, -0.5, 50.0),
        crs: str | None = "EPSG:4326",
        **options: Any,
    ) -> Path:
        height, width, bands = pixels.shape
        place = {} if transform is None else {"transform": rasterio.Affine(*transform), "crs": crs}
        shape = {"height": height, "width": width, "count": bands, "dtype": pixels.dtype}
        with rasterio.open(path, "w", driver="GTiff", **shape, **place, **options) as dataset:
            dataset.write(np.moveaxis(pixels, 2, 0))
        return path

    return write
