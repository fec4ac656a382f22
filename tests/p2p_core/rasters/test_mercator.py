from __future__ import annotations

import mercantile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p_core.errors import ConfigError
from p2p_core.rasters.grid import Bounds
from p2p_core.rasters.mercator import (
    TileAddress,
    tile_address,
    tile_bounds_deg,
    tile_bounds_m,
    tile_range_grid,
    tiles_covering,
)

REGION = Bounds(-112.5, -55.776573, -22.5, 21.943046)


@st.composite
def tiles(draw: st.DrawFn) -> TileAddress:
    zoom = draw(st.integers(0, 22))
    return TileAddress(zoom, draw(st.integers(0, 2**zoom - 1)), draw(st.integers(0, 2**zoom - 1)))


@given(tiles())
def test_bounds_agree_with_mercantile(tile: TileAddress) -> None:
    other = mercantile.Tile(tile.x, tile.y, tile.z)
    assert tuple(tile_bounds_m(tile)) == pytest.approx(tuple(mercantile.xy_bounds(other)), abs=1e-6)
    assert tuple(tile_bounds_deg(tile)) == pytest.approx(tuple(mercantile.bounds(other)), abs=1e-9)


@given(st.floats(-180, 179.999), st.floats(-85, 85), st.integers(0, 20))
def test_a_point_lies_in_the_tile_that_mercantile_names(longitude: float, latitude: float, zoom: int) -> None:
    # mercantile counts what lies a rounding error before an edge to the tile beyond it
    near = (mercantile.tile(longitude + x, latitude + y, zoom) for x in (-1e-12, 0, 1e-12) for y in (-1e-12, 0, 1e-12))
    assert tile_address(longitude, latitude, zoom) in [(zoom, tile.x, tile.y) for tile in near]


@given(tiles())
def test_neighbours_share_their_edges_exactly(tile: TileAddress) -> None:
    own = tile_bounds_m(tile)
    assert own.east == tile_bounds_m(TileAddress(tile.z, tile.x + 1, tile.y)).west
    assert own.south == tile_bounds_m(TileAddress(tile.z, tile.x, tile.y + 1)).north


@given(tiles())
def test_a_tile_is_covered_by_itself_alone(tile: TileAddress) -> None:
    assert tiles_covering(tile_bounds_deg(tile), tile.z) == [tile]


def test_bounds_written_with_six_decimals_give_the_tiles_they_came_from() -> None:
    expected = [TileAddress(4, x, y) for y in range(7, 11) for x in range(3, 7)]
    assert tiles_covering(REGION, 4) == expected


def test_a_little_more_than_rounding_takes_the_next_tiles() -> None:
    wider = Bounds(REGION.west - 0.01, REGION.south - 0.01, REGION.east + 0.01, REGION.north + 0.01)
    assert len(tiles_covering(wider, 4)) == 36


@given(st.floats(-170, 160), st.floats(-80, 75), st.floats(0.5, 10), st.integers(0, 7))
def test_coverings_agree_with_mercantile(west: float, south: float, size: float, zoom: int) -> None:
    bounds = Bounds(west, south, west + size, south + min(size, 4))
    inner = 1e-3 * size  # mercantile knows no slivers: only bounds whose tiles both must see alike
    most = {TileAddress(t.z, t.x, t.y) for t in mercantile.tiles(*bounds, zooms=zoom)}
    least = {
        TileAddress(t.z, t.x, t.y)
        for t in mercantile.tiles(bounds[0] + inner, bounds[1] + inner, bounds[2] - inner, bounds[3] - inner, zooms=zoom)
    }
    assert least <= set(tiles_covering(bounds, zoom)) <= most


def test_the_world_is_covered_by_every_tile() -> None:
    assert len(tiles_covering(Bounds(-180, -85.05112878, 180, 85.05112878), 3)) == 64


@pytest.mark.parametrize(
    "bounds", [(10, 0, 10, 5), (10, 5, 20, 0), (170, 0, 190, 5), (0, 80, 10, 90), (20, 0, 10, 5), (float("nan"), 0, 1, 1)]
)
def test_impossible_bounds_are_refused(bounds: tuple[float, float, float, float]) -> None:
    with pytest.raises(ConfigError, match="Web Mercator"):
        tiles_covering(Bounds(*bounds), 4)


@pytest.mark.parametrize("zoom", [-1, 31])
def test_impossible_zooms_are_refused(zoom: int) -> None:
    with pytest.raises(ConfigError, match="Zoom"):
        tiles_covering(REGION, zoom)


def test_a_block_of_tiles_has_the_bounds_of_its_corners() -> None:
    grid = tile_range_grid(4, range(3, 7), range(7, 11), 512)
    assert (grid.crs, grid.height_px, grid.width_px) == ("EPSG:3857", 2048, 2048)
    first, last = tile_bounds_m(TileAddress(4, 3, 7)), tile_bounds_m(TileAddress(4, 6, 10))
    assert tuple(grid.bounds) == pytest.approx((first.west, last.south, last.east, first.north), abs=1e-6)
