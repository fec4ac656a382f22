from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2p_core.errors import RasterError, SizeMismatchError
from p2p_core.geometry import Window
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster
from preprocessing.align import ScaledRaster, open_aligned, resize

Save = Callable[..., Path]
no_fixture_reset = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@no_fixture_reset
@given(
    size=st.sampled_from([(60, 90), (20, 30), (15, 45), (90, 135), (40, 60), (30, 45), (45, 90), (12, 18)]),
    data=st.data(),
)
def test_a_scaled_pixel_does_not_depend_on_the_window_it_is_read_with(picture, save_picture, tmp_path, size, data) -> None:
    """Scales 2, 2/3, 3/2, 3, ...: the source has two thirds the height of its width, or a third, or a half."""
    height_px, width_px = size
    source_height_px = 30
    source = save_picture(tmp_path / "a.png", picture(source_height_px, source_height_px * width_px // height_px, 1))
    with open_raster(source) as raster:
        scaled = ScaledRaster(raster, height_px, width_px)
        whole = scaled.read(full_window(scaled))
        y, x = data.draw(st.integers(0, height_px - 1)), data.draw(st.integers(0, width_px - 1))
        window = Window(y, x, data.draw(st.integers(1, height_px - y)), data.draw(st.integers(1, width_px - x)))
        np.testing.assert_array_equal(scaled.read(window), whole[window.slices])
        at_once = resize(raster.read(full_window(raster)), height_px, width_px)
        assert np.abs(whole.astype(int) - at_once).max() <= 1


def test_half_size_is_the_mean_of_two_by_two(picture, save_geotiff, tmp_path) -> None:
    fine = picture(80, 120, 3)
    with (
        open_raster(save_geotiff(tmp_path / "aerial.tif", picture(40, 60, 4))) as target,
        open_aligned(save_geotiff(tmp_path / "map.tif", fine, pixel=0.05), target, full_window(target)) as aligned,
    ):
        mean = fine.reshape(40, 2, 60, 2, 3).mean(axis=(1, 3))
        window = Window(3, 5, 30, 41)
        assert np.abs(aligned.read(window).astype(float) - mean[window.slices]).max() <= 0.5


def test_the_same_grid_is_read_as_it_is(picture, save_geotiff, tmp_path) -> None:
    pixels = picture(40, 60, 3)
    with (
        open_raster(save_geotiff(tmp_path / "aerial.tif", picture(40, 60, 4))) as target,
        open_aligned(save_geotiff(tmp_path / "map.tif", pixels), target, full_window(target)) as aligned,
    ):
        np.testing.assert_array_equal(aligned.read(full_window(target)), pixels)


def test_a_larger_map_is_resampled_by_its_place(picture, save_geotiff, tmp_path) -> None:
    """The map begins 8 pixels further west and north: its pixels must land where they belong, not in its corner."""
    pixels = picture(60, 80, 3)
    map_path = save_geotiff(tmp_path / "map.tif", pixels, west=9.2, north=50.8)
    with (
        open_raster(save_geotiff(tmp_path / "aerial.tif", picture(40, 60, 4))) as target,
        open_aligned(map_path, target, full_window(target)) as aligned,
    ):
        np.testing.assert_array_equal(aligned.read(full_window(target)), pixels[8:48, 8:68])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"crs": "EPSG:32633"}, r"map.tif covers .* of EPSG:32633, .*aerial.tif lies at .* of it.*they share no ground"),
        ({"west": 12.0}, r"covers \(12\.0, .*which is not all of \(10\.0, .*Set bounds to what both cover: \[12\.0, 46\.0,"),
        ({"west": 100.0}, "they share no ground"),
    ],
    ids=["crs", "partial", "elsewhere"],
)
def test_rasters_of_different_ground_are_refused(picture, save_geotiff, tmp_path, place, message) -> None:
    map_path = save_geotiff(tmp_path / "map.tif", picture(40, 60, 3), **place)
    with (
        open_raster(save_geotiff(tmp_path / "aerial.tif", picture(40, 60, 4))) as target,
        pytest.raises(SizeMismatchError, match=message),
    ):
        open_aligned(map_path, target, full_window(target))


def test_plain_images_of_another_shape_are_refused_with_both_sizes(picture, save_picture, tmp_path) -> None:
    map_path = save_picture(tmp_path / "map.png", picture(81, 120, 3))
    with (
        open_raster(save_picture(tmp_path / "aerial.png", picture(40, 60, 4))) as target,
        pytest.raises(SizeMismatchError, match=r"map\.png has 120x81 px and .*aerial\.png 60x40 px"),
    ):
        open_aligned(map_path, target, full_window(target))


def test_one_with_and_one_without_a_place_do_not_fit(picture, save_picture, save_geotiff, tmp_path) -> None:
    map_path = save_picture(tmp_path / "map.png", picture(40, 60, 3))
    with (
        open_raster(save_geotiff(tmp_path / "aerial.tif", picture(40, 60, 4))) as target,
        pytest.raises(SizeMismatchError, match=r"aerial\.tif has a place on the Earth .*map\.png has none"),
    ):
        open_aligned(map_path, target, full_window(target))


def test_a_map_that_cannot_be_read_says_so(picture, save_picture, tmp_path) -> None:
    (tmp_path / "map.png").write_bytes(b"")
    with (
        open_raster(save_picture(tmp_path / "aerial.png", picture(40, 60, 4))) as target,
        pytest.raises(RasterError, match=r"map\.png is empty"),
    ):
        open_aligned(tmp_path / "map.png", target, full_window(target))
