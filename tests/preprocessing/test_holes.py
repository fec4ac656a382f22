"""Pairs of photos with and without a hole: where it is, how large, and that nothing else is touched."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from p2p_core.errors import ConfigError, UsageError
from p2p_core.pairstore.reader import PairStore
from preprocessing.build import build_dataset
from preprocessing.builders import BUILDERS
from preprocessing.holes import HolesBuilder, HolesParameters, hole_mask
from preprocessing.pairs import Pair, Rejected
from preprocessing.split import DirectorySplit, NameSplit

BY_CHANCE = ("rectangles", "strokes", "random")


def holes(place: Path, **parameters: object) -> HolesBuilder:
    return HolesBuilder((place,), HolesParameters.parse({"resize_px": (64, 96), **parameters}, where="test"))


def only(builder) -> Pair | Rejected:
    (source,) = builder.sources()
    (outcome,) = builder.build(source)
    return outcome


def by_name(builder) -> dict[str, Pair | Rejected]:
    return {source.source_id: next(iter(builder.build(source))) for source in builder.sources()}


@pytest.fixture
def coffee(tmp_path: Path, save_picture) -> Path:
    """A directory of one photo, 400 x 600 px."""
    save_picture(tmp_path / "photos" / "coffee.png", skimage.data.coffee())
    return tmp_path / "photos"


def test_a_quarter_in_the_centre_is_half_of_each_side_and_mid_grey(coffee) -> None:
    builder = holes(coffee)
    pair = only(builder)
    assert (builder.input_encoding, builder.target_encoding) == ("rgb", "rgb")
    expected = pair.target_HWC.copy()
    expected[16:48, 24:72] = 128
    assert np.array_equal(pair.input_HWC, expected)
    assert pair.attributes == {"hole": "centre"}


def test_the_thirty_percent_of_the_tensorflow_tools_are_of_sides() -> None:
    mask_HW = hole_mask("centre", (300, 300), 0.09, np.random.default_rng(0))
    assert mask_HW[105:195, 105:195].all()
    assert mask_HW.sum() == 90 * 90


@pytest.mark.parametrize("hole", ["centre", *BY_CHANCE])
def test_the_target_is_the_photo_and_outside_the_hole_the_input_has_its_very_pixels(coffee, hole) -> None:
    builder = holes(coffee, hole=hole, fill=(1, 254, 3))
    pair = only(builder)
    whole_HWC = only(BUILDERS["gray"].make((coffee,), BUILDERS["gray"].parameters(resize_px=(64, 96)))).target_HWC
    assert np.array_equal(pair.target_HWC, whole_HWC)
    differs_HW = (pair.input_HWC != pair.target_HWC).any(axis=-1)
    mask_HW = hole_mask(hole, (64, 96), 0.25, builder.parameters.rng("coffee"))
    assert np.array_equal(differs_HW, mask_HW), "no pixel of this photo has the colour of the fill"
    assert differs_HW.sum() == 64 * 96 // 4
    assert (pair.input_HWC[mask_HW] == (1, 254, 3)).all()
    assert pair.attributes["hole"] == hole


@given(
    st.sampled_from(BY_CHANCE), st.integers(2, 50), st.integers(2, 50), st.floats(0.1, 0.9), st.integers(0, 2**32)
)  # fmt: skip
def test_holes_by_chance_have_exactly_the_share_of_pixels(hole, height_px, width_px, area_share, seed) -> None:
    mask_HW = hole_mask(hole, (height_px, width_px), area_share, np.random.default_rng(seed))
    assert mask_HW.shape == (height_px, width_px)
    assert mask_HW.sum() == round(height_px * width_px * area_share)


@pytest.mark.parametrize("hole", BY_CHANCE)
def test_holes_by_chance_reach_every_part_of_the_picture_about_as_often(hole) -> None:
    masks_NHW = np.stack([hole_mask(hole, (64, 64), 0.25, np.random.default_rng(seed)) for seed in range(300)])
    parts = masks_NHW.mean(axis=0).reshape(4, 16, 4, 16).mean(axis=(1, 3))
    assert 0.12 < parts.min() < 0.25 < parts.max() < 0.38
    assert len({mask_HW.tobytes() for mask_HW in masks_NHW}) == 300


def test_the_last_part_of_a_hole_is_no_sliver_of_the_pixels_that_were_still_wanted() -> None:
    for seed in range(200):
        mask_HW = hole_mask("rectangles", (256, 256), 0.25, np.random.default_rng(seed)).astype(np.uint8)
        thick_HW = cv2.morphologyEx(mask_HW, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        assert (mask_HW - thick_HW).sum() <= 8, "more pixels than a square has that is no 3 x 3"


def test_a_hole_hangs_on_the_seed_and_the_pairs_id_alone(tmp_path, picture, save_picture) -> None:
    for i in range(3):
        save_picture(tmp_path / f"{i}.png", picture(64, 96, i))
    drawn = {seed: by_name(holes(tmp_path, hole="random", seed=seed)) for seed in (0, 1)}
    hidden = {(seed, name): (p.input_HWC == 128).all(axis=-1).tobytes() for seed in drawn for name, p in drawn[seed].items()}
    assert len(set(hidden.values())) == 6, "another name or another seed, another hole"
    save_picture(tmp_path / "1.png", picture(64, 96, 77))
    (tmp_path / "0.png").unlink()
    alone = next(holes(tmp_path, hole="random").build(holes(tmp_path).sources()[0]))
    before = drawn[0]["1"]
    hole_HW = (before.input_HWC != before.target_HWC).any(axis=-1)
    assert np.array_equal((alone.input_HWC != alone.target_HWC).any(axis=-1), hole_HW), "another photo of the name, no others"


def test_any_number_of_workers_makes_the_same_bytes(tmp_path, picture, save_picture, tree) -> None:
    for i in range(12):
        save_picture(tmp_path / "photos" / f"{i:02d}.png", picture(40, 40, i))
    builder = holes(tmp_path / "photos", hole="random")
    build_dataset(builder, tmp_path / "serial", NameSplit())
    for count in (1, 2):
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as executor:
            build_dataset(builder, tmp_path / f"by {count}", NameSplit(), executor=executor)
        assert tree(tmp_path / f"by {count}") == tree(tmp_path / "serial")


def test_a_store_of_holes_keeps_the_split_of_directories_and_records_the_hole(tmp_path, picture, save_picture) -> None:
    for i, split in enumerate(("train", "train", "val", "test")):
        save_picture(tmp_path / "photos" / split / f"{i}.png", picture(40, 40, i))
    build_dataset(holes(tmp_path / "photos", hole="strokes"), tmp_path / "store", DirectorySplit())
    store = PairStore.open(tmp_path / "store")
    assert store.manifest.counts == {"train": 2, "val": 1, "test": 1}
    assert {record.attributes["hole"] for record in store.pairs} == {"strokes"}
    input_NHWC, target_NHWC = store.split("train").read_all()
    hole_NHW = (input_NHWC == 128).all(axis=-1)
    assert hole_NHW.sum(axis=(1, 2)).tolist() == [64 * 96 // 4] * 2
    assert np.array_equal(input_NHWC[~hole_NHW], target_NHWC[~hole_NHW])


def test_photos_of_any_kind_are_filled_and_bad_ones_are_rejected_with_reasons(tmp_path, picture, save_picture) -> None:
    save_picture(tmp_path / "gray.png", picture(70, 90, 1, bands=1))
    cut = picture(70, 90, 2, bands=4)
    cut[:35, :, 3] = 0
    save_picture(tmp_path / "cut.png", cut)
    deep = np.random.default_rng(3).integers(0, 65536, (70, 90), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    save_picture(tmp_path / "tiny.png", picture(2, 3, 4))
    save_picture(tmp_path / "dot.png", picture(1, 1, 5))
    (tmp_path / "again.png").write_bytes((tmp_path / "gray.png").read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    outcomes = by_name(holes(tmp_path))
    reasons = {name: outcome.reason for name, outcome in outcomes.items() if isinstance(outcome, Rejected)}
    assert reasons == {"gray": "duplicate", "broken": outcomes["broken"].reason, "dot": "uniform"}
    assert str(tmp_path) not in outcomes["broken"].detail
    assert outcomes["cut"].input_HWC[0, 0].tolist() == [255, 255, 255]
    for name in ("again", "cut", "deep", "tiny"):
        assert (outcomes[name].input_HWC[16:48, 24:72] == 128).all()
        assert outcomes[name].target_HWC[16:48, 24:72].std() > 10


def test_a_photo_of_which_the_hole_leaves_only_blank_paper_is_rejected(tmp_path, picture, save_picture) -> None:
    stamp = np.full((64, 96, 3), 255, np.uint8)
    stamp[20:44, 30:66] = picture(24, 36, 1)
    save_picture(tmp_path / "stamp.png", stamp)
    outcome = only(holes(tmp_path))
    assert (outcome.reason, outcome.detail) == ("uniform", "What the hole leaves varies by 0.00 grey levels, less than 1")
    assert isinstance(only(holes(tmp_path, area_share=0.04)), Pair)
    assert isinstance(only(holes(tmp_path, quality={"min_std": 0})), Pair)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"area_share": 0}, "area_share.*greater than 0"),
        ({"area_share": 1}, "area_share.*less than 1"),
        ({"area_share": 0.2, "resize_px": (1, 1)}, "area_share 0.2 of 1x1 px: no pixel is in a hole"),
        ({"area_share": 1e-6, "hole": "random"}, "area_share 1e-06 of 96x64 px: no pixel is in a hole"),
        ({"area_share": 0.99999}, "area_share 0.99999 of 96x64 px: nothing is left"),
        ({"hole": "center"}, "'centre', 'rectangles', 'strokes' or 'random'"),
        ({"seed": 3}, "a seed has no part in hole=centre"),
        ({"seed": -1, "hole": "random"}, "seed.*greater than or equal to 0"),
        ({"fill": (0, 0, 256)}, r"fill\.2.*less than or equal to 255"),
        ({"fill": 128}, "fill.*valid tuple"),
        ({"share": 0.5}, "share.*Known keys are: .*hole, area_share"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(tmp_path, wrong, message) -> None:
    with pytest.raises(ConfigError, match=message):
        holes(tmp_path, **wrong)


def test_it_takes_one_directory(tmp_path) -> None:
    with pytest.raises(UsageError, match="holes takes one directory of photos, not 2"):
        HolesBuilder((tmp_path, tmp_path), HolesParameters())
