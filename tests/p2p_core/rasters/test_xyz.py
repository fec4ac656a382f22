from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from p2p_core.errors import ConfigError, EmptySourceError, OutputError, RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.mercator import TileAddress
from p2p_core.rasters.protocol import bounds, full_window
from p2p_core.rasters.xyz import XYZRaster, tile_path, write_xyz_tile

Noise = Callable[..., NDArray[Any]]
TILE_PX = 16


def write_tree(root: Path, pixels: NDArray[Any], zoom: int = 5, x0: int = 9, y0: int = 17) -> None:
    for y in range(pixels.shape[0] // TILE_PX):
        for x in range(pixels.shape[1] // TILE_PX):
            tile = pixels[y * TILE_PX : (y + 1) * TILE_PX, x * TILE_PX : (x + 1) * TILE_PX]
            write_xyz_tile(root, TileAddress(zoom, x0 + x, y0 + y), tile)


def read_all(root: Path, **options: Any) -> NDArray[Any]:
    with XYZRaster(root, **options) as raster:
        return raster.read(full_window(raster))


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_a_tree_is_one_mosaic(tmp_path: Path, noise: Noise, bands: int) -> None:
    pixels = noise(3 * TILE_PX, 4 * TILE_PX, bands)
    write_tree(tmp_path, pixels)
    with XYZRaster(tmp_path) as raster:
        assert (raster.height_px, raster.width_px, raster.bands, raster.tile_px) == (48, 64, bands, TILE_PX)
        assert (raster.zoom, raster.num_missing_tiles, list(raster.missing_tiles())) == (5, 0, [])
        np.testing.assert_array_equal(raster.read(full_window(raster)), pixels)
        np.testing.assert_array_equal(raster.read(Window(15, 1, 18, 40)), pixels[15:33, 1:41])


def test_the_mosaic_lies_where_mercantile_puts_its_tiles(tmp_path: Path, noise: Noise) -> None:
    write_tree(tmp_path, noise(3 * TILE_PX, 4 * TILE_PX, 3))
    with XYZRaster(tmp_path) as raster:
        first, last = mercantile.xy_bounds(9, 17, 5), mercantile.xy_bounds(12, 19, 5)
        assert raster.crs == "EPSG:3857"
        assert tuple(bounds(raster)) == pytest.approx((first.left, last.bottom, last.right, first.top), abs=1e-6)


def test_missing_tiles_are_zero_and_listed(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(3 * TILE_PX, 3 * TILE_PX, 4)
    write_tree(tmp_path, pixels)
    gone = [TileAddress(5, 10, 18), TileAddress(5, 11, 19)]
    for tile in gone:
        tile_path(tmp_path, tile).unlink()
    pixels[16:32, 16:32] = 0
    pixels[32:48, 32:48] = 0
    with XYZRaster(tmp_path) as raster:
        assert raster.num_missing_tiles == 2
        assert list(raster.missing_tiles()) == gone
        np.testing.assert_array_equal(raster.read(full_window(raster)), pixels)


def test_only_the_tiles_under_a_window_are_opened(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(3 * TILE_PX, 3 * TILE_PX, 3)
    write_tree(tmp_path, pixels)
    broken = tile_path(tmp_path, TileAddress(5, 11, 19))
    broken.write_bytes(broken.read_bytes()[:60])
    with XYZRaster(tmp_path) as raster:
        np.testing.assert_array_equal(raster.read(Window(0, 0, 48, 32)), pixels[:48, :32])
        with pytest.raises(RasterError, match=r"5/11/19\.png") as caught:
            raster.read(Window(31, 31, 2, 2))
    assert caught.value.reason == "truncated"


def test_large_mosaics_forget_the_oldest_tiles(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(10 * TILE_PX, 10 * TILE_PX, 1)
    write_tree(tmp_path, pixels)
    with XYZRaster(tmp_path) as raster:
        for _ in range(2):
            np.testing.assert_array_equal(raster.read(full_window(raster)), pixels)
            assert len(raster._decoded) == 64


def test_several_zooms_need_a_choice(tmp_path: Path, noise: Noise) -> None:
    coarse, fine = noise(TILE_PX, TILE_PX, 3), noise(2 * TILE_PX, 2 * TILE_PX, 3)
    write_tree(tmp_path, coarse, 0, 0, 0)
    write_tree(tmp_path, fine, 1, 0, 0)
    with pytest.raises(ConfigError, match="zooms 0, 1"):
        XYZRaster(tmp_path)
    with pytest.raises(ConfigError, match="no zoom 7"):
        XYZRaster(tmp_path, zoom=7)
    np.testing.assert_array_equal(read_all(tmp_path, zoom=0), coarse)
    np.testing.assert_array_equal(read_all(tmp_path, zoom=1), fine)


def test_other_files_in_the_tree_are_ignored(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(TILE_PX, TILE_PX, 3)
    write_tree(tmp_path, pixels)
    (tmp_path / "index.html").write_text("a viewer")
    (tmp_path / "5" / "notes").mkdir()
    (tmp_path / "5" / "9" / "17.png.aux.xml").write_text("<x/>")
    (tmp_path / "5" / "9" / ".17.png.0f.partial").write_bytes(b"half")
    np.testing.assert_array_equal(read_all(tmp_path), pixels)


def test_jpeg_and_webp_tiles_are_read(tmp_path: Path) -> None:
    (tmp_path / "3" / "2").mkdir(parents=True)
    Image.new("RGB", (TILE_PX, TILE_PX), (200, 100, 50)).save(tmp_path / "3" / "2" / "1.jpg")
    Image.new("RGB", (TILE_PX, TILE_PX), (50, 100, 200)).save(tmp_path / "3" / "2" / "2.webp", lossless=True)
    pixels = read_all(tmp_path)
    assert np.abs(pixels[:16].astype(int) - [200, 100, 50]).max() <= 3
    assert (pixels[16:] == [50, 100, 200]).all()


def save(root: Path, name: str, image: Image.Image) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    image.save(root / name)


def test_gray_and_opaque_tiles_join_a_colour_mosaic(tmp_path: Path) -> None:
    save(tmp_path, "3/2/1.png", Image.new("RGB", (TILE_PX, TILE_PX), (1, 2, 3)))
    save(tmp_path, "3/2/2.png", Image.new("L", (TILE_PX, TILE_PX), 7))
    save(tmp_path, "3/2/3.png", Image.new("RGBA", (TILE_PX, TILE_PX), (4, 5, 6, 255)))
    column = read_all(tmp_path)[::TILE_PX, 0].tolist()
    assert column == [[1, 2, 3], [7, 7, 7], [4, 5, 6]]


def test_tiles_without_alpha_are_opaque_in_a_mosaic_with_alpha(tmp_path: Path) -> None:
    save(tmp_path, "3/2/1.png", Image.new("RGBA", (TILE_PX, TILE_PX), (1, 2, 3, 9)))
    save(tmp_path, "3/2/2.png", Image.new("RGB", (TILE_PX, TILE_PX), (4, 5, 6)))
    assert read_all(tmp_path)[::TILE_PX, 0].tolist() == [[1, 2, 3, 9], [4, 5, 6, 255]]


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        (Image.new("RGB", (16, 16)), Image.new("RGBA", (16, 16), (4, 5, 6, 254)), "4 uint8 bands, not 3"),
        (Image.new("L", (16, 16)), Image.new("RGB", (16, 16)), "3 uint8 bands, not 1"),
        (Image.new("L", (16, 16)), Image.new("I;16", (16, 16)), "1 uint16 bands, not 1 of uint8"),
        (Image.new("RGB", (16, 16)), Image.new("RGB", (32, 32)), "32 x 32 px, not 16 x 16"),
    ],
)
def test_a_tile_that_does_not_fit_is_named(tmp_path: Path, first: Image.Image, second: Image.Image, problem: str) -> None:
    save(tmp_path, "3/2/1.png", first)
    save(tmp_path, "3/2/2.png", second)
    with pytest.raises(RasterError, match=rf"2\.png .*{problem}") as caught:
        read_all(tmp_path)
    assert caught.value.reason == "misfit"


def test_oblong_tiles_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "3/2/1.png", Image.new("RGB", (16, 32)))
    with pytest.raises(RasterError, match="16 x 32 px"):
        read_all(tmp_path)


def test_a_tile_there_twice_or_off_the_map_is_refused(tmp_path: Path) -> None:
    save(tmp_path, "3/2/1.png", Image.new("L", (16, 16)))
    save(tmp_path, "3/2/1.jpg", Image.new("L", (16, 16)))
    with pytest.raises(RasterError, match="a second time"):
        XYZRaster(tmp_path)
    save(tmp_path, "4/2/16.png", Image.new("L", (16, 16)))
    with pytest.raises(RasterError, match="outside the map"):
        XYZRaster(tmp_path, zoom=4)


def test_a_tree_without_tiles_is_empty(tmp_path: Path) -> None:
    with pytest.raises(EmptySourceError, match="no zoom directories"):
        XYZRaster(tmp_path)
    (tmp_path / "3" / "2").mkdir(parents=True)
    with pytest.raises(EmptySourceError, match="no tiles"):
        XYZRaster(tmp_path)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_written_tile_is_a_png_that_others_read(tmp_path: Path, noise: Noise, mode: str) -> None:
    pixels = noise(256, 256, len(mode))
    path = write_xyz_tile(tmp_path, TileAddress(4, 3, 7), pixels)
    assert path == tmp_path / "4" / "3" / "7.png"
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", mode)
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    first = path.read_bytes()
    write_xyz_tile(tmp_path, TileAddress(4, 3, 7), pixels)
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["7.png"]


@pytest.mark.parametrize(("bands", "dtype"), [(5, np.uint8), (1, np.uint16)])
def test_pixels_that_tiles_do_not_hold_are_refused(tmp_path: Path, noise: Noise, bands: int, dtype: Any) -> None:
    with pytest.raises(RasterError, match="cannot be a PNG"):
        write_xyz_tile(tmp_path, TileAddress(0, 0, 0), noise(16, 16, bands, dtype))


def test_a_file_in_the_way_of_the_tree_is_named(tmp_path: Path, noise: Noise) -> None:
    (tmp_path / "4").write_text("in the way")
    with pytest.raises(OutputError, match="in the way"):
        write_xyz_tile(tmp_path, TileAddress(4, 3, 7), noise(16, 16, 3))
