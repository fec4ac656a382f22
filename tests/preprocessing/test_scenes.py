"""Many aligned scenes, some overlapping, in several CRSs: tiles by scene, windows in one common grid, and no shared ground.

The ground is a pattern of place, so that two tiles of one ground can be told; what lies where is found from coordinates alone.
"""

from __future__ import annotations

import pickle
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.warp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flows.stages.build import BuildRequest, SplitRequest, build
from p2p_core.errors import ConfigError, EmptySourceError, PairingError
from p2p_core.geometry import Window
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import PairRecord
from preprocessing.builders import BUILDERS
from preprocessing.gaps import smallest_gap_px
from preprocessing.maps import MapsBuilder, MapsParameters
from preprocessing.pairs import Outcome, Pair, Rejected
from preprocessing.scenes import ScenesBuilder
from preprocessing.split import BlockSplit, Fractions

UTM33, UTM32, DEGREES = "EPSG:32633", "EPSG:32632", "EPSG:4326"
TILE_PX, PIXEL_M = 16, 10.0
WEST, NORTH = 300_000.0, 5_300_000.0
SCENES = {
    "a": (UTM33, WEST, NORTH, 160, 160),
    "b": (UTM33, WEST + 800, NORTH - 333, 160, 160),  # over half of a, and off its pixels
    "c/west": (UTM33, WEST - 1600, NORTH - 800, 128, 200),
    "d": (UTM32, None, None, 160, 160),  # a's ground in the neighbouring zone
}


def transform_of(scene: str) -> rasterio.Affine:
    crs, west, north, _, _ = SCENES[scene]
    if west is None:
        xs, ys = rasterio.warp.transform(UTM33, crs, [WEST + 400], [NORTH - 400])
        west, north = xs[0], ys[0]
    return rasterio.Affine(PIXEL_M, 0, west, 0, -PIXEL_M, north)


