"""Tiles of plain pictures, which lie nowhere: both halves side by side as the paper's maps, or in two directories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.cli import run
from p2p_core.errors import ConfigError, UsageError
from p2p_core.geometry import TileGrid
from p2p_core.pairstore.reader import PairStore
from preprocessing.builders import BUILDERS
from preprocessing.maps import MapsBuilder, MapsParameters
from preprocessing.pairs import Outcome, Pair, Rejected
from preprocessing.plain_tiles import PlainTilesBuilder


def outcomes(*places: Path, **parameters: object) -> dict[str, Outcome]:
    builder = BUILDERS["maps"].make(places, MapsParameters.parse({"tile_px": 16, **parameters}, where="test"))
    assert isinstance(builder, PlainTilesBuilder)
    found: dict[str, Outcome] = {}
    for source in builder.sources():
        of_source = list(builder.build(source))
        assert sum(isinstance(o, Pair) for o in of_source) <= source.max_pairs
        assert all(o.source_id == source.source_id for o in of_source)
        found |= {o.pair_id if isinstance(o, Pair) else o.item: o for o in of_source}
    return found


@pytest.mark.parametrize("side", ["left", "right"])
def test_tiles_are_cut_at_every_stride_out_of_both_halves(tmp_path, picture, save_picture, side) -> None:
    left, right = picture(40, 56, 1), picture(40, 56, 2)
    save_picture(tmp_path / "a.png", np.concatenate([left, right], axis=1))
    found = outcomes(tmp_path, stride_px=8, input_side=side)
    assert len(found) == len(TileGrid(40, 56, 16, 8))
    for window in TileGrid(40, 56, 16, 8):
        pair = found[f"a/y{window.y_px:05d}_x{window.x_px:05d}"]
        assert isinstance(pair, Pair)
        assert pair.window is None, "it has a place in its picture, and none on the ground"
        first, second = (left, right) if side == "left" else (right, left)
        assert np.array_equal(pair.input_HWC, first[window.slices])
        assert np.array_equal(pair.target_HWC, second[window.slices])


def test_two_directories_of_plain_pictures_are_cut_on_the_targets_grid(tmp_path, picture, save_picture) -> None:
    save_picture(tmp_path / "A" / "x_map.png", picture(64, 96, 1))
    save_picture(tmp_path / "B" / "x_aerial.png", picture(32, 48, 2))
    found = outcomes(tmp_path / "A", tmp_path / "B")
    assert len(found) == 2 * 3
    mean = picture(64, 96, 1).reshape(32, 2, 48, 2, 3).mean(axis=(1, 3))
    pair = found["x/y00016_x00032"]
    assert isinstance(pair, Pair)
    assert np.abs(pair.input_HWC - mean[16:32, 32:48]).max() <= 0.5
    assert np.array_equal(pair.target_HWC, picture(32, 48, 2)[16:32, 32:48])


def test_bad_pictures_are_rejected_with_their_reasons_and_the_rest_is_cut(tmp_path, picture, save_picture) -> None:
    for i in range(3):
        save_picture(tmp_path / f"{i}.png", picture(32, 64, i))
    save_picture(tmp_path / "odd.png", picture(32, 63, 4))
    save_picture(tmp_path / "small.png", picture(8, 64, 5))
    save_picture(tmp_path / "twin.png", picture(32, 64, 0))
    flat = picture(32, 64, 6)
    flat[:16, 32:48] = 9
    save_picture(tmp_path / "flat.png", flat)
    (tmp_path / "torn.png").write_bytes((tmp_path / "1.png").read_bytes()[:300])
    found = {name: o.reason for name, o in outcomes(tmp_path).items() if isinstance(o, Rejected)}
    assert found == {
        "odd": "size",
        "small": "size",
        "twin": "duplicate",
        "torn": "truncated",
        "flat/y00000_x00000": "uniform",
    }
    assert outcomes(tmp_path)["small"].detail == "No tile of 16 px fits its 32x8 px"


def test_all_tiles_of_a_picture_lie_in_one_split_and_a_split_by_name_is_refused(
    tmp_path, picture, save_picture, capsys
) -> None:
    for i in range(40):
        save_picture(tmp_path / "maps" / f"{i}.png", picture(32, 64, i))
    command = ["build", "maps", str(tmp_path / "maps"), "--out", str(tmp_path / "pairs"), "--set", "tile_px=16"]
    assert run(command) == 0
    store = PairStore.open(tmp_path / "pairs")
    splits = {record.source_id: set() for record in store.pairs}
    for record in store.pairs:
        splits[record.source_id].add(record.split)
    assert len(splits) == 40
    assert all(len(of_one) == 1 for of_one in splits.values())
    assert set.union(*splits.values()) == {"train", "val", "test"}
    assert run([*command, "--split", "name"]) == 2
    assert "tiles of one picture, which are nearly the same picture" in " ".join(capsys.readouterr().err.split())
    assert run([*command, "--split", "block"]) == 2
    assert run([*command, "--split", "directory"]) == 1
    capsys.readouterr()


def test_directories_called_like_splits_stay_the_split(tmp_path, picture, save_picture) -> None:
    for i, split in enumerate(("train", "val", "test")):
        save_picture(tmp_path / "maps" / split / "1.png", picture(32, 64, i))
    assert run(["build", "maps", str(tmp_path / "maps"), "--out", str(tmp_path / "pairs"), "--set", "tile_px=16"]) == 0
    assert {(r.source_id.split("/")[0], r.split) for r in PairStore.open(tmp_path / "pairs").pairs} == {
        (split, split) for split in ("train", "val", "test")
    }


def test_what_plain_pictures_have_not_is_refused(tmp_path, picture, save_picture) -> None:
    save_picture(tmp_path / "a.png", picture(32, 64, 1))
    with pytest.raises(ConfigError, match="plain pictures do not"):
        outcomes(tmp_path, bounds=(0, 0, 1, 1))
    with pytest.raises(UsageError, match="takes two rasters, not 1"):
        BUILDERS["maps"].make((tmp_path / "a.png",), MapsParameters())


def test_two_plain_pictures_of_one_view_are_cut_like_rasters(tmp_path, picture, save_picture) -> None:
    """Their windows are the target's pixels, so that blocks and buffers keep splits apart."""
    paths = save_picture(tmp_path / "map.png", picture(64, 96, 1)), save_picture(tmp_path / "aerial.png", picture(32, 48, 2))
    builder = BUILDERS["maps"].make(paths, MapsParameters(tile_px=16))
    assert isinstance(builder, MapsBuilder)
    found = [outcome for source in builder.sources() for outcome in builder.build(source)]
    assert [o.window for o in found] == list(TileGrid(32, 48, 16, 16))
    assert all(np.array_equal(o.target_HWC, picture(32, 48, 2)[o.window.slices]) for o in found)


