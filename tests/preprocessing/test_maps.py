from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from p2p_core.errors import ConfigError, EmptySourceError, RasterError, SizeMismatchError, UsageError
from p2p_core.geometry import TileGrid, Window
from p2p_core.rasters.grid import Bounds
from preprocessing.maps import MapsBuilder, MapsParameters, WaterRule
from preprocessing.pairs import Outcome, Pair, Rejected


def parameters(**values: object) -> MapsParameters:
    return MapsParameters.model_validate({"tile_px": 16, "source_px": 32, **values})


def outcomes(builder: MapsBuilder) -> dict[str, Outcome]:
    """By pair id; also checks the order builders promise."""
    found: dict[str, Outcome] = {}
    for source in builder.sources():
        of_source = list(builder.build(source))
        ids = [o.pair_id if isinstance(o, Pair) else o.item for o in of_source]
        assert ids == sorted(ids)
        assert len(ids) <= source.max_pairs
        assert all(o.source_id == source.source_id for o in of_source)
        found |= dict(zip(ids, of_source, strict=True))
    return found


@pytest.fixture
def rasters(tmp_path: Path, picture, save_geotiff) -> tuple[Path, Path]:
    """A map of 192x256 px over an aerial view of 96x128 px, both of noise."""
    return (
        save_geotiff(tmp_path / "map.tif", picture(192, 256, 1), pixel=0.05),
        save_geotiff(tmp_path / "aerial.tif", picture(96, 128, 2)),
    )


def test_tiles_are_the_rasters_cut_at_every_stride(rasters, picture) -> None:
    found = outcomes(MapsBuilder(rasters, parameters(stride_px=8)))
    grid = list(TileGrid(96, 128, 16, 8))
    assert set(found) == {f"y{w.y_px:07d}_x{w.x_px:07d}" for w in grid}
    mean = picture(192, 256, 1).reshape(96, 2, 128, 2, 3).mean(axis=(1, 3))
    for pair in found.values():
        assert isinstance(pair, Pair)
        assert pair.window is not None
        np.testing.assert_array_equal(pair.target_HWC, picture(96, 128, 2)[pair.window.slices])
        assert np.abs(pair.input_HWC - mean[pair.window.slices]).max() <= 0.5


def test_what_a_tile_holds_does_not_depend_on_how_the_ground_is_cut_into_sources(rasters) -> None:
    one, other = (outcomes(MapsBuilder(rasters, parameters(stride_px=8, source_px=px))) for px in (16, 1000))
    assert one.keys() == other.keys()
    for pair_id, pair in one.items():
        assert isinstance(pair, Pair)
        np.testing.assert_array_equal(pair.input_HWC, getattr(other[pair_id], "input_HWC", None))


def test_bounds_crop_the_ground_and_windows_stay_in_the_targets_pixels(rasters, picture) -> None:
    builder = MapsBuilder(rasters, parameters(bounds=(11.0, 42.0, 20.0, 49.0)))
    assert builder.area() == Window(10, 10, 70, 90)
    found = outcomes(builder)
    assert len(found) == 4 * 5
    pair = found["y0000026_x0000042"]
    assert isinstance(pair, Pair)
    np.testing.assert_array_equal(pair.target_HWC, picture(96, 128, 2)[26:42, 42:58])


def test_reserved_ground_is_rounded_outwards(rasters) -> None:
    assert MapsBuilder(rasters, parameters()).window_around(Bounds(11.04, 42.0, 12.01, 48.96)) == Window(10, 10, 70, 11)


def test_tiles_of_water_alone_are_rejected_and_coasts_are_kept(tmp_path, picture, save_geotiff) -> None:
    land = picture(32, 48, 1) // 8 + 100
    land[..., 2] = land[..., 0]
    land[:, :16] = (118, 166, 204)  # deep sea
    land[:15, 16:32] = (209, 226, 242)  # ice: bright, a little blue
    land[17:, 16:32] = (118, 166, 204)  # a coast: 1 of 16 rows is land
    builder = MapsBuilder(
        (save_geotiff(tmp_path / "m.tif", land), save_geotiff(tmp_path / "a.tif", picture(32, 48, 2))),
        parameters(water=WaterRule(max_fraction=0.9)),
    )
    reasons = {pair_id: o.reason for pair_id, o in outcomes(builder).items() if isinstance(o, Rejected)}
    assert reasons == dict.fromkeys(["y0000000_x0000000", "y0000016_x0000000", "y0000016_x0000016"], "ocean_only")
    strict = MapsBuilder(builder.rasters, parameters(water=WaterRule(max_fraction=0.95)))
    assert isinstance(outcomes(strict)["y0000016_x0000016"], Pair)


