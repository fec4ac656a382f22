"""Inputs and targets as data sets name them: by endings that are given, or can be told, and refused where they cannot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2p_core.errors import EmptySourceError, PairingError, UsageError
from p2p_core.palettes import LABEL_IDS, OTHER_COLOURS, PALETTES
from preprocessing.builders import BUILDERS
from preprocessing.endings import Endings, fitting_endings
from preprocessing.matching import find_pictures
from preprocessing.pairs import Outcome, Pair, Rejected

CITYSCAPES, CAMVID = PALETTES["cityscapes"], PALETTES["camvid"]
STREETS = ("aachen/aachen_000000_000019", "aachen/aachen_000001_000019", "bochum/bochum_000000_000600")


def outcomes(name: str, *places: Path, **parameters: object) -> Mapping[str, Outcome]:
    kind = BUILDERS[name]
    values = {"layout": "two", **parameters} if name == "folders" else {"resize_px": (32, 32), **parameters}
    builder = kind.make(places, kind.parameters.parse(values, where="test"))
    return {source.source_id: outcome for source in builder.sources() for outcome in builder.build(source)}


@pytest.fixture
def cityscapes(tmp_path: Path, picture, save_picture) -> tuple[Path, Path]:
    """leftImg8bit and gtFine as Cityscapes has them; each label picture shows all ids from 0 to 33, four pixels each."""
    ids = np.arange(34).repeat(4)[np.newaxis].repeat(32, axis=0)[..., np.newaxis].astype(np.uint8)
    train_ids = np.array([255 if n == "void" else CITYSCAPES.names.index(n) for n in LABEL_IDS["cityscapes"]], np.uint8)
    for i, name in enumerate(STREETS):
        save_picture(tmp_path / "leftImg8bit" / "train" / f"{name}_leftImg8bit.png", picture(32, 136, i))
        ground_truth = tmp_path / "gtFine" / "train" / f"{name}_gtFine"
        noted = np.roll(ids, 4 * i, axis=1)
        save_picture(ground_truth.with_name(f"{ground_truth.name}_labelIds.png"), noted)
        save_picture(ground_truth.with_name(f"{ground_truth.name}_labelTrainIds.png"), train_ids[noted])
        rgb = np.array([_colour_of_id(n) for n in range(34)], np.uint8)[noted[..., 0]]
        opaque = np.concatenate([rgb, np.full_like(noted, 255)], axis=-1)
        save_picture(ground_truth.with_name(f"{ground_truth.name}_color.png"), opaque)
        ground_truth.with_name(f"{ground_truth.name}_polygons.json").write_text("{}")
    return tmp_path / "leftImg8bit", tmp_path / "gtFine"


def _colour_of_id(number: int) -> tuple[int, int, int]:
    """As cityscapesScripts' labels.py colours it."""
    finer = {5: 0, 6: 1, 9: 2, 10: 3, 14: 4, 15: 5, 16: 6, 29: 7, 30: 8}
    if number in finer:
        return list(OTHER_COLOURS["cityscapes"])[finer[number]]
    if number == 18:  # polegroup
        return (153, 153, 153)
    return CITYSCAPES.colours[CITYSCAPES.names.index(LABEL_IDS["cityscapes"][number])]


@pytest.mark.parametrize("kind", ["color", "labelIds", "labelTrainIds"])
def test_every_kind_of_cityscapes_label_picture_gives_the_same_classes(cityscapes, kind) -> None:
    found = outcomes(
        "labels", *cityscapes, palette="cityscapes", resize_px=None, photo_suffix="_leftImg8bit", label_suffix=f"_gtFine_{kind}"
    )
    assert set(found) == {f"train/{name}" for name in STREETS}
    for i, name in enumerate(STREETS):
        pair = found[f"train/{name}"]
        assert isinstance(pair, Pair)
        assert pair.attributes == {"snapped_px": "0", "split": "train"}
        names = [CITYSCAPES.names[k] for k in CITYSCAPES.classes_of(np.roll(pair.input_HWC, -4 * i, axis=1)[0, ::4])]
        expected = list(LABEL_IDS["cityscapes"])
        if kind == "color":  # polegroups are drawn as poles
            expected[18] = "pole"
        assert names == expected


def test_ids_are_told_by_name_unless_they_are_given(cityscapes, tmp_path) -> None:
    for path in sorted((tmp_path / "gtFine").rglob("*_labelIds.png")):
        path.rename(path.with_name(path.name.replace("labelIds", "ids")))
    options = {"palette": "cityscapes", "photo_suffix": "_leftImg8bit", "label_suffix": "_gtFine_ids"}
    rejected = outcomes("labels", *cityscapes, **options)["train/" + STREETS[0]]
    assert isinstance(rejected, Rejected)
    assert (
        rejected.detail == "It holds class 33; palette cityscapes has classes 0 to 19; its labelIds are read with ids=labelIds"
    )
    assert isinstance(outcomes("labels", *cityscapes, **options, ids="labelIds")["train/" + STREETS[0]], Pair)
    with pytest.raises(UsageError, match="Palette camvid has no labelIds of its own"):
        outcomes("labels", *cityscapes, palette="camvid", ids="labelIds")


