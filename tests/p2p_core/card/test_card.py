"""The card for people, and when it is written."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from numpy.typing import NDArray
from PIL import Image

from p2p_core.card import pictures
from p2p_core.card.about import About
from p2p_core.card.card import card_problems, mend_card, read_about, write_card
from p2p_core.card.facts import attributes, rejected_shown
from p2p_core.card.readme import markdown_text
from p2p_core.errors import OutputError, StoreError
from p2p_core.evaluation.sheets import Captioned
from p2p_core.files import sha256_file
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import PairRecord
from p2p_core.pairstore.verify import verify_store
from p2p_core.pairstore.versions import DIGESTS, build_lock, set_current

DATA = Path(__file__).parents[2] / "data"
FILES = {"README.md", "pairs.png", "rejected.png", "croissant.json", "card.json"}


def tree(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def rows_of(readme: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head; `\\|` is no border."""
    section = readme.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_same_store_has_the_same_card_anywhere(store: Path, full_about: About, tmp_path: Path) -> None:
    first = tree(write_card(store, full_about))
    assert set(first) == FILES
    elsewhere = shutil.copytree(store, tmp_path / "another" / "name", ignore=shutil.ignore_patterns("card"))
    assert tree(write_card(elsewhere, full_about)) == first


def test_a_card_that_is_there_is_not_made_again_and_no_pixel_is_decoded(store: Path) -> None:
    card = write_card(store, About())
    made = {path.name: path.stat().st_mtime_ns for path in card.iterdir()}
    for shard in PairStore.open(store).version_path.glob("*/*/c/*/0/0/0"):
        shard.write_bytes(bytes(shard.stat().st_size))
    write_card(store, About())
    assert {path.name: path.stat().st_mtime_ns for path in card.iterdir()} == made
    (card / "pairs.png").unlink()
    with pytest.raises(StoreError):
        write_card(store, About())


def test_what_people_say_of_a_dataset_changes_its_card_and_nothing_else(store: Path, full_about: About) -> None:
    digest = PairStore.open(store).manifest.digest
    plain = tree(write_card(store, About()))
    told = tree(write_card(store, full_about))
    assert {name for name in plain if plain[name] != told[name]} == {"README.md", "croissant.json", "card.json"}
    assert read_about(store) == full_about
    assert PairStore.open(store).manifest.digest == digest
    assert verify_store(store) == []
    readme = told["README.md"].decode()
    assert readme.startswith("# Squares and noise\n")
    assert dict(rows_of(readme.replace("# Squares and noise", "## Squares and noise"), "Squares and noise"))["licence"] == (
        "CC-BY-4.0"
    )
    assert "unknown: none was given" in plain["README.md"].decode()


def test_the_card_names_every_setting_count_rejection_and_digest(card: Path, store: Path) -> None:
    readme, manifest = (card / "README.md").read_text(), PairStore.open(store).manifest
    assert {row[0]: int(row[1]) for row in rows_of(readme, "Pairs")} == manifest.counts
    settings = {row[0].strip("`") for row in rows_of(readme, "How it was built")}
    assert {f"parameters.{name}" for name in manifest.parameters if name != "quality"} <= settings
    assert {"parameters.quality.min_std", "split_rule.kind", "layout.num_buckets", "builder"} <= settings
    rejected = rows_of(readme, "Rejected")
    assert sum(int(row[1]) for row in rejected if row[1]) == sum(manifest.rejected.values()) == 2
    assert all(len(row) == 4 for row in rejected), "a name broke its row"
    assert {row[0] for row in rejected} == set(manifest.rejected)
    assert manifest.input_statistics is not None
    statistics = {(row[0], row[1]): float(row[2]) for row in rows_of(readme, "Statistics")}
    assert statistics["input", "red"] == pytest.approx(manifest.input_statistics.mean[0], abs=0.006)
    assert len(statistics) == 6
    assert manifest.digest in readme
    assert {row[0] for row in rows_of(readme, "Provenance")} <= {
        re.sub(r"([`*\[\]<>|])", r"\\\1", source.source_id) for source in PairStore.open(store).sources
    }


def test_the_card_sums_up_what_builders_count(card: Path, store: Path) -> None:
    snapped = sum(int(pair.attributes["snapped_px"]) for pair in PairStore.open(store).pairs)
    rows = {row[0]: row[1:] for row in rows_of((card / "README.md").read_text(), "Attributes")}
    assert snapped > 0
    assert rows["`snapped_px`"][0] == "16"
    assert f"{snapped:,} in all; 0 in 3 of 16" in rows["`snapped_px`"][1]


def test_attributes_that_name_are_counted_and_those_that_differ_give_one_for_example() -> None:
    def pairs(*values: str) -> list[PairRecord]:
        return [PairRecord(str(i), "s", "train", i, "", "", attributes={"a": value}) for i, value in enumerate(values)]

    assert attributes(pairs("centre", "random", "centre"))[0].text == "centre (2), random (1)"
    assert attributes(pairs(*(f"name {i}" for i in range(20))))[0].text == "20 different values, name 0 for one"
    assert attributes(pairs("1.5", "-2", "3"))[0].text == "-2 to 3, mean 0.8333, 2.5 in all"
    assert attributes(pairs("0", "0"))[0].text == "always 0"
    assert attributes(pairs("nan", "1"))[0].text == "1 (1), nan (1)"


