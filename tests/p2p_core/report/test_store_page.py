"""The page about a pair store."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from p2p_core.card.about import About
from p2p_core.card.card import write_card
from p2p_core.errors import StoreError
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.verify import verify_store
from p2p_core.report.store_page import SHOWN, reasons, write_store_report
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import Fractions, NameSplit


@pytest.fixture
def store(labelled_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labelled_store, tmp_path / "store"))


def test_the_page_shows_every_rejected_item_with_its_reason_and_its_picture_where_there_is_one(store: Path) -> None:
    page = write_store_report(store).read_text()
    records = PairStore.open(store).rejected
    assert len(records) == 2
    pictured = dict(re.findall(r'<figure><img src="data:image/jpeg;base64,[^"]+"[^>]*><figcaption><b>(.*?)</b> (.*?)<', page))
    assert pictured == {"val/flat": "The input varies by 0.00 grey levels, less than 1"}
    listed = re.findall(r'<tr><th scope="row">(.*?)</th><td class="text">(.*?)</td></tr>', page)
    assert [name for name, _ in listed][:1] == ["train/a|b`&lt;i&gt;*c*[d](e)"]
    for record in records:
        assert re.search(rf'<h3 class="reason">{record.reason} <span class="tag">1</span>', page)
    assert "<i>*c*" not in page, "a name is not escaped"


def test_more_items_than_are_shown_are_counted(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(SHOWN + 7):
        Image.new("RGB", (16, 8), (index, 0, 0)).save(pictures / f"{index:02d}.png")
    (pictures / "broken.png").write_bytes(b"")
    Image.effect_noise((16, 8), 90).convert("RGB").save(pictures / "good.png")
    build_dataset(
        FoldersBuilder((pictures,), FoldersParameters(layout="side_by_side")),
        tmp_path / "store",
        NameSplit(fractions=Fractions(train=1, val=0, test=0)),
    )
    first, second = reasons(PairStore.open(tmp_path / "store"))
    assert (first.name, first.count, first.num_more) == ("uniform", SHOWN + 7, 7)
    assert (len(first.pictured) + len(first.listed), second.count, second.num_more) == (SHOWN, 1, 0)


def test_the_page_has_what_people_said_statistics_attributes_and_every_setting(store: Path) -> None:
    write_card(store, About(title="Squares & noise", licence="CC-BY-4.0", creator="A laboratory"))
    page = write_store_report(store).read_text()
    assert "<h1>Squares &amp; noise</h1>" in page
    assert "<dd>CC-BY-4.0<small>A laboratory</small></dd>" in page
    manifest = PairStore.open(store).manifest
    assert manifest.input_statistics is not None
    assert f"<td>{manifest.input_statistics.mean[0]:.2f}</td>" in page
    assert '<th scope="row">snapped_px</th><td>16</td>' in page
    assert manifest.digest in page
    assert "<dt>parameters.quality.min_std</dt>" in page


def test_the_page_is_the_same_every_time_and_no_part_of_the_dataset(store: Path, tmp_path: Path) -> None:
    first = write_store_report(store).read_bytes()
    other = shutil.copytree(store, tmp_path / "other", ignore=shutil.ignore_patterns("card"))
    assert write_store_report(other).read_bytes() == first
    assert verify_store(store) == []


def test_a_card_that_is_there_stays_beside_the_page(store: Path) -> None:
    card = write_card(store, About())
    before = {path.name: path.stat().st_mtime_ns for path in card.iterdir()}
    write_store_report(store)
    write_card(store, About())
    assert {path.name: path.stat().st_mtime_ns for path in card.iterdir() if path.name != "report.html"} == before
    assert (card / "report.html").is_file()


def test_a_store_that_was_never_completed_has_no_page(tmp_path: Path) -> None:
    (tmp_path / "building").mkdir()
    with pytest.raises(StoreError, match="its build was interrupted"):
        write_store_report(tmp_path)
