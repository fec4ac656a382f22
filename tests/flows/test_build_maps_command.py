"""`p2p build maps`: splits by place from the shell, and what is said where there is no place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from flows.cli import run
from p2p_core.pairstore.reader import PairStore
from preprocessing.gaps import smallest_gap_px


def noise(seed: int, height_px: int = 160, width_px: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


@pytest.fixture
def rasters(tmp_path: Path) -> list[str]:
    """A map and an aerial view in UTM, 10 m pixels."""
    paths = []
    for seed, name in enumerate(("map.tif", "aerial.tif")):
        pixels = noise(seed)
        transform = rasterio.Affine(10, 0, 400_000, 0, -10, 5_500_000)
        size = {"height": pixels.shape[0], "width": pixels.shape[1], "count": 3, "dtype": "uint8"}
        with rasterio.open(tmp_path / name, "w", driver="GTiff", crs="EPSG:32633", transform=transform, **size) as dataset:
            dataset.write(np.moveaxis(pixels, 2, 0))
        paths.append(str(tmp_path / name))
    return paths


def test_a_split_by_latitude_from_the_shell_keeps_train_north_and_test_south_of_the_median(
    tmp_path: Path, rasters: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["build", "maps", *rasters, "--out", str(tmp_path / "pairs"), "--set", "tile_px=16", "--split", "latitude"]
    assert run(command) == 0
    told = capsys.readouterr()
    assert "by latitude" not in told.err
    assert "hint: 9 of 30 tiles lie on the lines between splits, or within 8 px, half a tile, of them" in told.out
    assert "--buffer-px sets that" in told.out
    store = PairStore.open(tmp_path / "pairs")
    rows = {split: {r.window.y_px for r in store.pairs if r.split == split and r.window} for split in ("train", "val", "test")}
    assert rows == {"train": {0, 16}, "val": {48}, "test": {96, 112, 128, 144}}  # half a tile beside each line is left out
    assert store.manifest.rejected == {"buffer": 9}
    assert smallest_gap_px(store.pairs) == 16
    assert run([*command, "--buffer-px", "0", "--fractions", "0.5,0.3,0.2"]) == 0
    assert PairStore.open(tmp_path / "pairs").manifest.counts == {"train": 15, "val": 9, "test": 6}
    assert "hint: " not in capsys.readouterr().out


def test_two_trees_of_tiles_from_the_shell_pair_what_both_have_and_name_what_one_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, tree in enumerate(("osm", "aerial")):
        for x in range(512, 518):
            for y in range(300, 306):
                path = tmp_path / tree / "10" / str(x) / f"{y}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(noise(seed * 10_000 + x * 100 + y, 16, 16)).save(path)
    (tmp_path / "aerial" / "10" / "514" / "303.png").unlink()
    trees = [str(tmp_path / "osm"), str(tmp_path / "aerial")]
    command = ["build", "maps", *trees, "--out", str(tmp_path / "pairs")]
    assert run(command) == 2
    assert "aerial are 16 px, not 256. Set tile_px to 16: --set tile_px=16" in " ".join(capsys.readouterr().err.split())
    command += ["--set", "tile_px=16", "--block-px", "32", "--buffer-px", "8", "--fractions", "0.6,0.2,0.2"]
    assert run(command) == 0
    out = capsys.readouterr().out
    assert "1 missing_target" in out
    assert "10/514/303: input/osm and target/aerial: only the input has 10/514/303" in out
    assert smallest_gap_px(PairStore.open(tmp_path / "pairs").pairs) == 32
    assert run(command) == 0
    assert "; unchanged" in capsys.readouterr().out


def test_the_help_tells_the_splits_by_place_and_their_buffers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in (
        "--split latitude",
        "two XYZ trees z/x/y.png",
        "beyond the median of the tiles",
        "half a tile",
        "0.4,0.1,0.5",
    ):
        assert words in text


def test_pictures_without_a_place_have_no_latitude_and_exit_with_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(tmp_path / name) for name in ("map.png", "aerial.png")]
    for seed, path in enumerate(paths):
        Image.fromarray(noise(seed)).save(path)
    command = ["build", "maps", *paths, "--out", str(tmp_path / "pairs"), "--set", "tile_px=16"]
    assert run([*command, "--split", "latitude"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "aerial.png has no place on the Earth" in message
    assert "its tiles have no latitude. Split by block, or give the target its CRS" in message
    assert not (tmp_path / "pairs" / "current").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "latitude"], "Builder gray makes pairs without a place, which cannot be split by latitude"),
        (["--split", "name", "--buffer-px", "3"], "A split by name knows no ground"),
        (["--fractions", "0.5,0.5"], "'0.5,0.5' are no shares of train, val and test"),
        (["--fractions", "0.5,0.5,0.5"], "Write three numbers that add up to 1"),
        (["--fractions", "0.5,0.3,0.2", "--split", "directory"], "Leave out --fractions"),
    ],
)
def test_a_split_that_the_pairs_cannot_have_is_wrong_usage(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(noise(1)).save(tmp_path / "photos" / "a.png")
    assert run(["build", "gray", str(tmp_path / "photos"), "--out", str(tmp_path / "pairs"), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
