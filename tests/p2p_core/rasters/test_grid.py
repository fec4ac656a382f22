from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p_core.errors import ConfigError, RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.grid import Bounds, Grid, transform_of_bounds, window_bounds

WORLD = Bounds(-180, -90, 180, 90)
AERIAL = Grid("EPSG:4326", transform_of_bounds(WORLD, 2700, 5400), 2700, 5400)


def test_an_image_fills_its_bounds() -> None:
    assert tuple(AERIAL.bounds) == pytest.approx(tuple(WORLD))


def test_no_pixel_of_a_cut_reaches_outside_the_bounds_asked_for() -> None:
    region = Bounds(-112.5, -55.776573, -22.5, 21.943046)
    cut = AERIAL.inside(region)
    assert (cut.height_px, cut.width_px) == (1165, 1349)
    assert region.contains(cut.bounds, margin=1e-9)
    bigger = Bounds(cut.bounds.west - 1 / 15, cut.bounds.south - 1 / 15, cut.bounds.east + 1 / 15, cut.bounds.north + 1 / 15)
    assert all(abs(a - b) > 1e-3 for a, b in zip(region, bigger, strict=True))


@given(st.integers(0, 2600), st.integers(0, 5300), st.integers(1, 100), st.integers(1, 100), st.floats(-4e-4, 4e-4))
def test_bounds_of_whole_pixels_give_those_pixels_despite_rounding(
    y: int, x: int, height: int, width: int, error_px: float
) -> None:
    window = Window(y, x, height, width)
    exact = window_bounds(AERIAL.transform, window)
    written = Bounds(*(value + error_px / 15 for value in exact))
    assert AERIAL.inside(written) == AERIAL.part(window)


def test_a_cut_stays_inside_the_raster() -> None:
    assert AERIAL.inside(Bounds(-999, -999, 999, 999)) == AERIAL


@pytest.mark.parametrize("bounds", [Bounds(200, 0, 210, 10), Bounds(0.01, 0.01, 0.05, 0.05), Bounds(10, 0, 5, 10)])
def test_bounds_without_a_whole_pixel_are_refused(bounds: Bounds) -> None:
    with pytest.raises(ConfigError, match="No whole pixel"):
        AERIAL.inside(bounds)


def test_a_rotated_grid_cannot_be_cut_by_bounds() -> None:
    with pytest.raises(RasterError, match="not north up"):
        Grid("EPSG:3857", (1, 0.5, 0, 0.5, -1, 0), 10, 10).inside(Bounds(0, -5, 5, 0))


def test_the_bounds_of_a_rotated_window_hold_its_four_corners() -> None:
    assert window_bounds((1, 2, 10, 3, -4, 20), Window(0, 0, 5, 10)) == Bounds(10, 0, 30, 50)


def test_a_pixel_size_makes_square_pixels_from_the_north_west() -> None:
    grid = Grid.of_pixel_size("EPSG:3857", Bounds(100, 200, 1104, 1200), 10)
    assert (grid.height_px, grid.width_px, grid.transform) == (100, 100, (10, 0, 100, 0, -10, 1200))


@pytest.mark.parametrize("pixel_size", [0, -1, 5000, float("nan")])
def test_a_senseless_pixel_size_is_refused(pixel_size: float) -> None:
    with pytest.raises(ConfigError, match="hold no pixel"):
        Grid.of_pixel_size("EPSG:3857", Bounds(0, 0, 1000, 1000), pixel_size)