def test_where_several_endings_would_do_none_is_chosen_and_all_are_named(cityscapes) -> None:
    with pytest.raises(PairingError) as caught:
        outcomes("labels", *cityscapes, palette="cityscapes")
    assert "aachen_000000_000019_leftImg8bit.png has no counterpart" in caught.value.problem
    for kind in ("color", "labelIds", "labelTrainIds"):
        assert f"--set photo_suffix=_leftImg8bit --set label_suffix=_gtFine_{kind}" in caught.value.remedy
    with pytest.raises(PairingError, match="--set input_suffix=_leftImg8bit --set target_suffix=_gtFine_color"):
        outcomes("folders", *cityscapes)


def test_files_without_the_ending_take_no_part(cityscapes) -> None:
    found = outcomes("folders", *cityscapes, input_suffix="_leftImg8bit", target_suffix="_gtFine_color")
    assert {name: type(outcome) for name, outcome in found.items()} == {f"train/{name}": Pair for name in STREETS}


def test_camvids_own_label_pictures_pair_by_themselves_and_give_segnets_classes(tmp_path, picture, save_picture) -> None:
    finer = OTHER_COLOURS["camvid"]
    drawn = np.array([*finer, *CAMVID.colours], np.uint8).repeat(4, axis=0)[np.newaxis].repeat(32, axis=0)
    for i, name in enumerate(("0001TP_006690", "0001TP_006720", "Seq05VD_f00000")):
        save_picture(tmp_path / "raw" / f"{name}.png", picture(32, drawn.shape[1], i))
        save_picture(tmp_path / "labels" / f"{name}_L.png", np.roll(drawn, i, axis=1))
    found = outcomes("labels", tmp_path / "raw", tmp_path / "labels", palette="camvid", resize_px=None)
    pair = found["0001TP_006690"]
    assert isinstance(pair, Pair)
    assert pair.attributes["snapped_px"] == "0"
    names = [CAMVID.names[k] for k in CAMVID.classes_of(pair.input_HWC[0, ::4])]
    assert names == [*finer.values(), *CAMVID.names]
    assert len(set(finer) | set(CAMVID.colours)) == len(finer) + len(CAMVID)


def test_photos_and_labels_in_one_directory_are_told_apart_by_their_files_suffixes(tmp_path, picture) -> None:
    """The CMP Facades base: cmp_b0001.jpg, cmp_b0001.png and cmp_b0001.xml."""
    for i in range(3):
        Image.fromarray(picture(40, 40, i)).save(tmp_path / f"cmp_b{i:04d}.jpg")
        Image.fromarray(picture(40, 40, i, bands=1)[..., 0] % 12).save(tmp_path / f"cmp_b{i:04d}.png")
        (tmp_path / f"cmp_b{i:04d}.xml").write_text("<object/>")
    with pytest.raises(PairingError, match=r"have one name.*this directory twice.* to \.jpg and \.png"):
        outcomes("folders", tmp_path, tmp_path, input_suffix="", target_suffix=".jpg")
    found = outcomes("labels", tmp_path, tmp_path, palette="facades", photo_suffix=".jpg", label_suffix=".png")
    assert {name: type(outcome) for name, outcome in found.items()} == {f"cmp_b{i:04d}": Pair for i in range(3)}
    with pytest.raises(UsageError, match=r"labels takes two directories, and .* is given twice"):
        outcomes("labels", tmp_path, tmp_path, palette="facades")


@pytest.mark.parametrize(("input_end", "target_end"), [("_A", "_B"), ("_input", "_target"), ("-ir", ""), ("", ".mask")])
def test_endings_that_all_names_have_are_found(tmp_path, picture, save_picture, input_end, target_end) -> None:
    for i in (1, 2, 10):
        save_picture(tmp_path / "A" / f"img_{i}{input_end}.png", picture(16, 16, i))
        save_picture(tmp_path / "B" / f"img_{i}{target_end}.png", picture(16, 16, 20 + i))
    found = outcomes("folders", tmp_path / "A", tmp_path / "B")
    assert set(found) == {"img_1", "img_2", "img_10"}
    for i in (1, 2, 10):
        pair = found[f"img_{i}"]
        assert isinstance(pair, Pair)
        assert np.array_equal(pair.input_HWC, picture(16, 16, i))
        assert np.array_equal(pair.target_HWC, picture(16, 16, 20 + i))


