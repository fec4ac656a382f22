"""The page as a whole: one file, whole or partial, the same bytes, and nothing from outside."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from p2p_core.errors import EmptySourceError, OutputError
from p2p_core.report.page import write_report

MAX_PAGE_BYTES = 15_000_000
VOID = {"img", "link", "meta", "input", "line", "path", "rect", "br"}

PARTS = {
    "demo.json": ("The record of the steps", "Versions and digests", "Ways to look further"),
    "promotion.json": (),
    "evaluation/evaluation.json": ("The evaluation",),
    "evaluation/sheet.png": ("The sheet of test tiles",),
    "run/metrics.jsonl": ("The training curves",),
    "run/sheets": ("The sheets made during training",),
    "pairs": ("The pair store",),
    "sources/aerial.tif": ("The pair store",),
    "sources/scene.tif": ("The translated region",),
    "scene.tif": ("The translated region", "The seam check"),
    "scene/job.json": ("The seam check",),
    "xyz-tiles": ("The seam check", "The XYZ tiles"),
}
"""What is missing from a demo -> the parts of the page that say so."""


class PageParser(HTMLParser):
    """Collects what a page refers to and checks that its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.references: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(values)
        self.references += [v for k, v in attributes if k in ("src", "href", "srcset", "poster", "action", "data") and v]
        self.ids += [v for k, v in attributes if k == "id" and v]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes something else"


def parse(page: Path) -> PageParser:
    parser = PageParser()
    parser.feed(page.read_text())
    parser.close()
    assert parser.open == []
    return parser


def not_made(page: Path) -> list[str]:
    return re.findall(r"<b>([^<]+): not made\.</b>", page.read_text())


def test_page_of_a_whole_demo_misses_nothing(demo: Path) -> None:
    page = write_report(demo)
    assert page == demo / "report.html"
    assert not_made(page) == []
    assert page.stat().st_size < MAX_PAGE_BYTES


def test_page_needs_nothing_from_outside(demo: Path) -> None:
    page = write_report(demo)
    parser = parse(page)
    local = {"scene.tif", "xyz-tiles/"}
    for reference in parser.references:
        assert reference in local or reference.startswith(("data:", "#")), reference[:80]
    assert {r[1:] for r in parser.references if r.startswith("#")} <= set(parser.ids)
    assert "url(" not in page.read_text()
    assert "@import" not in page.read_text()
    assert not re.search(r"(?:fetch|XMLHttpRequest|import)\s*\(", page.read_text())


def test_every_picture_says_what_it_shows_and_decodes(demo: Path) -> None:
    images = parse(write_report(demo)).images
    assert len(images) >= 14
    for image in images:
        assert image["alt"], image["src"]
        head, _, data = str(image["src"]).partition(",")
        assert head == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            picture.load()
            assert [str(side) for side in picture.size] == [image["width"], image["height"]]


def test_the_same_demo_gives_the_same_bytes_wherever_it_lies(demo: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(demo, tmp_path / "moved" / "other-name"))
    assert write_report(demo).read_bytes() == write_report(elsewhere).read_bytes()
    assert write_report(demo).read_bytes() == write_report(elsewhere).read_bytes(), "a page must not depend on the last one"


def test_the_same_partial_demo_gives_the_same_bytes_wherever_it_lies(demo: Path, tmp_path: Path) -> None:
    remove(demo / "pairs")
    (demo / "evaluation" / "evaluation.json").write_text("{")
    elsewhere = Path(shutil.copytree(demo, tmp_path / "moved" / "other-name"))
    assert write_report(demo).read_bytes() == write_report(elsewhere).read_bytes()
    assert str(tmp_path) not in write_report(demo).read_text()


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named_in_its_place(part: str, demo: Path) -> None:
    remove(demo / part)
    page = write_report(demo)
    assert tuple(not_made(page)) == PARTS[part]
    parse(page)


@pytest.mark.parametrize("part", [part for part in PARTS if Path(part).suffix])
def test_a_damaged_part_is_named_in_its_place(part: str, demo: Path) -> None:
    (demo / part).write_bytes((demo / part).read_bytes()[:40] + b"\xff{damaged")
    page = write_report(demo)
    assert tuple(not_made(page)) == PARTS[part]
    parse(page)


@pytest.mark.parametrize(
    "part", ["demo.json", "promotion.json", "evaluation/evaluation.json", "scene/job.json", "scene/seams.json"]
)
def test_a_part_with_a_field_of_another_type_is_named_in_its_place(part: str, demo: Path) -> None:
    values = json.loads((demo / part).read_text())
    (demo / part).write_text(json.dumps(dict.fromkeys(values, "not what it should be")))
    page = write_report(demo)
    assert "is not a valid" in page.read_text()
    parse(page)


def test_every_alarm_of_the_run_stands_beside_its_curves_with_its_place_and_meaning(demo: Path) -> None:
    assert 'id="alarms"' not in write_report(demo).read_text(), "none sounded"
    with (demo / "run" / "metrics.jsonl").open("a") as file:
        for images_seen, kind in ((6100, "collapse"), (12300, "divergence"), (18000, "collapse")):
            file.write(json.dumps({"images_seen": images_seen, f"alarm_{kind}": 1.0}) + "\n")
    page = write_report(demo)
    table = page.read_text().split('id="alarms"')[1].split("</table>")[0]
    rows = re.findall(r'<th scope="row">(\w+)<small>([^<]+)</small></th><td>([\d,]+)</td>', table)
    assert [(name, images_seen) for name, _, images_seen in rows] == [
        ("Collapse", "6,100"),
        ("Divergence", "12,300"),
        ("Collapse", "18,000"),
    ]
    assert "painted no detail" in rows[0][1]
    assert "far above what the run had reached" in rows[1][1]
    assert "Lower optimiser.learning_rate" in rows[1][1]
    assert not_made(page) == []
    parse(page)


def test_seams_that_were_never_checked_are_named(demo: Path) -> None:
    for name in ("scene", "xyz"):
        remove(demo / name / "seams.json")
    assert not_made(write_report(demo)) == ["The seam check"]


def test_a_demo_that_was_killed_at_once_still_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    page = write_report(tmp_path)
    assert len(not_made(page)) == 11
    assert "the gate has not run" in page.read_text()
    parse(page)


def test_a_directory_that_is_no_demo_is_refused(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(EmptySourceError, match=r"holds no demo output.*p2p demo"):
            write_report(directory)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_an_error_with_a_remedy(demo: Path) -> None:
    (demo / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html is in the way"):
        write_report(demo)


def test_a_model_that_was_not_promoted_is_marked_with_the_reason(demo: Path) -> None:
    promotion = {
        "promoted": False,
        "reason": "test L1 22.10 does not beat the affine colour fit's 21.40",
        "name": "w",
        "version": "1",
    }
    (demo / "promotion.json").write_text(json.dumps(promotion))
    text = write_report(demo).read_text()
    assert "Not promoted: test L1 22.10 does not beat the affine colour fit&#39;s 21.40" in text
    assert "was promoted" not in text


def test_what_comes_from_files_is_text_and_never_markup(demo: Path) -> None:
    attack = "<script>alert(1)</script>"
    record = json.loads((demo / "demo.json").read_text())
    record["steps"][0]["detail"] = record["hardware"] = record["ways_to_look"][0] = record["versions"]["torch"] = attack
    (demo / "demo.json").write_text(json.dumps(record))
    text = write_report(demo).read_text()
    assert attack not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
