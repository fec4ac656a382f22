"""Pairs of partial and full palettes: which colours, in what order, and which of them are missing."""

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
from p2p_core.lab import lab_of_rgb
from p2p_core.pairstore.reader import PairStore
from preprocessing.build import build_dataset
from preprocessing.pairs import Pair, Rejected
from preprocessing.palette import PaletteBuilder, PaletteParameters, dominant_colours, stripes
from preprocessing.split import NameSplit

FIVE = np.array([(20, 24, 82), (150, 30, 40), (90, 140, 60), (240, 160, 20), (250, 240, 220)], np.uint8)
"""From dark to light."""


def palettes(place: Path, **parameters: object) -> PaletteBuilder:
    return PaletteBuilder((place,), PaletteParameters.parse({"resize_px": (32, 47), **parameters}, where="test"))


def by_name(builder) -> dict[str, Pair | Rejected]:
    return {source.source_id: next(iter(builder.build(source))) for source in builder.sources()}


def only(builder) -> Pair | Rejected:
    (outcome,) = by_name(builder).values()
    return outcome


def colours_of(pair: Pair) -> np.ndarray:
    """Of the target, from left to right, found again in its pixels."""
    row = pair.target_HWC[0]
    assert (pair.target_HWC == row).all(), "stripes are upright and of one colour"
    return row[np.r_[True, (row[1:] != row[:-1]).any(axis=-1)]]


@pytest.mark.parametrize(("height_px", "width_px"), [(40, 300), (7, 5), (300, 1000), (2000, 11)])
def test_a_palettes_own_five_colours_are_taken_as_they_are_from_dark_to_light(
    tmp_path, save_picture, height_px, width_px
) -> None:
    save_picture(tmp_path / "warm.png", stripes(FIVE[[3, 0, 4, 2, 1]], (height_px, width_px)))
    pair = only(palettes(tmp_path))
    assert np.array_equal(colours_of(pair), FIVE)
    assert pair.attributes["colours"] == "141852-961e28-5a8c3c-f0a014-faf0dc"


def test_the_input_is_the_target_with_the_named_stripes_in_mid_grey(tmp_path, save_picture) -> None:
    save_picture(tmp_path / "warm.png", stripes(FIVE, (10, 50)))
    for num_missing in (1, 2, 3, 4):
        builder = palettes(tmp_path, num_missing=num_missing)
        pair = only(builder)
        missing = [int(place) for place in pair.attributes["missing"].split(",")]
        assert missing == sorted(set(missing))
        assert len(missing) == num_missing
        edges_px = [0, 10, 19, 29, 38, 47]
        for k in range(5):
            part = np.s_[:, edges_px[k] : edges_px[k + 1]]
            assert (pair.target_HWC[part] == FIVE[k]).all()
            assert (pair.input_HWC[part] == (128 if k in missing else FIVE[k])).all()
        assert (builder.input_encoding, builder.target_encoding) == ("rgb", "rgb")


@given(
    st.sets(st.tuples(*[st.integers(0, 255)] * 3), min_size=5, max_size=5),
    st.lists(st.integers(1, 900), min_size=5, max_size=5),
)
def test_any_five_colours_are_found_whatever_their_shares(colours, counts) -> None:
    table = np.array(sorted(colours), np.uint8)
    pixels = np.repeat(table, counts, axis=0)[np.newaxis]
    found = dominant_colours(pixels)
    assert {tuple(colour) for colour in found.tolist()} == colours
    assert (np.diff(lab_of_rgb(found)[:, 0]) > -0.01).all()


@given(st.sets(st.tuples(*[st.integers(0, 255)] * 3), min_size=6, max_size=30))
def test_of_more_than_five_colours_five_different_ones_are_taken(colours) -> None:
    found = dominant_colours(np.array([sorted(colours)], np.uint8))
    assert len({tuple(colour) for colour in found.tolist()} & colours) == 5


def test_stripes_softened_by_jpeg_give_nearly_their_colours_back(tmp_path) -> None:
    Image.fromarray(stripes(FIVE, (60, 200))).save(tmp_path / "soft.jpg", quality=85)
    assert np.abs(colours_of(only(palettes(tmp_path))).astype(int) - FIVE).max() <= 4


def test_a_few_loud_pixels_are_no_dominant_colour(picture) -> None:
    noise = picture(100, 100, 1) / 16 - 8
    loud = np.clip(stripes(FIVE, (100, 100)) + noise, 0, 255).astype(np.uint8)
    loud[50, ::25] = (255, 0, 255)
    assert np.abs(dominant_colours(loud).astype(int) - FIVE).max() <= 8


def test_a_photos_colours_are_its_own_and_explain_it_as_well_as_those_of_opencvs_kmeans(tmp_path, save_picture) -> None:
    for photo_HWC in (skimage.data.coffee(), skimage.data.chelsea(), skimage.data.astronaut()):
        sample = cv2.resize(photo_HWC, (128, 96), interpolation=cv2.INTER_NEAREST)
        colours = dominant_colours(sample)
        assert {tuple(c) for c in colours.tolist()} <= {tuple(c) for c in sample.reshape(-1, 3).tolist()}
        lab = lab_of_rgb(sample).reshape(-1, 3)
        cv2.setRNGSeed(1)
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-3)
        _, _, centres = cv2.kmeans(lab, 5, None, criteria, 10, cv2.KMEANS_PP_CENTERS)
        ours, best = (
            np.square(lab[:, np.newaxis] - means).sum(axis=-1).min(axis=1).mean() for means in (lab_of_rgb(colours), centres)
        )
        assert ours < 1.1 * best
    save_picture(tmp_path / "coffee.png", skimage.data.coffee())
    assert np.array_equal(colours_of(only(palettes(tmp_path))), colours_of(only(palettes(tmp_path, resize_px=(3, 5)))))


