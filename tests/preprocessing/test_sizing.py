"""The size of pairs: kept, cut, padded and with room for jitter, the same for every builder of whole pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from p2p_core.errors import ConfigError, EmptySourceError
from p2p_core.pairstore.reader import PairStore
from p2p_core.palettes import PALETTES
from preprocessing.build import build_dataset
from preprocessing.builders import BUILDERS
from preprocessing.pairs import Outcome, Pair, Rejected
from preprocessing.sizing import PictureParameters
from preprocessing.split import NameSplit

CAMVID, FACADES = PALETTES["camvid"], PALETTES["facades"]
sides = st.integers(1, 60)


def outcomes(name: str, *places: Path, **parameters: object) -> Mapping[str, Outcome]:
    kind = BUILDERS[name]
    builder = kind.make(places, kind.parameters.parse(parameters, where="test"))
    return {source.source_id: outcome for source in builder.sources() for outcome in builder.build(source)}


def pair_of(name: str, *places: Path, **parameters: object) -> Pair:
    (outcome,) = outcomes(name, *places, **parameters).values()
    assert isinstance(outcome, Pair), outcome
    return outcome


def waves(height_px: int, width_px: int) -> np.ndarray:
    """A picture that resizing changes little."""
    y, x = np.mgrid[:height_px, :width_px] / max(height_px, width_px)
    bands = [128 + 100 * np.sin(6 * (x + k * y)) for k in range(3)]
    return np.stack(bands, axis=-1).round().astype(np.uint8)


@given(picture=st.tuples(sides, sides), size=st.tuples(sides, sides), cut=st.tuples(sides, sides), jitter=st.integers(0, 9))
@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_what_is_shown_of_a_picture_fills_its_content_and_that_lies_in_the_pair(picture, size, cut, jitter, fit) -> None:
    cut = min(cut[0], size[0]), min(cut[1], size[1])
    parameters = PictureParameters(resize_px=size, fit=fit, crop_px=cut, jitter_px=jitter)
    pair_px = parameters.pair_px
    assert pair_px == (cut[0] + jitter, cut[1] + jitter)
    placement = parameters.placement(picture, pair_px)
    shown = placement.shown(np.zeros((*picture, 3), np.uint8), lambda part, h, w: np.resize(part, (h, w, 3)))
    assert shown.shape[:2] == (placement.content.height_px, placement.content.width_px) > (0, 0)
    assert placement.content.clip(*pair_px) == placement.content
    if fit != "pad":
        assert shown.shape[:2] == pair_px


def test_pad_keeps_the_whole_picture_in_the_middle_of_a_frame(tmp_path, save_picture) -> None:
    photo = waves(60, 120)
    save_picture(tmp_path / "wide.png", photo)
    pair = pair_of("gray", tmp_path, resize_px=(40, 40), fit="pad", pad_fill=(255, 0, 0))
    assert pair.attributes["content"] == "10,0,20,40"
    shrunk = cv2.resize(photo.astype(np.float32), (40, 20), interpolation=cv2.INTER_AREA)
    assert np.array_equal(pair.target_HWC[10:30], np.rint(shrunk))
    frame = np.r_[0:10, 30:40]
    assert (pair.target_HWC[frame] == (255, 0, 0)).all()
    assert (pair.input_HWC[frame] == 76).all(), "the luminance of the frame's colour"
    tall = cv2.rotate(photo, cv2.ROTATE_90_CLOCKWISE)
    save_picture(tmp_path / "wide.png", tall)
    pair = pair_of("gray", tmp_path, resize_px=(40, 40), fit="pad")
    assert pair.attributes["content"] == "0,10,40,20"
    assert (pair.target_HWC[:, :10] == 128).all()


def test_a_picture_of_the_pairs_aspect_gets_no_frame(tmp_path, save_picture) -> None:
    save_picture(tmp_path / "square.png", waves(80, 80))
    padded = pair_of("gray", tmp_path, resize_px=(40, 40), fit="pad")
    assert "content" not in padded.attributes
    assert np.array_equal(padded.target_HWC, pair_of("gray", tmp_path, resize_px=(40, 40)).target_HWC)


@pytest.mark.parametrize(
    ("builder", "parameters", "reason"),
    [
        ("gray", {}, "uniform"),
        ("colour", {}, "colourless"),
        ("holes", {}, "uniform"),
        ("folders", {"layout": "side_by_side"}, "uniform"),
    ],
)
def test_a_frame_makes_no_blank_picture_a_good_one(tmp_path, save_picture, builder, parameters, reason) -> None:
    save_picture(tmp_path / "blank.png", np.full((20, 80, 3), 250, np.uint8))
    values = {"resize_px": (32, 32), "fit": "pad", "pad_fill": (0, 60, 0), **parameters}
    (rejected,) = outcomes(builder, tmp_path, **values).values()
    assert isinstance(rejected, Rejected)
    assert rejected.reason == reason


def test_a_frame_is_void_in_label_pictures_or_the_first_class(tmp_path, save_picture) -> None:
    classes = np.arange(12, dtype=np.uint8).repeat(5)[np.newaxis].repeat(30, axis=0)
    save_picture(tmp_path / "photos" / "a.png", waves(30, 60))
    save_picture(tmp_path / "labels" / "a.png", classes[..., np.newaxis])
    for name, colours, frame in (("camvid", CAMVID, (0, 0, 0)), ("facades", FACADES, (0, 0, 223))):
        pair = pair_of("labels", tmp_path / "photos", tmp_path / "labels", palette=name, resize_px=(60, 60), fit="pad")
        assert np.array_equal(pair.input_HWC[15:45], colours.colours_of(classes))
        assert (pair.input_HWC[:15] == frame).all()
        assert np.array_equal(pair.target_HWC[15:45], waves(30, 60))
        assert (pair.target_HWC[45:] == 128).all()


def test_folders_pad_a_palette_with_its_void_and_the_other_half_with_grey(tmp_path, save_picture) -> None:
    drawn = CAMVID.colours_of(np.arange(12)).repeat(5, axis=0)[np.newaxis].repeat(30, axis=0)
    save_picture(tmp_path / "a.png", np.concatenate([drawn, waves(30, 60)], axis=1))
    encodings = {"input_encoding": "one_hot:camvid", "target_encoding": "gray"}
    pair = pair_of("folders", tmp_path, layout="side_by_side", resize_px=(60, 60), fit="pad", **encodings)
    assert np.array_equal(pair.input_HWC[15:45], drawn)
    assert (pair.input_HWC[:15] == 0).all()
    assert (pair.target_HWC[:15] == 128).all()
    assert pair.attributes["snapped_px"] == "0"


def test_edges_are_drawn_of_the_photo_and_not_of_its_frame(tmp_path, save_picture) -> None:
    save_picture(tmp_path / "wide.png", waves(40, 120))
    pair = pair_of("edges", tmp_path, resize_px=(96, 96), fit="pad", pad_fill=(255, 255, 255))
    top, left, height, width = map(int, pair.attributes["content"].split(","))
    whole = pair_of("edges", tmp_path, resize_px=(height, width), fit="stretch")
    assert np.array_equal(pair.input_HWC[top : top + height, left : left + width], whole.input_HWC)
    assert (pair.input_HWC[:top] == 255).all()


def test_a_hole_is_a_share_of_the_picture_and_not_of_its_frame(tmp_path, save_picture) -> None:
    save_picture(tmp_path / "wide.png", waves(40, 80))
    pair = pair_of("holes", tmp_path, resize_px=(80, 80), fit="pad", area_share=0.25, fill=(1, 2, 3))
    hole = (pair.input_HWC != pair.target_HWC).any(axis=-1)
    assert hole[:20].sum() == hole[60:].sum() == 0
    assert (pair.input_HWC == (1, 2, 3)).all(axis=-1).sum() == 20 * 40
    save_picture(tmp_path / "wide.png", waves(1, 80))
    (rejected,) = outcomes("holes", tmp_path, resize_px=(80, 80), fit="pad", area_share=0.2).values()
    assert isinstance(rejected, Rejected)
    assert (rejected.reason, "80x1 px: no pixel is in a hole" in rejected.detail) == ("size", True)


def test_crop_cuts_the_middle_after_resizing(tmp_path, save_picture) -> None:
    photo = waves(80, 80)
    save_picture(tmp_path / "a.png", photo)
    whole = pair_of("gray", tmp_path, resize_px=(40, 40)).target_HWC
    assert np.array_equal(pair_of("gray", tmp_path, resize_px=(40, 40), crop_px=(20, 31)).target_HWC, whole[10:30, 4:35])
    assert np.array_equal(pair_of("gray", tmp_path, resize_px=None, crop_px=(20, 30)).target_HWC, photo[30:50, 25:55])


def test_photos_keep_their_own_size_if_it_is_one_and_others_are_rejected(tmp_path, save_picture) -> None:
    for i in range(3):
        save_picture(tmp_path / f"{i}.png", waves(20 + 4 * (i == 2), 30) + np.uint8(i))
    found = outcomes("gray", tmp_path, resize_px=None)
    assert np.array_equal(found["0"].target_HWC, waves(20, 30))
    assert isinstance(found["2"], Rejected)
    assert (found["2"].reason, found["2"].detail) == ("size", "It is 30x24 px where others are 30x20; resize_px helps")
    found = outcomes("gray", tmp_path, resize_px=None, crop_px=(22, 22))
    assert {name: getattr(o, "detail", None) for name, o in found.items()} == {
        "0": "It is 30x20 px, less than the crop of 22x22; resize_px helps",
        "1": "It is 30x20 px, less than the crop of 22x22; resize_px helps",
        "2": None,
    }
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"")
    kind = BUILDERS["gray"]
    with pytest.raises(EmptySourceError, match=r"None of the 1 pictures in .*broken can be read"):
        kind.make((tmp_path / "broken",), kind.parameters.parse({"resize_px": None}, where="test")).size_px()


def test_labels_keep_the_photos_size_whatever_theirs(tmp_path, save_picture) -> None:
    classes = np.arange(12, dtype=np.uint8).repeat(5)[np.newaxis].repeat(30, axis=0)
    save_picture(tmp_path / "photos" / "a.png", waves(60, 120))
    save_picture(tmp_path / "labels" / "a.png", classes[..., np.newaxis])
    pair = pair_of("labels", tmp_path / "photos", tmp_path / "labels", palette="camvid", resize_px=None)
    assert np.array_equal(pair.target_HWC, waves(60, 120))
    assert np.array_equal(pair.input_HWC, CAMVID.colours_of(classes).repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_folders_refuse_halves_that_show_different_views_where_parts_would_go(tmp_path, save_picture, fit) -> None:
    save_picture(tmp_path / "A" / "a.png", waves(40, 80))
    save_picture(tmp_path / "B" / "a.png", waves(40, 60))
    places = tmp_path / "A", tmp_path / "B"
    (rejected,) = outcomes("folders", *places, layout="two", resize_px=(32, 32), fit=fit).values()
    assert isinstance(rejected, Rejected)
    assert rejected.detail == "The input has 80x40 px and the target 60x40: one is not the other at a scale"
    assert pair_of("folders", *places, layout="two", resize_px=(32, 32)).input_HWC.shape == (32, 32, 3)
    (rejected,) = outcomes("folders", *places, layout="two", crop_px=(32, 32)).values()
    assert isinstance(rejected, Rejected)
    assert rejected.detail == "The input has 80x40 px and the target 60x40; resize_px helps"


def test_folders_cut_a_tall_view_out_of_both_halves_at_their_scales(tmp_path, save_picture) -> None:
    save_picture(tmp_path / "A" / "a.png", waves(40, 80))
    save_picture(tmp_path / "B" / "a.png", waves(40, 80).repeat(2, axis=0).repeat(2, axis=1))
    pair = pair_of("folders", tmp_path / "A", tmp_path / "B", layout="two", resize_px=(40, 40), fit="crop")
    assert np.array_equal(pair.input_HWC, waves(40, 80)[:, 20:60])
    assert np.array_equal(pair.target_HWC, pair.input_HWC)


def test_a_store_with_room_for_jitter_holds_larger_pairs_and_tells_their_cores(tmp_path, save_picture) -> None:
    for i in range(8):
        save_picture(tmp_path / "photos" / f"{i}.png", np.roll(waves(90, 90), i, axis=1))
    kind = BUILDERS["gray"]
    builder = kind.make((tmp_path / "photos",), kind.parameters.parse({"resize_px": (32, 40), "jitter_px": 5}, where="test"))
    build_dataset(builder, tmp_path / "store", NameSplit())
    store = PairStore.open(tmp_path / "store")
    assert (store.manifest.height_px, store.manifest.width_px, store.manifest.jitter_px) == (37, 45, 5)
    whole, core = (read()[1] for read in (store.split("train").read_all, store.split("train").read_cores))
    assert core.shape[1:] == (32, 40, 3)
    assert np.array_equal(core, whole[:, 2:34, 2:42])


@pytest.mark.parametrize(
    ("builder", "parameters", "message"),
    [
        ("gray", {"crop_px": (300, 20)}, r"crop_px \[300, 20\] is larger than resize_px \[256, 256\]"),
        ("gray", {"resize_px": None, "jitter_px": 30}, "no room for jitter: give crop_px, or resize_px"),
        ("gray", {"resize_px": (1, 2**29)}, "536870912 x 1 px are more than 268435456 pixels"),
        ("folders", {"layout": "two", "resize_px": (2**15, 2**15)}, "32768 x 32768 px"),
        ("palette", {"resize_px": (2**15, 2**15)}, "32768 x 32768 px"),
        ("frames", {"resize_px": (2**15, 2**15)}, "32768 x 32768 px"),
        ("gray", {"fit": "mirror"}, "'crop', 'stretch' or 'pad'"),
        ("gray", {"pad_fill": (0, 0, 256)}, "less than or equal to 255"),
        ("palette", {"resize_px": None}, "resize_px: Input should be a valid tuple"),
        ("palette", {"crop_px": (9, 9)}, "crop_px"),
        ("frames", {"resize_px": None}, "resize_px: Input should be a valid tuple"),
        ("folders", {"layout": "two", "jitter_px": 30}, "no room for jitter"),
    ],
)
def test_sizes_that_make_no_sense_are_refused_with_what_to_give(builder, parameters, message) -> None:
    with pytest.raises(ConfigError, match=message):
        BUILDERS[builder].parameters.parse(parameters, where="test")


@pytest.mark.parametrize("jitter_px", [0, 30])
def test_real_facades_are_whole_in_a_frame_and_paired_at_the_papers_jitter_size(shared_data, jitter_px) -> None:
    place = shared_data / "facades" / "val"
    if not place.is_dir():
        pytest.skip(f"{place} is absent")
    kind = BUILDERS["folders"]
    values = {"layout": "side_by_side", "input_side": "right", "resize_px": (256, 256), "jitter_px": jitter_px}
    builder = kind.make((place,), kind.parameters.parse(values, where="test"))
    (outcome,) = builder.build(builder.sources()[0])
    assert isinstance(outcome, Pair)
    assert outcome.target_HWC.shape == (256 + jitter_px, 256 + jitter_px, 3)
    photo = np.asarray(Image.open(builder.sources()[0].paths[0]))[:, :256]
    if not jitter_px:
        assert np.array_equal(outcome.target_HWC, photo)
