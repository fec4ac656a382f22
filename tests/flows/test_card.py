"""The card that a build leaves beside its versions: when it is made, kept and replaced, and what `--about` does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows.cli import run
from flows.stages.build import BuildRequest
from p2p_core.card.card import CARD_RECORD
from p2p_core.pairstore import PairStore


def build(pictures: Path, *more: str) -> int:
    return run(["build", "folders", str(pictures), "--out", str(pictures.parent / "store"), *more])


def record(store: Path) -> dict[str, object]:
    return dict(json.loads((store / "card" / CARD_RECORD).read_text()))


def changed_at(card: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in card.iterdir()}


def test_a_build_writes_the_card_and_one_that_changes_nothing_leaves_it(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = pictures.parent / "store"
    assert build(pictures) == 0
    written = changed_at(store / "card")
    assert {"README.md", "pairs.png", "croissant.json", CARD_RECORD} == set(written)
    assert record(store)["dataset"] == PairStore.open(store).manifest.digest
    assert build(pictures) == 0
    assert "unchanged" in capsys.readouterr().out
    assert changed_at(store / "card") == written
    assert run(["verify", str(store)]) == 0


def test_the_card_follows_the_current_version_also_back_to_an_earlier_one(pictures: Path) -> None:
    store, away = pictures.parent / "store", pictures.parent / "away.png"
    assert build(pictures) == 0
    first = record(store)
    (pictures / "train" / "000.png").rename(away)
    assert build(pictures) == 0
    second = record(store)
    assert first["dataset"] != second["dataset"] == PairStore.open(store).manifest.digest
    away.rename(pictures / "train" / "000.png")
    assert build(pictures) == 0
    assert record(store) == first


def test_verify_names_a_changed_card_file_and_report_or_a_build_writes_it_again(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = pictures.parent / "store"
    readme = store / "card" / "README.md"
    rebuild = ["build", "folders", str(pictures), "--out", str(store), "--about", "licence=CC0-1.0"]
    assert run(rebuild) == 0
    written = readme.read_bytes()
    for again in (["report", str(store)], rebuild):
        readme.write_bytes(written + b"a word more")
        capsys.readouterr()
        assert run(["verify", str(store)]) == 1
        assert f"{readme} holds other bytes than were written; `p2p report {store}` writes it again" in capsys.readouterr().out
        assert run(again) == 0
        assert readme.read_bytes() == written
        assert run(["verify", str(store)]) == 0


def test_a_store_without_a_card_gets_one_although_nothing_else_is_done(pictures: Path) -> None:
    store = pictures.parent / "store"
    assert build(pictures) == 0
    shutil.rmtree(store / "card")
    assert build(pictures) == 0
    assert record(store)["dataset"] == PairStore.open(store).manifest.digest


def test_about_is_on_the_card_and_changes_no_digest(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = pictures.parent / "store"
    assert build(pictures) == 0
    digest = PairStore.open(store).manifest.digest
    assert build(pictures, "--about", "licence=CC-BY-4.0", "--about", "title=2024 = a year", "--about", "creator=A team") == 0
    assert PairStore.open(store).manifest.digest == digest
    assert "unchanged" in capsys.readouterr().out
    assert record(store)["about"] == {"licence": "CC-BY-4.0", "title": "2024 = a year", "creator": "A team"}
    readme = (store / "card" / "README.md").read_text()
    assert readme.startswith("# 2024 = a year\n")
    assert "| licence | CC-BY-4.0 |" in readme


@pytest.mark.parametrize(
    ("about", "code", "message"),
    [
        ("licence", 2, "'licence' has no '='"),
        ("license=CC0-1.0", 2, "Known keys are: title, description, licence"),
        ("date_published=someday", 2, "date_published"),
    ],
)
def test_an_about_that_means_nothing_is_refused_before_anything_is_built(
    about: str, code: int, message: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(pictures, "--about", about) == code
    assert message in capsys.readouterr().err
    assert not (pictures.parent / "store").exists()


def test_a_schedule_gives_the_same_as_the_option() -> None:
    values = {
        "builder": "folders",
        "sources": ["a"],
        "out": "b",
        "about": {"licence": "CC0-1.0", "date_published": "2026-11-22"},
    }
    request = BuildRequest.model_validate(values)
    assert request.about.licence == "CC0-1.0"
    assert request.model_dump(mode="json")["about"]["date_published"] == "2026-11-22"


def test_report_writes_the_page_of_a_store_beside_its_card(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = pictures.parent / "store"
    assert build(pictures) == 0
    assert run(["report", str(store)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(store / "card" / "report.html")
    assert run(["verify", str(store)]) == 0
    assert build(pictures) == 0
    assert (store / "card" / "report.html").is_file()