@pytest.mark.parametrize("which", [0, 1])
def test_the_ways_to_load_that_the_card_shows_give_the_first_pair(which: int, card: Path, store: Path) -> None:
    snippet = re.findall(r"```python\n(.*?)```", (card / "README.md").read_text(), re.DOTALL)[which]
    names: dict[str, object] = {}
    exec(snippet.replace("STORE", str(store)), names)
    expected = PairStore.open(store).split("train").read(0)
    np.testing.assert_array_equal(names["input_HWC"], expected[0])
    np.testing.assert_array_equal(names["target_HWC"], expected[1])


def test_the_picture_of_pairs_shows_each_input_beside_its_target(card: Path, store: Path) -> None:
    with Image.open(card / "pairs.png") as image:
        sheet = np.asarray(image)
    input_HWC, target_HWC = PairStore.open(store).split("train").read(0)
    np.testing.assert_array_equal(sheet[46:196, 16:166], input_HWC[::2, ::2])
    target = target_HWC.reshape(150, 2, 150, 2, 3).mean(axis=(1, 3))
    assert np.abs(sheet[46:196, 168:318] - target).max() <= 1


def test_a_version_that_becomes_current_takes_the_card_of_another_away(store: Path, card: Path) -> None:
    set_current(store, PairStore.open(store).version_path)
    assert not card.exists()
    assert {path.name for path in store.iterdir()} - {DIGESTS} == {".lock", "current", "versions"}


def test_what_a_killed_card_left_behind_is_removed_by_the_next_build(store: Path, card: Path) -> None:
    shutil.copytree(card, store / ".card.0123.partial")
    with build_lock(store):
        assert {path.name for path in store.iterdir()} - {DIGESTS} == {".lock", "card", "current", "versions"}


def test_a_directory_called_card_does_not_make_a_store(tmp_path: Path) -> None:
    (tmp_path / "card").mkdir()
    with pytest.raises(OutputError, match="holds something other than a pair store: card"), build_lock(tmp_path):
        pass


def test_no_character_of_a_name_is_markdown_or_html() -> None:
    names = [
        "a|b`<i>*c*[d](e)",
        "__init__",
        "_a_",
        "a_b__c",
        "# no heading",
        "<b>",
        "~~x~~",
        "$x$",
        "back\\slash",
        "two\nlines",
    ]
    shown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for name in names:
        assert html.unescape(shown.renderInline(markdown_text(name))) == " ".join(name.split())


def test_a_store_of_schema_version_1_gets_a_card_too(tmp_path: Path) -> None:
    store = Path(shutil.copytree(DATA / "pair_store_schema_1", tmp_path / "store"))
    assert {path.name for path in write_card(store, About()).iterdir()} == FILES - {"rejected.png"}


def test_a_changed_or_lost_file_of_the_card_is_named_and_the_next_card_is_whole(store: Path, full_about: About) -> None:
    card = write_card(store, full_about)
    written = {name: (card / name).read_bytes() for name in FILES}
    assert card_problems(store) == []
    for name in sorted(FILES):
        (card / name).write_bytes(written[name][:-1] + bytes([written[name][-1] ^ 1]))
        assert [(problem.path, "p2p report" in problem.what) for problem in card_problems(store)] == [(f"card/{name}", True)]
        (card / name).unlink()
        assert [problem.path for problem in card_problems(store)] == [f"card/{name}"]
        write_card(store, full_about)
        assert {name: (card / name).read_bytes() for name in FILES} == written
    mend_card(store)
    assert {name: (card / name).read_bytes() for name in FILES} == written
    (card / "README.md").unlink()
    mend_card(store)
    assert {name: (card / name).read_bytes() for name in FILES} == written


def test_a_card_of_the_first_version_is_sound_until_a_file_of_it_changes(store: Path, card: Path) -> None:
    record = json.loads((card / "card.json").read_bytes())
    del record["digest"]
    (card / "card.json").write_text(json.dumps({**record, "card_version": 1}))
    assert card_problems(store) == []
    (card / "croissant.json").write_text("{}")
    assert [problem.path for problem in card_problems(store)] == ["card/croissant.json"]


def test_a_card_of_another_version_is_a_problem_and_none_at_all_is_not(store: Path, card: Path) -> None:
    name = PairStore.open(store).version_path.name
    (store / "versions" / name).rename(store / "versions" / "0123456789abcdef")
    (store / "current").write_text("0123456789abcdef\n")
    assert [problem.path for problem in card_problems(store)] == ["card/card.json"]
    shutil.rmtree(card)
    assert card_problems(store) == []


def test_the_caption_of_rejected_items_says_how_many_of_them_are_shown(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    headings: list[str] = []
    drawn = pictures.captioned_sheet

    def remembered(sections: Mapping[str, Sequence[Captioned]], *arguments: int, **options: int) -> NDArray[np.uint8]:
        headings.extend(f"{heading} / {len(cells)}" for heading, cells in sections.items())
        return drawn(sections, *arguments, **options)

    monkeypatch.setattr(pictures, "captioned_sheet", remembered)
    shown = rejected_shown(PairStore.open(store), 2)
    assert pictures.rejected_picture(shown, dict.fromkeys(shown, 1234)) is not None
    assert headings
    assert all(re.fullmatch(r"\w+: (\d) of 1,234 rejected / \1", heading) for heading in headings), headings


def test_the_record_tells_what_the_card_was_made_from(card: Path, store: Path) -> None:
    record = json.loads((card / "card.json").read_text())
    assert record["dataset"] == PairStore.open(store).manifest.digest
    assert record["files"] == {name: sha256_file(card / name) for name in FILES - {"card.json"}}