def test_the_papers_maps_are_cut_to_four_tiles_a_picture(shared_data, tmp_path) -> None:
    place = shared_data / "maps" / "train"
    if not place.is_dir():
        pytest.skip(f"{place} is absent")
    (tmp_path / "maps").mkdir()
    for path in sorted(place.iterdir())[:5]:
        (tmp_path / "maps" / path.name).symlink_to(path)
    found = outcomes(tmp_path / "maps", tile_px=256, input_side="right")
    assert len(found) == 5 * 4
    name = sorted(path.stem for path in (tmp_path / "maps").iterdir())[0]
    whole = np.asarray(Image.open(next((tmp_path / "maps").glob(f"{name}.*"))))
    pair = found[f"{name}/y00256_x00000"]
    assert isinstance(pair, Pair)
    assert np.array_equal(pair.input_HWC, whole[256:512, 600:856])
    assert np.array_equal(pair.target_HWC, whole[256:512, :256])


def test_a_picture_with_a_place_beside_it_is_rejected_for_it_would_be_ignored(tmp_path, picture, save_picture) -> None:
    """As `maps` refuses two such rasters; and it is built again when that file has gone."""
    for place in ("A", "B"):
        for i in range(3):
            save_picture(tmp_path / place / f"{i}.png", picture(32, 32, i + 10 * (place == "B")))
    sources = [str(tmp_path / "A"), str(tmp_path / "B")]
    command = ["build", "maps", *sources, "--set", "tile_px=16", "--out", str(tmp_path / "pairs")]
    beside = tmp_path / "A" / "1.PGW"
    beside.write_text("1\n0\n0\n-1\n10\n50\n")
    assert run(command) == 0
    rejected = {record.item: record for record in PairStore.open(tmp_path / "pairs").rejected}
    assert rejected.keys() == {"1"}
    assert rejected["1"].detail == "input/1.png lies where 1.PGW says, which is read of GeoTIFFs alone"
    beside.unlink()
    assert run(command) == 0
    assert not PairStore.open(tmp_path / "pairs").rejected
