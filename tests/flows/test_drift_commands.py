"""`p2p build --check-drift`, `p2p drift` and `p2p use`: what they print and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from p2p_core.pairstore import PairStore

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def refused(pictures: Path, tmp_path: Path, call: Call) -> tuple[Path, str, str]:
    """A store, its current version, and the one that it refused: half the training pictures are gone."""
    store = tmp_path / "store"
    build = ("build", "folders", pictures, "--out", store, "--check-drift")
    assert call(*build)[0] == 0
    current = PairStore.open(store).version_path.name
    for picture in sorted((pictures / "train").iterdir())[:24]:
        picture.unlink()
    for _ in range(2):
        code, said, err = call(*build)
        assert (code, said) == (1, "")
        assert "sources_gone of sources is 0.375 (64 -> 40), limit 0.1" in err
        assert PairStore.open(store).version_path.name == current
    (other,) = {path.name for path in (store / "versions").iterdir()} - {current}
    assert f"accept it with `p2p use {store}@{other}`" in err
    return store, current, other


def test_a_refused_version_is_looked_at_and_accepted(refused: tuple[Path, str, str], pictures: Path, call: Call) -> None:
    store, current, other = refused
    code, said, _ = call("drift", store, f"{store}@{other}")
    assert code == 1
    rows = [line.split() for line in said.splitlines()]
    assert ["sources_gone", "sources", "64", "40", "0.375", "0.1", "beyond"] in rows
    assert ["pairs", "split", "train", "48", "24", "0.5", "0.5"] in rows
    assert said.splitlines()[-1] == f"1 of {len(rows) - 4} measures are beyond their limits"
    assert call("verify", f"{store}@{other[:6]}")[:2] == (
        0,
        f"{store}/versions/{other}: pair store, every file is what was written\n",
    )
    assert call("use", f"{store}@{other[:6]}")[:2] == (0, f"{store}: version {other} is current\n")
    assert "; unchanged" in call("build", "folders", pictures, "--out", store, "--check-drift")[1]
    code, said, _ = call("drift", store, "--json")
    found = json.loads(said)
    assert (code, found["beyond"]) == (1, True)
    assert [Path(found[side]).name for side in ("before", "after")] == [current, other]
    assert {row["measure"]: row["drift"] for row in found["measured"] if row["beyond"]} == {"sources_gone": 0.375}
    assert call("use", f"{store}@{current}")[0] == 0
    assert current in (store / "card" / "README.md").read_text()
    assert PairStore.open(store).version_path.name == current


def test_a_raised_limit_lets_it_pass_and_a_lower_one_does_not(
    refused: tuple[Path, str, str], pictures: Path, call: Call
) -> None:
    store, current, other = refused
    raised = ("--set", "drift.sources_gone=0.4", "--set", "drift.pairs=0.45")
    code, _, err = call("build", "folders", pictures, "--out", store, *raised)
    assert code == 1
    assert "pairs of split train is 0.5 (48 -> 24), limit 0.45" in err
    assert "raise the limit of drift.pairs." in err
    assert call("drift", store, f"{store}@{other}", "--set", "sources_gone=0.4")[0] == 0
    assert call("build", "folders", pictures, "--out", store, "--set", "drift.sources_gone=0.4")[0] == 0
    assert PairStore.open(store).version_path.name == other != current


def test_without_the_check_any_version_becomes_current(refused: tuple[Path, str, str], pictures: Path, call: Call) -> None:
    store, _, other = refused
    assert call("build", "folders", pictures, "--out", store)[0] == 0
    assert PairStore.open(store).version_path.name == other


def test_what_cannot_be_measured_or_used_is_an_error(pair_store: Path, tmp_path: Path, call: Call) -> None:
    for arguments, code, message in (
        (["drift", pair_store], 1, "has no version but"),
        (["drift", pair_store, tmp_path], 1, "is not a pair store"),
        (["drift", pair_store, pair_store, "--set", "mean=1"], 2, "unknown key 'mean'. Known keys are: pairs, rejected"),
        (["drift", pair_store, pair_store, "--set", "std_ratio=0.5"], 2, "greater than or equal to 1"),
        (["build", "folders", tmp_path, "--out", tmp_path / "out", "--set", "drift.x=1"], 2, "unknown key 'x'"),
        (["use", pair_store], 2, "Write STORE@VERSION"),
        (["use", f"{pair_store}@nothing"], 1, "has no version 'nothing'. Use one of: "),
        (["use", tmp_path / "nowhere@1"], 2, "names no version of a pair store"),
        (["verify", f"{pair_store}@nothing"], 1, "has no version 'nothing'"),
    ):
        found, said, err = call(*arguments)
        assert (found, said) == (code, "")
        assert message in err
