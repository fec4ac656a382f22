"""The description for programs, read by MLCommons' own reader."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pytest
from PIL import Image

from p2p_core.card.about import About
from p2p_core.card.card import write_card
from p2p_core.card.croissant import COLUMNS
from p2p_core.files import sha256_file
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import PAIRS_SCHEMA, REJECTED_SCHEMA, SOURCES_SCHEMA

# The reader's own packages have moved on: it uses a class of rdflib and an argument of pandas that are deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index is deprecated"),
]


def described(card: Path) -> mlcroissant.Dataset:
    return mlcroissant.Dataset(jsonld=card / "croissant.json")


def records(card: Path, name: str) -> list[dict[str, Any]]:
    """Rows by column, texts decoded."""
    rows = [{column.removeprefix(f"{name}/"): value for column, value in row.items()} for row in described(card).records(name)]
    return [{c: v.decode() if isinstance(v, bytes) else v for c, v in row.items()} for row in rows]


def test_the_validator_finds_neither_errors_nor_warnings_where_everything_was_given(store: Path, full_about: About) -> None:
    issues = described(write_card(store, full_about)).metadata.issues
    assert (issues.errors, issues.warnings) == (set(), set())


def test_the_validator_misses_only_what_nobody_gave(card: Path) -> None:
    issues = described(card).metadata.issues
    assert issues.errors == set()
    missed = {name for name in ("license", "citeAs", "datePublished", "version") for w in issues.warnings if f"/{name}" in w}
    assert missed == {"license", "citeAs", "datePublished"}
    assert len(issues.warnings) == 3


def test_the_pairs_read_through_the_description_are_those_of_the_table(card: Path, store: Path) -> None:
    rows = records(card, "pairs")
    expected = PairStore.open(store).pairs
    assert len(rows) == len(expected) == 16
    for row, pair in zip(rows, expected, strict=True):
        assert row["pair_id"] == pair.pair_id
        assert (row["split"], row["slot"]) == (pair.split, pair.slot)
        assert (row["input_sha256"], row["target_sha256"]) == (pair.input_sha256, pair.target_sha256)
        assert json.loads(row["attributes_json"]) == pair.attributes
        assert row["y_px"] is None


def test_the_rejected_items_read_through_the_description_have_their_pictures(card: Path, store: Path) -> None:
    rows = {row["item"]: row for row in records(card, "rejected")}
    expected = {record.item: record for record in PairStore.open(store).rejected}
    assert rows.keys() == expected.keys()
    assert {item: row["reason"] for item, row in rows.items()} == {item: r.reason for item, r in expected.items()}
    pictured = {item: row["thumbnail"] for item, row in rows.items() if row["thumbnail"] is not None}
    assert set(pictured) == {"val/flat"}
    assert isinstance(pictured["val/flat"], Image.Image)
    red = np.asarray(pictured["val/flat"].convert("RGB")).reshape(-1, 3).mean(axis=0)
    assert np.abs(red - (255, 0, 0)).max() < 6


def test_splits_have_the_standard_roles_and_sources_their_digests(card: Path, store: Path) -> None:
    assert {row["name"]: row["url"] for row in records(card, "splits")} == {
        "train": "cr:TrainingSplit",
        "val": "cr:ValidationSplit",
        "test": "cr:TestSplit",
    }
    digests = {row["source_id"]: row["digest"] for row in records(card, "sources")}
    assert digests == {source.source_id: source.digest for source in PairStore.open(store).sources}


def test_every_column_that_a_table_can_have_is_described() -> None:
    columns = {name for schema in (PAIRS_SCHEMA, REJECTED_SCHEMA, SOURCES_SCHEMA) for name in schema.names}
    assert columns - COLUMNS.keys() == set()


def test_a_changed_table_does_not_pass_for_the_one_described(card: Path, store: Path) -> None:
    table = PairStore.open(store).version_path / "pairs.parquet"
    table.write_bytes(table.read_bytes() + b" ")
    with pytest.raises(mlcroissant.GenerationError) as failed:
        records(card, "pairs")
    assert "is not identical with the reference" in str(failed.value.__cause__)


def test_files_and_file_sets_are_where_the_description_says(card: Path, store: Path) -> None:
    description = json.loads((card / "croissant.json").read_text())
    objects = {part["@id"]: part for part in description["distribution"] if part["@type"] == "cr:FileObject"}
    version = card / objects.pop("version")["contentUrl"]
    assert set(objects) == {"manifest.json", "pairs.parquet", "rejected.parquet", "sources.parquet"}
    for part in objects.values():
        assert sha256_file(card / part["contentUrl"]) == part["sha256"]
        assert f"{(card / part['contentUrl']).stat().st_size} B" == part["contentSize"]

    manifest = PairStore.open(store).manifest
    in_arrays = {name for name in manifest.files if name.count("/") >= 2}
    patterns = [part["includes"] for part in description["distribution"] if part["@type"] == "cr:FileSet"]
    found = {path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()}
    assert {name for name in found if any(fnmatch.fnmatch(name, p) for p in patterns)} == in_arrays
    assert description["version"] == f"{manifest.schema_version}.0.0+{manifest.digest[:16]}"
    assert description["identifier"] == f"sha256:{manifest.digest}"
