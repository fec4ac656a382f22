"""Pixels and files that several raster tests need. Everything is made here; nothing is shipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from p2p_core.rasters.grid import Bounds, transform_of_bounds
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster
from p2p_core.rasters.vector import open_vector

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


@pytest.fixture
def save_geojson() -> Callable[..., Path]:
    """`save_geojson(path, *geometries or features, crs=None)`: a FeatureCollection."""

    def save(path: Path, *members: Any, crs: str | None = None) -> Path:
        features = [
            one if one is None or one.get("type") == "Feature" else {"type": "Feature", "properties": None, "geometry": one}
            for one in members
        ]
        declared = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **declared}))
        return path

    return save


@pytest.fixture
def draw(tmp_path: Path, write_tif: Callable[..., Path]) -> Callable[..., NDArray[np.uint8]]:
    """`draw(path or style, size, bounds, crs)`: the whole map, (height, width, 3), on a target made for it."""

    def make(
        what: Path | dict[str, Any],
        size: tuple[int, int] = (8, 8),
        bounds: tuple[float, float, float, float] = (0, 0, 8, 8),
        crs: str = "EPSG:4326",
    ) -> NDArray[np.uint8]:
        if isinstance(what, dict):
            (tmp_path / "style.json").write_text(json.dumps(what))
            what = tmp_path / "style.json"
        transform = transform_of_bounds(Bounds(*bounds), *size)
        target = write_tif(tmp_path / "target.tif", np.zeros((*size, 3), np.uint8), transform, crs)
        with open_raster(target) as raster, open_vector(what, raster) as drawn:
            assert (drawn.crs, drawn.transform) == (raster.crs, raster.transform)
            return drawn.read(full_window(drawn))

    return make