def test_which_stripes_are_missing_hangs_on_the_seed_and_the_name(tmp_path, picture, save_picture) -> None:
    for i in range(40):
        save_picture(tmp_path / f"{i}.png", picture(16, 16, i))
    first, again, other = (by_name(palettes(tmp_path, seed=seed)) for seed in (0, 0, 1))
    missing = [{name: pair.attributes["missing"] for name, pair in pairs.items()} for pairs in (first, again, other)]
    assert missing[0] == missing[1] != missing[2]
    assert set(missing[0].values()) == {f"{a},{b}" for a in range(5) for b in range(a + 1, 5)}, "each of the ten choices"


def test_any_number_of_workers_makes_the_same_bytes(tmp_path, picture, save_picture, tree) -> None:
    for i in range(12):
        save_picture(tmp_path / "photos" / f"{i:02d}.png", picture(40, 40, i))
    builder = palettes(tmp_path / "photos")
    build_dataset(builder, tmp_path / "serial", NameSplit())
    for count in (1, 2):
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as executor:
            build_dataset(builder, tmp_path / f"by {count}", NameSplit(), executor=executor)
        assert tree(tmp_path / f"by {count}") == tree(tmp_path / "serial")
    store = PairStore.open(tmp_path / "serial")
    assert {record.attributes["missing"].count(",") for record in store.pairs} == {1}


def test_pictures_of_any_kind_have_a_palette_and_bad_ones_are_rejected_with_reasons(tmp_path, picture, save_picture) -> None:
    save_picture(tmp_path / "gray.png", picture(70, 90, 1, bands=1))
    cut = np.concatenate([stripes(FIVE, (20, 50)), np.full((20, 50, 1), 255, np.uint8)], axis=-1)
    cut[:, 40:, 3] = 0
    save_picture(tmp_path / "cut.png", cut)
    deep = np.random.default_rng(3).integers(0, 65536, (70, 90), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    save_picture(tmp_path / "dot.png", picture(1, 1, 5))
    save_picture(tmp_path / "four.png", stripes(FIVE[:4], (20, 40)))
    (tmp_path / "again.png").write_bytes((tmp_path / "gray.png").read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    outcomes = by_name(palettes(tmp_path))
    details = {name: (o.reason, o.detail) for name, o in outcomes.items() if isinstance(o, Rejected)}
    assert details.keys() == {"gray", "dot", "four", "broken"}
    assert details["gray"][0] == "duplicate"
    assert details["dot"] == ("few_colours", "It holds 1 colour; a palette has 5")
    assert details["four"] == ("few_colours", "It holds 4 colours; a palette has 5")
    assert str(tmp_path) not in details["broken"][1]
    white = np.concatenate([FIVE[:4], [[255] * 3]])
    assert np.array_equal(colours_of(outcomes["cut"]), white), "what is transparent lies over white"
    for name in ("again", "deep"):
        assert len(colours_of(outcomes[name])) == 5
        assert np.ptp(outcomes[name].target_HWC, axis=-1).max() == 0, "grays of a gray picture"


def test_a_palette_whose_grey_looks_like_a_missing_stripe_is_rejected_unless_that_is_the_one_missing(
    tmp_path, save_picture
) -> None:
    with_grey = np.concatenate([FIVE[:2], [[122, 128, 136]], FIVE[3:]]).astype(np.uint8)
    save_picture(tmp_path / "grey.png", stripes(with_grey, (20, 50)))
    kept = 0
    for seed in range(20):
        missing = only(palettes(tmp_path, seed=seed, fill=(255, 0, 255))).attributes["missing"]
        outcome = only(palettes(tmp_path, seed=seed))
        kept += isinstance(outcome, Pair)
        assert isinstance(outcome, Pair) == ("2" in missing)
    assert 0 < kept < 20
    outcome = only(palettes(tmp_path, fill=(128, 136, 144)))
    assert (outcome.reason, outcome.detail) == (
        "like_fill", "Its colour 7a8088 can hardly be told from 808890, the fill of what is missing",
    )  # fmt: skip
    assert isinstance(only(palettes(tmp_path, fill=(128, 137, 144))), Pair), "nine levels of green are told apart"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_missing": 0}, "num_missing.*greater than or equal to 1"),
        ({"num_missing": 5}, "num_missing.*less than 5"),
        ({"resize_px": (32, 4)}, "resize_px.*5 stripes need a width of 5 px or more, not 4"),
        ({"fit": "crop"}, "fit.*'stretch'"),
        ({"fill": "grey"}, "fill.*valid tuple"),
        ({"colours": 5}, "colours.*Known keys are: .*num_missing"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(tmp_path, wrong, message) -> None:
    with pytest.raises(ConfigError, match=message):
        palettes(tmp_path, **wrong)


def test_it_takes_one_directory(tmp_path) -> None:
    with pytest.raises(UsageError, match="palette takes one directory of photos, not 2"):
        PaletteBuilder((tmp_path, tmp_path), PaletteParameters())