def save(path: Path, pixels_HWC: np.ndarray, crs: str | None, transform: rasterio.Affine | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height_px, width_px, bands = pixels_HWC.shape
    size = {"height": height_px, "width": width_px, "count": bands, "dtype": "uint8"}
    place = {"crs": crs, "transform": transform} if crs else {}
    with warnings.catch_warnings(action="ignore"), rasterio.open(path, "w", driver="GTiff", **place, **size) as dataset:
        dataset.write(np.moveaxis(pixels_HWC, 2, 0))


@pytest.fixture
def scenes(tmp_path: Path, picture) -> tuple[Path, Path]:
    for i, (scene, (crs, _, _, height_px, width_px)) in enumerate(SCENES.items()):
        save(tmp_path / "map" / f"{scene}.tif", picture(height_px, width_px, i), crs, transform_of(scene))
        save(tmp_path / "aerial" / f"{scene}.tif", picture(height_px, width_px, 100 + i), crs, transform_of(scene))
    return tmp_path / "map", tmp_path / "aerial"


def builder_of(scenes: tuple[Path, ...], **parameters: object) -> ScenesBuilder:
    values = {"tile_px": TILE_PX, "source_px": 64, **parameters}
    made = BUILDERS["maps"].make(scenes, MapsParameters.parse(values, where="test"))
    assert isinstance(made, ScenesBuilder)
    return made


def outcomes(builder: ScenesBuilder) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for source in builder.sources():
        of_source = list(builder.build(source))
        ids = [o.pair_id if isinstance(o, Pair) else o.item for o in of_source]
        assert ids == sorted(ids)
        assert sum(isinstance(o, Pair) for o in of_source) <= source.max_pairs
        assert all(o.source_id == source.source_id for o in of_source)
        found |= dict(zip(ids, of_source, strict=True))
    return found


def corners_33(pair_id: str) -> list[tuple[float, float]]:
    """Points on the edges of a tile, in metres of zone 33, from its id alone."""
    scene, _, place = pair_id.rpartition("/")
    y_px, x_px = int(place[1:8]), int(place[10:])
    steps = np.linspace(0, TILE_PX, 9)
    edges = [(x_px + u, y_px + v) for u, v in product(steps, steps) if u in (0, TILE_PX) or v in (0, TILE_PX)]
    xs, ys = zip(*(transform_of(scene) @ edge for edge in edges), strict=True)
    return list(zip(*rasterio.warp.transform(SCENES[scene][0], UTM33, xs, ys), strict=True))


def bounds_33(pair_id: str) -> tuple[float, float, float, float]:
    xs, ys = zip(*corners_33(pair_id), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def test_each_scene_gives_the_tiles_it_would_give_alone_under_its_own_name(scenes) -> None:
    found = outcomes(builder_of(scenes))
    assert len(found) == sum((height // TILE_PX) * (width // TILE_PX) for _, _, _, height, width in SCENES.values())
    for scene in SCENES:
        alone = MapsBuilder(tuple(place / f"{scene}.tif" for place in scenes), MapsParameters(tile_px=TILE_PX, source_px=64))
        for source in alone.sources():
            for pair in alone.build(source):
                assert isinstance(pair, Pair)
                same = found[f"{scene}/{pair.pair_id}"]
                assert isinstance(same, Pair)
                assert np.array_equal(same.input_HWC, pair.input_HWC)
                assert np.array_equal(same.target_HWC, pair.target_HWC)
                assert same.attributes["scene"] == scene


def test_windows_are_the_tiles_ground_in_one_grid_whatever_the_scene_and_its_crs(scenes) -> None:
    builder = builder_of(scenes)
    a, _, c, _, e, f = builder.grid().transform
    assert (builder.grid().crs, a, e) == (UTM33, PIXEL_M, -PIXEL_M)
    for pair_id, pair in outcomes(builder).items():
        window = pair.window
        west, south, east, north = bounds_33(pair_id)
        held = (c + a * window.x_px, f + e * window.y_end_px, c + a * window.x_end_px, f + e * window.y_px)
        assert held[0] <= west + 0.01
        assert held[1] <= south + 0.01
        assert held[2] >= east - 0.01
        assert held[3] >= north - 0.01
        slack_px = {"d": 4}.get(pair_id.split("/")[0], 1)
        assert max(window.height_px, window.width_px) <= (east - west) / PIXEL_M + slack_px
    assert outcomes(builder)["a/y0000000_x0000000"].window.height_px == TILE_PX, "its pixels are the grid's own"


@pytest.mark.parametrize(("block_px", "buffer_px"), [(64, 0), (64, 8), (120, 24)])
def test_no_ground_is_shared_between_splits_across_scenes_and_crss(scenes, tmp_path, block_px, buffer_px) -> None:
    request = BuildRequest(
        builder="maps",
        sources=scenes,
        out=tmp_path / "pairs",
        parameters={"tile_px": TILE_PX, "source_px": 64},
        split=SplitRequest(
            kind="block", block_px=block_px, buffer_px=buffer_px, seed=3, fractions=Fractions(train=0.6, val=0.2, test=0.2)
        ),
    )
    build(request)
    store = PairStore.open(tmp_path / "pairs")
    assert sum(store.manifest.counts[split] > 0 for split in ("train", "val", "test")) >= 2
    gap_px = smallest_gap_px(store.pairs)
    assert gap_px is not None
    assert gap_px >= 2 * buffer_px
    ground = [(record.split, bounds_33(record.pair_id)) for record in store.pairs]
    assert {record.attributes["scene"] for record in store.pairs} == set(SCENES)
    for one, (w, s, e, n) in ground:  # the same from coordinates alone, without the windows
        for other, (w2, s2, e2, n2) in ground:
            if one != other:
                apart_m = max(w2 - e, w - e2, s2 - n, s - n2)
                assert apart_m >= 2 * buffer_px * PIXEL_M - 0.01


def test_a_split_by_each_targets_own_pixels_would_have_leaked(scenes) -> None:
    """What the common grid is for: the check fails where windows are those of every scene's own target."""
    records = []
    for scene in ("a", "b"):
        alone = MapsBuilder(tuple(place / f"{scene}.tif" for place in scenes), MapsParameters(tile_px=TILE_PX))
        rule = BlockSplit(area=alone.area(), block_px=64, seed=3)
        for window in alone.windows():
            split = rule.split_of(window)
            if split in ("train", "val", "test"):
                pair_id = f"{scene}/y{window.y_px:07d}_x{window.x_px:07d}"
                records.append((split, bounds_33(pair_id)))
    apart = [
        max(w2 - e, w - e2, s2 - n, s - n2)
        for one, (w, s, e, n) in records
        for other, (w2, s2, e2, n2) in records
        if one != other
    ]
    assert min(apart) < 0


def test_a_scene_more_leaves_the_windows_of_the_others(scenes, picture) -> None:
    before = {name: outcome.window for name, outcome in outcomes(builder_of(scenes)).items()}
    digests = {source.source_id: source.digest for source in builder_of(scenes).sources()}
    for place, seed in zip(scenes, (7, 8), strict=True):
        save(place / "z.tif", picture(64, 64, seed), UTM33, rasterio.Affine(PIXEL_M, 0, WEST + 9000, 0, -PIXEL_M, NORTH + 9000))
    builder = builder_of(scenes)
    after = {name: outcome.window for name, outcome in outcomes(builder).items()}
    assert before.items() < after.items()
    sources = {source.source_id: source.digest for source in builder.sources()}
    assert digests.items() < sources.items()


def test_bad_scenes_are_rejected_with_their_reasons_and_the_rest_is_built(scenes, tmp_path, picture) -> None:
    maps, aerials = scenes
    (maps / "a.tif").write_bytes((maps / "a.tif").read_bytes()[:200])
    save(maps / "b.tif", picture(160, 160, 5), None)
    save(aerials / "d.tif", picture(160, 160, 5), None)
    for place, seed in zip(scenes, (7, 8), strict=True):
        save(place / "small.tif", picture(8, 8, seed), UTM33, rasterio.Affine(PIXEL_M, 0, WEST, 0, -PIXEL_M, NORTH))
    found = outcomes(builder_of(scenes))
    bad = {name: outcome for name, outcome in found.items() if isinstance(outcome, Rejected)}
    assert {name: outcome.reason for name, outcome in bad.items()} == {
        "a": "unreadable",
        "b": "misfit",
        "d": "not-georeferenced",
        "small": "misfit",
    }
    assert bad["b"].detail.startswith("target/b.tif has a place on the Earth (EPSG:32633), input/b.tif has none")
    assert all(str(tmp_path) not in outcome.detail for outcome in bad.values())
    assert sum(isinstance(outcome, Pair) for outcome in found.values()) == 8 * 12


def test_scenes_that_cannot_go_together_are_refused(scenes, picture) -> None:
    with pytest.raises(ConfigError, match="`bounds` and `zoom` are of one raster"):
        builder_of(scenes, zoom=3)
    with pytest.raises(ConfigError, match="'EPSG:x' is no CRS"):
        builder_of(scenes, ground_crs="EPSG:x").grid()
    with pytest.raises(EmptySourceError, match="No tile of 500 px fits a scene"):
        builder_of(scenes, tile_px=500).area()
    (scenes[1] / "a.tif").unlink()
    with pytest.raises(PairingError, match=r"map/a\.tif has no counterpart.*1 of 4 scenes have none"):
        builder_of(scenes).sources()
    for scene in SCENES:
        save(scenes[1] / f"{scene}.tif", picture(32, 32, 1), None)
    with pytest.raises(EmptySourceError, match=r"None of the 4 rasters .* has a place on the Earth"):
        builder_of(scenes).sources()


def test_the_common_grid_may_have_another_crs(scenes) -> None:
    builder = builder_of(scenes, ground_crs=DEGREES)
    assert builder.grid().crs == DEGREES
    a, _, c, _, e, f = builder.grid().transform
    for pair_id, pair in outcomes(builder).items():
        xs, ys = zip(*corners_33(pair_id), strict=True)
        longitudes, latitudes = rasterio.warp.transform(UTM33, DEGREES, xs, ys)
        window = pair.window
        assert c + a * window.x_px <= min(longitudes) < max(longitudes) <= c + a * window.x_end_px
        assert f + e * window.y_end_px <= min(latitudes) < max(latitudes) <= f + e * window.y_px


def test_a_builder_goes_to_a_worker_without_what_it_looked_up(scenes) -> None:
    builder = builder_of(scenes)
    source = builder.sources()[0]
    builder.area()
    copy = pickle.loads(pickle.dumps(builder))
    assert vars(copy).keys() == {"directories", "parameters"}
    assert [o.pair_id for o in copy.build(source)] == [o.pair_id for o in builder.build(source)]


def test_bands_of_latitude_lie_over_all_scenes(scenes, tmp_path) -> None:
    split = SplitRequest(kind="latitude")
    build(BuildRequest(builder="maps", sources=scenes, out=tmp_path / "p", parameters={"tile_px": TILE_PX}, split=split))
    store = PairStore.open(tmp_path / "p")
    assert store.manifest.counts["train"]
    assert store.manifest.counts["test"]
    assert (smallest_gap_px(store.pairs) or 0) >= TILE_PX
    lowest_train = min(bounds_33(r.pair_id)[1] for r in store.pairs if r.split == "train")
    assert lowest_train > max(bounds_33(r.pair_id)[3] for r in store.pairs if r.split == "test")


places = st.tuples(st.integers(-300, 300), st.integers(-300, 300))


corners_px = st.lists(places, min_size=1, max_size=4)


@given(corners=corners_px, buffer_px=st.integers(0, 40), block_px=st.integers(16, 80), seed=st.integers(0, 5))
def test_kept_tiles_of_sparse_ground_are_two_buffers_apart(corners, buffer_px, block_px, seed) -> None:
    ground = tuple(Window(y, x, 64, 64) for y, x in corners)
    area = Window(-300, -300, 664, 664)
    rule = BlockSplit(area=area, block_px=block_px, buffer_px=buffer_px, seed=seed, ground=ground)
    offsets = list(product(range(0, 49, 16), repeat=2))
    windows = [Window(part.y_px + y, part.x_px + x, 16, 16) for part in ground for y, x in offsets]
    records = [PairRecord(str(i), "s", rule.split_of(w), i, "", "", w) for i, w in enumerate(windows)]
    kept = [record for record in records if record.split in ("train", "val", "test")]
    gap_px = smallest_gap_px(kept)
    assert gap_px is None or gap_px >= 2 * buffer_px
    assert "outside" not in {record.split for record in records}


@pytest.mark.parametrize("side", [0, 1], ids=["input", "target"])
def test_a_picture_among_scenes_with_a_place_beside_it_is_rejected_with_that_reason(scenes, side) -> None:
    scene = next(iter(SCENES))
    picture = (scenes[side] / f"{scene}.tif").with_suffix(".png")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(picture)
    (scenes[side] / f"{scene}.tif").unlink()
    before = {source.digest for source in builder_of(scenes).sources() if source.scene == scene}
    picture.with_suffix(".pgw").write_text("10\n0\n0\n-10\n400000\n5500000\n")
    builder = builder_of(scenes)
    found = outcomes(builder)[scene]
    assert isinstance(found, Rejected)
    role = ("input", "target")[side]
    assert (found.reason, found.detail) == (
        "unsupported",
        f"{role}/{scene}.png lies where {scene}.pgw says, which is read of GeoTIFFs alone",
    )
    assert before.isdisjoint(source.digest for source in builder.sources()), "so it is built again when that file goes"
