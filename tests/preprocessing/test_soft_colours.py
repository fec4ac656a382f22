"""Soft colours of a palette: what lies between two classes becomes one of them, not the one whose colour it resembles."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from p2p_core.palettes import palette
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.pairs import Pair
from preprocessing.soft_colours import snap_soft

FACADES = palette("facades")
FACADE, SILL = 1, 5


def drawn() -> np.ndarray:
    """A disc of sill on facade: between their colours lie those of window, door and cornice."""
    y_px, x_px = np.mgrid[:64, :64]
    return np.where((y_px - 30) ** 2 + (x_px - 33) ** 2 < 400, SILL, FACADE)


def softened(classes_HW: np.ndarray) -> np.ndarray:
    big_HWC = FACADES.colours_of(classes_HW.repeat(4, axis=0).repeat(4, axis=1))
    small_HWC = cv2.resize(np.roll(big_HWC, (1, 2), (0, 1)), (64, 64), interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(small_HWC).save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file).convert("RGB"))


def test_a_border_of_two_classes_shows_no_third() -> None:
    soft_HWC = softened(drawn())
    assert len(np.unique(FACADES.classes_of(soft_HWC))) > 3, "the nearest colour alone draws rims"
    snapped_HWC = snap_soft(soft_HWC, FACADES)
    assert set(np.unique(FACADES.classes_of(snapped_HWC))) == {FACADE, SILL}
    assert (FACADES.classes_of(snapped_HWC) == drawn()).mean() > 0.96


@given(st.integers(0, 2**32 - 1))
def test_colours_of_the_palette_stay_however_they_lie(seed: int) -> None:
    rgb_HWC = FACADES.colours_of(np.random.default_rng(seed).integers(0, len(FACADES), (9, 7)))
    assert np.array_equal(snap_soft(rgb_HWC, FACADES), rgb_HWC)


def test_where_no_class_is_sure_the_nearest_colour_is_taken() -> None:
    rgb_HWC = np.full((8, 8, 3), (60, 60, 60), np.uint8)
    assert np.array_equal(snap_soft(rgb_HWC, FACADES), FACADES.snap(rgb_HWC))


@pytest.mark.parametrize("kind", ["palette", "one_hot"])
def test_folders_of_soft_pictures_have_no_rims_and_count_what_was_snapped(tmp_path: Path, kind: str, save_picture) -> None:
    soft_HWC = softened(drawn())
    photo_HWC = np.random.default_rng(1).integers(0, 256, soft_HWC.shape, dtype=np.uint8)
    save_picture(tmp_path / "a.png", np.concatenate([photo_HWC, soft_HWC], axis=1))
    parameters = FoldersParameters(layout="side_by_side", input_side="right", input_encoding=f"{kind}:facades")
    builder = FoldersBuilder((tmp_path,), parameters)
    (pair,) = builder.build(builder.sources()[0])
    assert isinstance(pair, Pair)
    assert set(np.unique(FACADES.classes_of(pair.input_HWC))) == {FACADE, SILL}
    assert pair.attributes["snapped_px"] == str((pair.input_HWC != soft_HWC).any(axis=-1).sum())
    assert builder.version == 2, "what comes out has changed"
    assert FoldersBuilder((tmp_path,), FoldersParameters(layout="side_by_side")).version == 1, "and here it has not"
