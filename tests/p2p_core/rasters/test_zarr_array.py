from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from p2p_core.errors import RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.zarr_array import ZarrRaster

Noise = Callable[..., NDArray[Any]]
PLACE = {"proj:code": "EPSG:4326", "spatial:transform": [0.5, 0, 10.0, 0, -0.5, 50.0], "spatial:dimensions": ["y", "x"]}


def write_zarr(path: Path, pixels: NDArray[Any], attributes: dict[str, Any] | None = None, **options: Any) -> Path:
    chunks = {"chunks": (16, 16, 3)[: pixels.ndim]} | options
    array = zarr.create_array(path, shape=pixels.shape, dtype=pixels.dtype, attributes=attributes, **chunks)
    array[:] = pixels
    return path


def chunk_files(path: Path) -> list[Path]:
    return sorted(file for file in (path / "c").rglob("*") if file.is_file())


def read_all(path: Path) -> NDArray[Any]:
    with ZarrRaster(path) as raster:
        return raster.read(full_window(raster))


@pytest.mark.parametrize("options", [{}, {"shards": (32, 32, 3)}, {"compressors": None}])
def test_an_array_is_a_raster(tmp_path: Path, noise: Noise, options: dict[str, Any]) -> None:
    pixels = noise(40, 50, 3)
    with ZarrRaster(write_zarr(tmp_path / "image.zarr", pixels, PLACE, **options)) as raster:
        assert (raster.height_px, raster.width_px, raster.bands, raster.dtype) == (40, 50, 3, np.uint8)
        assert (raster.crs, raster.transform, raster.nodata) == ("EPSG:4326", (0.5, 0, 10.0, 0, -0.5, 50.0), None)
        np.testing.assert_array_equal(raster.read(Window(15, 30, 20, 20)), pixels[15:35, 30:50])


def test_an_archive_output_is_opened_by_its_directory(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(40, 50, 3)
    write_zarr(tmp_path / "output" / "image.zarr", pixels)
    (tmp_path / "output" / "ledger").mkdir()
    with ZarrRaster(tmp_path / "output") as raster:
        assert raster.name == str(tmp_path / "output")
        assert (raster.crs, raster.transform) == (None, None)
        np.testing.assert_array_equal(raster.read(full_window(raster)), pixels)


def test_an_array_of_two_axes_is_one_band(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(20, 30, 1, np.uint16)
    np.testing.assert_array_equal(read_all(write_zarr(tmp_path / "a.zarr", pixels[..., 0])), pixels)


@pytest.mark.parametrize(("stored", "expected"), [(0, 0.0), (-9999.5, -9999.5), ("NaN", float("nan"))])
def test_nodata_and_wkt_are_told(tmp_path: Path, noise: Noise, stored: Any, expected: float) -> None:
    path = write_zarr(tmp_path / "a.zarr", noise(8, 8, 3), {"proj:wkt2": "PROJCRS[...]", "nodata": stored})
    with ZarrRaster(path) as raster:
        assert raster.crs == "PROJCRS[...]"
        assert raster.nodata == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spatial:transform", [1, 2, 3]),
        ("spatial:transform", [1, 2, 3, 4, 5, None]),
        ("spatial:transform", "identity"),
        ("spatial:dimensions", ["x", "y"]),
        ("proj:code", 4326),
        ("nodata", [0]),
        ("nodata", "none"),
    ],
)
def test_attributes_that_make_no_sense_are_named(tmp_path: Path, noise: Noise, key: str, value: Any) -> None:
    path = write_zarr(tmp_path / "a.zarr", noise(8, 8, 3), {key: value})
    with pytest.raises(RasterError, match=rf"a\.zarr has the attribute {key}"):
        ZarrRaster(path)


@pytest.mark.parametrize(
    ("options", "damage"),
    [
        ({"compressors": [ZstdCodec(level=1), Crc32cCodec()]}, "cut"),
        ({"compressors": [ZstdCodec(level=1), Crc32cCodec()]}, "flip"),
        ({"compressors": [ZstdCodec(level=1)], "shards": (32, 32, 3)}, "cut"),
        ({"compressors": [ZstdCodec(level=1)], "shards": (32, 32, 3)}, "flip"),
        ({"compressors": None}, "cut"),  # raw chunks carry no checksum: a flip cannot be seen
    ],
)
def test_a_damaged_chunk_is_named_by_the_array_and_the_window(
    tmp_path: Path, noise: Noise, options: dict[str, Any], damage: str
) -> None:
    path = write_zarr(tmp_path / "a.zarr", noise(64, 64, 3), **options)
    victim = chunk_files(path)[0]
    content = bytearray(victim.read_bytes())
    content[-40:-20] = bytes(20) if content[-40:-20] != bytes(20) else b"\xff" * 20
    victim.write_bytes(bytes(content) if damage == "flip" else bytes(content[: len(content) // 2]))
    with pytest.raises(RasterError, match=r"a\.zarr cannot be read at Window\(y_px=0, x_px=0"):
        read_all(path)


@pytest.mark.parametrize(("shape", "dtype"), [((8,), "u1"), ((2, 3, 4, 5), "u1"), ((8, 8, 3), "c8"), ((0, 8, 3), "u1")])
def test_an_array_that_is_no_image_is_refused(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=shape, dtype=dtype, chunks=tuple(max(1, n) for n in shape))
    with pytest.raises(RasterError, match="is no image") as caught:
        ZarrRaster(tmp_path / "a.zarr")
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("content", [None, b"", b"{", b"{}", b'{"zarr_format": 2}'])
def test_broken_metadata_is_refused(tmp_path: Path, noise: Noise, content: bytes | None) -> None:
    path = write_zarr(tmp_path / "a.zarr", noise(8, 8, 3))
    (path / "zarr.json").unlink() if content is None else (path / "zarr.json").write_bytes(content)
    with pytest.raises(RasterError, match=r"a\.zarr cannot be read"):
        ZarrRaster(path)


def test_a_group_is_not_an_array(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "g.zarr")
    with pytest.raises(RasterError, match=r"g\.zarr cannot be read"):
        ZarrRaster(tmp_path / "g.zarr")
