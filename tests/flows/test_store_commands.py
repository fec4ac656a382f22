"""`p2p export --to folders` and `p2p diff`: what they print, their exit codes, and whose format is whose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2p_core.pairstore import PairStore

Call = Callable[..., tuple[int, str, str]]

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def two_versions(pictures: Path, tmp_path: Path, call: Call) -> Path:
    """A store built twice; in between a picture was removed, one moved, one changed, one came and one broke."""
    store = tmp_path / "store"
    assert call("build", "folders", pictures, "--out", store)[0] == 0
    train = pictures / "train"
    (train / "000.png").unlink()
    (train / "001.png").rename(pictures / "val" / "moved.png")
    with Image.open(train / "002.png") as picture:
        halves = np.array(picture)
    halves[:, 72:] ^= 255
    Image.fromarray(halves).save(train / "002.png")
    Image.fromarray(halves[::-1].copy()).save(train / "new.png")
    (train / "003.png").write_bytes(b"broken")
    assert call("build", "folders", pictures, "--out", store)[0] == 0
    return store


def test_a_store_is_exported_and_again_and_what_is_built_from_it_is_the_same(
    pair_store: Path, tmp_path: Path, call: Call
) -> None:
    out = tmp_path / "out"
    code, said, progress = call("export", pair_store, out, "--to", "folders", "--input-side", "right")
    assert (code, said) == (0, f"{out}: 48 train, 8 val, 8 test pictures, 0 of them there before\n")
    assert "export: 64/64 pictures" in progress
    version = PairStore.open(pair_store).version_path
    for again in (f"{pair_store}@{version.name[:8]}", version):
        code, said, _ = call("export", again, out, "--to", "folders", "--input-side", "right")
        assert (code, said) == (0, f"{out}: 48 train, 8 val, 8 test pictures, 64 of them there before\n")
    settings = ("--set", "input_side=right")
    assert call("build", "folders", out, "--out", tmp_path / "again", *settings)[0] == 0
    _, said, _ = call("diff", pair_store, tmp_path / "again", "--json")
    diff = json.loads(said)
    assert (diff["num_unchanged"], diff["changed"], diff["moved"]) == (64, [], [])
    assert [setting["name"] for setting in diff["settings"]] == ["parameters.input_side"]
    assert "\n1 setting changed, 0 moved" in call("diff", pair_store, tmp_path / "again")[1]


def test_what_has_no_such_export_is_wrong_usage_that_names_the_right_one(pair_store: Path, tmp_path: Path, call: Call) -> None:
    output, bundle = DATA / "output_schema_1", DATA / "bundle_schema_1"
    for source, to, message in (
        (pair_store, "cog", "holds a pair store; --to cog exports an archive output. Use --to folders."),
        (pair_store, "xyz", "Use --to folders."),
        (output, "folders", "holds an archive output; --to folders exports a pair store. Use --to cog, xyz or png."),
        (bundle, "folders", "holds a model bundle; --to folders exports a pair store. Use --to onnx."),
        (bundle, "cog", "holds a model bundle; --to cog exports an archive output"),
    ):
        code, said, err = call("export", source, tmp_path / "out", "--to", to)
        assert (code, said) == (2, "")
        assert message in err
    code, _, err = call("export", output, tmp_path / "out", "--to", "cog", "--input-side", "left")
    assert (code, "--to cog knows no sides" in err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_the_difference_of_two_builds_is_told_with_counts_and_names(two_versions: Path, call: Call) -> None:
    code, said, _ = call("diff", two_versions)
    assert code == 0
    first, second, counts, *lines = said.splitlines()
    assert "48 train, 8 val, 8 test pairs" in first
    assert "46 train, 9 val, 8 test pairs" in second
    assert counts == (
        "0 settings changed, 1 moved, 0 renamed, 1 added, 2 removed, 1 changed, 1 rejected now, 0 no longer rejected, "
        "60 pairs unchanged"
    )
    assert lines == [
        "moved: train/001 (train) -> val/moved (val)",
        "added: train/new (train)",
        "removed: train/000 (train)",
        "removed: train/003 (train)",
        "changed: train/002 (train): target",
        "rejected now: train/003 as unreadable: " + lines[-1].partition("unreadable: ")[2],
    ]
    assert "removed: and 1 more" in call("diff", two_versions, "--limit", 1)[1]
    assert len(call("diff", two_versions, "--limit", 0)[1].splitlines()) == 3


def test_a_script_gets_all_of_it_as_json_and_1_where_it_asks_for_it(two_versions: Path, pair_store: Path, call: Call) -> None:
    code, said, _ = call("diff", two_versions, "--json", "--limit", 0, "--exit-code")
    assert code == 1
    diff = json.loads(said)
    assert diff["same"] is False
    assert diff["moved"] == [{"pair_id": "val/moved", "split": "val", "was_id": "train/001", "was_split": "train"}]
    assert diff["removed"] == [{"pair_id": f"train/00{k}", "split": "train"} for k in (0, 3)]
    before = diff["before"]["digest"]
    code, said, _ = call("diff", f"{two_versions}@{before}", pair_store, "--exit-code")
    assert (code, said.splitlines()[-1]) == (0, "the same pairs, splits, rejections and settings")


def test_a_store_that_cannot_be_compared_is_an_error(pair_store: Path, tmp_path: Path, call: Call) -> None:
    for arguments, code, message in (
        ([pair_store], 1, "has no version but"),
        ([pair_store, tmp_path], 1, "is not a pair store"),
        ([f"{pair_store}@nothing", pair_store], 1, "has no version 'nothing'. Use one of: "),
        ([PairStore.open(pair_store).version_path], 2, "is one version"),
        ([pair_store, pair_store, "--limit", "-1"], 2, "--limit"),
    ):
        found, said, err = call("diff", *arguments)
        assert (found, said) == (code, "")
        assert message in err
