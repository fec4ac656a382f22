"""What a user gave wrongly exits with 2, what is damaged or missing in the data with 1; both with one message."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from p2p_core.pairstore import PairStore

Call = Callable[..., tuple[int, str, str]]

DATA = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["build", "maps", "a.tif", "b.tif"],
        ["build", "nonsense", "a", "--out", "o"],
        ["build", "maps", "only-one.tif", "--out", "o"],
        ["build", "maps", "a.tif", "b.tif", "--out", "o", "--reserve", "1,2,3"],
        ["build", "maps", "a.tif", "b.tif", "--out", "o", "--reserve", "5,5,1,1"],
        ["build", "maps", "a.tif", "b.tif", "--out", "o", "--reserve", "1,2,nan,4"],
        ["build", "folders", "a", "--out", "o", "--split", "block"],
        ["build", "folders", "a", "--out", "o", "--reserve", "1,2,3,4"],
        ["build", "folders", "a", "--out", "o", "--buffer-px", "8"],
        ["build", "folders", "a", "--out", "o", "--set", "no_such_key=1"],
        ["build", "folders", "a", "--out", "o", "--set", "no_equals_sign"],
        ["build", "folders", "a", "--out", "o", "--set", "resize_px=[1"],
        ["build", "folders", "a", "--out", "o", "--set", "jitter_px=-1"],
        ["build", "folders", "a", "--out", "o", "--set", "drift.no_such_limit=1"],
        ["build", "folders", "a", "--out", "o", "--about", "no_such_key=1"],
        ["build", "folders", "a", "--out", "o", "--about", "date_published=yesterday"],
        ["build", "folders", "a", "a/", "--out", "o"],
        ["build", "folders", ".", "--out", "o"],
        ["edges", "a", "o", "--set", "no_such_key=1"],
        ["edges", "a", "o", "--scheduler", "nonsense"],
        ["train", "nonsense", "--data", "d", "--out", "o"],
        ["train", "world", "--data", "d", "--out", "o", "--images", "0"],
        ["train", "world", "--data", "d", "--out", "o", "--images", "1", "--minutes", "1"],
        ["train", "world", "--data", "d", "--out", "o", "--minutes", "inf"],
        ["train", "world", "--data", "d", "--out", "o", "--register", "team/model"],
        ["train", "world", "--data", "d", "--out", "o", "--register", ""],
        ["evaluate", "models:nonsense", "--data", "d"],
        ["promote", "name", "not-a-number"],
        ["promote", "o'model", "1"],
        ["translate", "m", "i", "o", "--workers", "-1"],
        ["export", "o", "d", "--to", "gif"],
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(
    arguments: list[str], call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert code == 2
    assert (out + err).strip()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["build", "folders", "pictures", "--out", "o", "--set", "input_encoding=rbg"], "'rbg'"),
        (["build", "folders", "pictures", "--out", "o", "--set", "input_encoding=palette:nobodys"], "'nobodys'"),
        (["build", "folders", "pictures", "--out", "o", "--set", "input_encoding=bands:1:uint12"], "bands:1:uint12"),
        (["drift", "store", "store", "--set", "no_such_limit=1"], "'no_such_limit'"),
        (["train", "maps", "--data", "store", "--out", "o", "--set", "batch_size=0"], "batch_size"),
        (["train", "maps", "--data", "store", "--out", "o", "--set", "generator.input_bands=7"], "input_bands"),
    ],
)
def test_a_wrong_value_of_a_setting_is_wrong_usage(
    arguments: list[str], named: str, call: Call, pair_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"store": pair_store, "pictures": pair_store.parent / "pictures"}
    code, said, err = call(*(places.get(argument, argument) for argument in arguments))
    assert (code, said) == (2, "")
    assert named in err


def test_training_without_validation_pairs_names_the_options_that_build_some(
    call: Call, pictures: Path, tmp_path: Path
) -> None:
    shutil.rmtree(pictures / "val")
    build = ("build", "folders", pictures, "--out", tmp_path / "store")
    train = ("train", "maps", "--data", tmp_path / "store", "--out", tmp_path / "run", "--images", 1)
    train = (*train, "--set", "generator.depth=2", "--set", "augment.resize_px=null", "--set", "augment.crop_px=32")
    assert call(*build)[0] == 0
    code, _, err = call(*train)
    assert (code, "no pairs in split 'val', only in train (48 pairs), test (8 pairs)" in err) == (1, True)
    options = err.strip().removesuffix(".").partition("or with ")[2].split()
    assert options == ["--split", "name", "--fractions", "0.8,0.1,0.1"]
    assert call(*build, *options)[0] == 0
    assert PairStore.open(tmp_path / "store").manifest.counts["val"] > 0
    assert call(*build, *options, "--fractions", "1,0,0")[0] == 0
    assert "for val, --fractions 0.6,0.2,0.2 or another --seed" in call(*train)[2]


@pytest.mark.parametrize(
    "arguments", [["build", "folders", "pictures", "--out"], ["train", "maps", "--images", "1", "--data", "store", "--out"]]
)
def test_a_place_whose_name_is_not_utf8_is_wrong_usage(
    arguments: list[str], call: Call, pair_store: Path, tmp_path: Path
) -> None:
    places = {"store": pair_store, "pictures": pair_store.parent / "pictures"}
    out = f"{tmp_path}/{os.fsdecode(bytes([111, 255]))}"
    code, said, err = call(*(places.get(argument, argument) for argument in arguments), out)
    assert (code, said) == (2, "")
    assert f"{tmp_path}/o\\xff is not UTF-8" in err
    assert not Path(out).exists()


def test_a_damaged_file_of_an_output_is_bad_data(tmp_path: Path, call: Call) -> None:
    output = tmp_path / "output"
    shutil.copytree(DATA / "output_schema_1", output)
    job = json.loads((output / "job.json").read_bytes())
    (output / "job.json").write_text(json.dumps({**job, "batch": "two"}))
    code, _, err = call("status", output)
    assert (code, "job.json" in err) == (1, True)