def test_tiles_of_nodata_and_uniform_tiles_are_rejected(tmp_path, picture, save_geotiff) -> None:
    pixels = np.maximum(picture(32, 32, 1), 1)
    pixels[:16, :16] = 0
    pixels[16:18, 16:] = 0  # an eighth of the fourth tile
    flat = picture(32, 32, 2)
    flat[:16, 16:] = 90
    builder = MapsBuilder(
        (save_geotiff(tmp_path / "m.tif", pixels, nodata=0), save_geotiff(tmp_path / "a.tif", flat)), parameters()
    )
    reasons = {pair_id: o.reason for pair_id, o in outcomes(builder).items() if isinstance(o, Rejected)}
    assert reasons == {"y0000000_x0000000": "nodata", "y0000000_x0000016": "uniform", "y0000016_x0000016": "nodata"}


def test_a_corrupt_part_of_a_raster_costs_the_tiles_it_touches_and_no_others(rasters) -> None:
    aerial = rasters[1]
    data = bytearray(aerial.read_bytes())
    data[-300:-200] = b"\xff" * 100  # inside the last blocks
    aerial.write_bytes(data)
    found = outcomes(MapsBuilder(rasters, parameters()))
    bad = {pair_id for pair_id, o in found.items() if isinstance(o, Rejected)}
    assert bad
    assert len(bad) <= 2
    assert all("aerial.tif" in getattr(found[pair_id], "detail", "") for pair_id in bad)


def test_a_tile_larger_than_the_ground_and_rasters_that_do_not_fit_are_refused(
    tmp_path, rasters, picture, save_geotiff
) -> None:
    with pytest.raises(EmptySourceError, match="No tile of 97 px fits the area of 128x96 px"):
        MapsBuilder(rasters, parameters(tile_px=97)).sources()
    with pytest.raises(UsageError, match="takes two rasters, not 1"):
        MapsBuilder(rasters[:1], parameters())
    elsewhere = save_geotiff(tmp_path / "elsewhere.tif", picture(96, 128, 2), west=11.0)
    with pytest.raises(SizeMismatchError, match=r"elsewhere\.tif .*covers"):
        MapsBuilder((elsewhere, rasters[1]), parameters()).sources()
    gray = save_geotiff(tmp_path / "gray.tif", picture(96, 128, 2, bands=1))
    with pytest.raises(RasterError, match=r"gray\.tif has 1 bands of uint8; rgb needs 3"):
        MapsBuilder((gray, rasters[1]), parameters()).sources()
    with pytest.raises(ConfigError, match="No whole pixel lies inside the bounds"):
        MapsBuilder(rasters, parameters(bounds=(100.0, 0.0, 110.0, 10.0))).sources()
    with pytest.raises(RasterError, match=r"nowhere\.tif does not exist"):
        MapsBuilder((tmp_path / "nowhere.tif", rasters[1]), parameters()).sources()


def test_a_gray_map_works_without_a_water_rule_only(tmp_path, rasters, picture, save_geotiff) -> None:
    gray = save_geotiff(tmp_path / "gray.tif", picture(96, 128, 2, bands=1))
    pair = next(iter(outcomes(MapsBuilder((gray, rasters[1]), parameters(input_encoding="gray"))).values()))
    assert isinstance(pair, Pair)
    assert pair.input_HWC.shape == (16, 16, 1)
    with pytest.raises(ConfigError, match="looks at red and blue"):
        MapsParameters.parse({"input_encoding": "gray", "water": {}}, where="--set")


def test_sources_change_with_either_raster_and_with_nothing_else(tmp_path, rasters, picture, save_geotiff) -> None:
    builder = MapsBuilder(rasters, parameters())
    digests = {source.digest for source in builder.sources()}
    assert len(digests) == 1
    moved = tmp_path / "moved"
    moved.mkdir()
    again = tuple(Path(path.rename(moved / path.name)) for path in rasters)
    assert {source.digest for source in MapsBuilder(again, parameters()).sources()} == digests
    assert {source.digest for source in MapsBuilder((again[1], again[1]), parameters()).sources()} != digests
    save_geotiff(again[1], picture(96, 128, 5))
    assert {source.digest for source in MapsBuilder(again, parameters()).sources()} != digests


def test_a_builder_goes_to_a_worker(rasters) -> None:
    builder = MapsBuilder(rasters, parameters())
    assert outcomes(pickle.loads(pickle.dumps(builder))).keys() == outcomes(builder).keys()
    assert str(rasters[0].parent) not in str(builder.parameters.model_dump())


@pytest.mark.parametrize("beside", ["aerial.pgw", "aerial.pngw", "aerial.wld", "aerial.png.aux.xml"])
def test_a_picture_with_a_place_beside_it_is_refused_for_it_would_be_ignored(tmp_path, save_picture, picture, beside) -> None:
    for name in ("map", "aerial"):
        save_picture(tmp_path / f"{name}.png", picture(64, 64, 1))
    (tmp_path / beside).write_text("<GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>")
    builder = MapsBuilder((tmp_path / "map.png", tmp_path / "aerial.png"), MapsParameters(tile_px=32))
    with pytest.raises(RasterError, match=rf"aerial.png lies where {beside} says.* gdal_translate aerial.png aerial.tif"):
        builder.sources()
    (tmp_path / beside).unlink()
    (tmp_path / "aerial.png.aux.xml").write_text("<PAMDataset><Metadata/></PAMDataset>")  # statistics, say, and no place
    assert builder.sources()