def test_numbers_at_the_end_are_never_taken_for_endings(tmp_path, picture, save_picture) -> None:
    save_picture(tmp_path / "A" / "house_1.png", picture(16, 16, 1))
    save_picture(tmp_path / "B" / "house_2.png", picture(16, 16, 2))
    with pytest.raises(PairingError, match=r"house_1\.png has no counterpart.*--set input_suffix=_1 --set target_suffix=_2"):
        outcomes("folders", tmp_path / "A", tmp_path / "B")
    found = outcomes("folders", tmp_path / "A", tmp_path / "B", input_suffix="_1", target_suffix="_2")
    assert set(found) == {"house"}


def test_one_missing_counterpart_is_named_with_the_endings_that_fit_the_rest(tmp_path, picture, save_picture) -> None:
    for i in range(9):
        save_picture(tmp_path / "A" / f"img_{i}_A.png", picture(16, 16, i))
        if i != 4:
            save_picture(tmp_path / "B" / f"img_{i}_B.png", picture(16, 16, 20 + i))
    with pytest.raises(PairingError, match="--set input_suffix=_A --set target_suffix=_B"):
        outcomes("folders", tmp_path / "A", tmp_path / "B")
    with pytest.raises(PairingError, match=r"img_4_A\.png has no counterpart.*1 of 9 pictures have none.*Give each pair"):
        outcomes("folders", tmp_path / "A", tmp_path / "B", input_suffix="_A", target_suffix="_B")


def test_an_ending_that_no_name_has_is_refused_with_a_name_that_is_there(tmp_path, picture, save_picture) -> None:
    for place in "AB":
        save_picture(tmp_path / place / "img_1_left.png", picture(16, 16, 1))
    with pytest.raises(EmptySourceError, match=r"A holds no picture whose name ends in '_lft'; img_1_left\.png, for one"):
        outcomes("folders", tmp_path / "A", tmp_path / "B", input_suffix="_lft")
    with pytest.raises(UsageError, match="side by side have one name"):
        outcomes("folders", tmp_path / "A", layout="side_by_side", input_suffix="_left")


def test_a_name_that_is_no_text_is_refused_by_what_can_be_seen_of_it(tmp_path, picture, save_picture) -> None:
    save_picture(tmp_path / "a.png", picture(8, 8, 1))
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"\xff\xfe.png"))
    with pytest.raises(PairingError, match=r"The name of \\xff\\xfe\.png is not UTF-8"):
        find_pictures(tmp_path)


def test_clips_are_matched_by_their_endings_too(tmp_path, save_clip) -> None:
    for name, numbers in (("walk", range(4)), ("run", range(10, 14))):
        save_clip(tmp_path / "ir" / f"{name}_ir.avi", numbers)
        save_clip(tmp_path / "rgb" / f"{name}_rgb.avi", [n + 40 for n in numbers])
    kind = BUILDERS["frames"]
    for values in ({}, {"input_suffix": "_ir", "target_suffix": "_rgb"}):
        builder = kind.make((tmp_path / "ir", tmp_path / "rgb"), kind.parameters.parse(values, where="test"))
        assert {source.source_id for source in builder.sources()} == {"walk", "run"}


def test_endings_are_proposed_for_thousands_of_names_at_once() -> None:
    names = [f"city{i % 20}/city{i % 20}_{i:06d}_000019" for i in range(5000)]
    kinds = ("color", "instanceIds", "labelIds")
    found = fitting_endings([f"{n}_leftImg8bit" for n in names], [f"{n}_gtFine_{kind}" for n in names for kind in kinds])
    assert found == [Endings("_leftImg8bit", f"_gtFine_{kind}") for kind in kinds]


def test_real_camvid_pairs_under_its_original_names(shared_data, tmp_path) -> None:
    photos, labels = shared_data / "camvid" / "val", shared_data / "camvid" / "valannot"
    if not photos.is_dir():
        pytest.skip(f"{photos} is absent")
    for path in sorted(labels.iterdir())[:3]:
        classes = np.asarray(Image.open(path))
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "drawn").mkdir(exist_ok=True)
        (tmp_path / "raw" / f"{path.stem}.jpg").symlink_to(photos / f"{path.stem}.jpg")
        Image.fromarray(CAMVID.colours_of(classes)).save(tmp_path / "drawn" / f"{path.stem}_L.png")
    by_colour = outcomes("labels", tmp_path / "raw", tmp_path / "drawn", palette="camvid")
    for name, pair in by_colour.items():
        assert isinstance(pair, Pair)
        assert pair.attributes["snapped_px"] == "0"
        assert name in {path.stem for path in labels.iterdir()}
