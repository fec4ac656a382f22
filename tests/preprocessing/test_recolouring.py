"""Pairs of a photo without and with its colours: `colour` in Lab, `gray` in RGB."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image
from skimage.color import rgb2lab

from p2p_core.errors import ConfigError, UsageError
from p2p_core.pairstore.reader import PairStore
from preprocessing.build import build_dataset
from preprocessing.builders import BUILDERS
from preprocessing.colour import ColourBuilder, ColourParameters, least_mean_chroma, mean_chroma
from preprocessing.gray import GrayBuilder
from preprocessing.pairs import Pair, Rejected
from preprocessing.sizing import PictureParameters
from preprocessing.split import DirectorySplit


def colour(place: Path, **parameters: object) -> ColourBuilder:
    return ColourBuilder((place,), ColourParameters.parse({"resize_px": (32, 48), **parameters}, where="test"))


def gray(place: Path, **parameters: object) -> GrayBuilder:
    return GrayBuilder((place,), PictureParameters.parse({"resize_px": (32, 48), **parameters}, where="test"))


@pytest.fixture
def coffee(tmp_path: Path, save_picture) -> Path:
    """A directory of one photo, 400 x 600 px."""
    save_picture(tmp_path / "photos" / "coffee.png", skimage.data.coffee())
    return tmp_path / "photos"


def only(builder) -> Pair | Rejected:
    (source,) = builder.sources()
    (outcome,) = builder.build(source)
    return outcome


def test_a_colour_pair_is_the_photo_and_the_gray_of_its_lightness(coffee) -> None:
    builder = colour(coffee)
    pair = only(builder)
    assert isinstance(pair, Pair)
    assert (builder.input_encoding, builder.target_encoding) == ("lab_l", "lab_ab")
    shrunk = cv2.resize(skimage.data.coffee().astype(np.float32), (48, 32), interpolation=cv2.INTER_AREA)
    assert np.array_equal(pair.target_HWC, np.rint(shrunk))
    lightness = rgb2lab(np.repeat(pair.input_HWC, 3, axis=-1))[..., 0]
    assert np.abs(lightness - rgb2lab(pair.target_HWC)[..., 0]).max() < 0.3


def test_a_gray_pair_is_the_photo_and_its_luminance(coffee) -> None:
    builder = gray(coffee)
    pair = only(builder)
    assert isinstance(pair, Pair)
    assert (builder.input_encoding, builder.target_encoding) == ("gray", "rgb")
    assert np.array_equal(pair.input_HWC[..., 0], cv2.cvtColor(pair.target_HWC, cv2.COLOR_RGB2GRAY))


def test_a_photo_of_another_aspect_is_cropped_about_its_middle_or_stretched(coffee) -> None:
    photo = skimage.data.coffee().astype(np.float32)
    middle = cv2.resize(photo[:, 100:500], (32, 32), interpolation=cv2.INTER_AREA)
    whole = cv2.resize(photo, (32, 32), interpolation=cv2.INTER_AREA)
    for fit, expected in (("crop", middle), ("stretch", whole)):
        assert np.array_equal(only(gray(coffee, resize_px=(32, 32), fit=fit)).target_HWC, np.rint(expected))


def test_no_colour_has_less_chroma_than_is_taken_for_granted() -> None:
    levels = np.unique(np.r_[np.arange(0, 256, 5), 213, 214]).astype(np.uint8)
    for red in levels:
        colours_HWC = np.stack(np.broadcast_arrays(red, levels[:, np.newaxis], levels), axis=-1)
        for row_HWC in colours_HWC[:, np.newaxis]:
            assert least_mean_chroma(row_HWC) <= mean_chroma(row_HWC)
    worst_HWC = np.array([[[0, 214, 255]]], np.uint8)
    assert least_mean_chroma(worst_HWC) > 0.95 * mean_chroma(worst_HWC), "or too many photos would be looked at closely"


def test_a_colourless_photo_teaches_no_colours_and_is_rejected(tmp_path, save_picture, picture) -> None:
    save_picture(tmp_path / "old.png", picture(32, 48, 1, bands=1))
    outcome = only(colour(tmp_path))
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.detail) == ("colourless", "Its mean chroma is 0.00, less than 1")
    assert isinstance(only(colour(tmp_path, min_chroma=0)), Pair)


def test_duplicates_and_broken_photos_are_rejected_with_reasons(coffee) -> None:
    (coffee / "again.png").write_bytes((coffee / "coffee.png").read_bytes())
    (coffee / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    for builder in (colour(coffee), gray(coffee)):
        outcomes = {source.source_id: next(builder.build(source)) for source in builder.sources()}
        assert isinstance(outcomes["again"], Pair)
        assert outcomes["coffee"].reason == "duplicate"
        assert outcomes["broken"].item == "broken"
        assert str(coffee) not in outcomes["broken"].detail


def test_a_store_of_colour_pairs_names_its_encodings_and_keeps_the_split_of_directories(
    tmp_path, picture, save_picture
) -> None:
    for i, split in enumerate(("train", "train", "val", "test")):
        save_picture(tmp_path / "photos" / split / f"{i}.png", picture(40, 40, i))
    for builder in (colour(tmp_path / "photos"), gray(tmp_path / "photos")):
        build_dataset(builder, tmp_path / builder.name, DirectorySplit())
        store = PairStore.open(tmp_path / builder.name)
        assert store.manifest.counts == {"train": 2, "val": 1, "test": 1}
        assert (store.manifest.input_encoding, store.manifest.target_encoding) == (
            builder.input_encoding,
            builder.target_encoding,
        )
        input_NHWC, target_NHWC = store.split("train").read_all()
        assert (input_NHWC.shape, target_NHWC.shape) == ((2, 32, 48, 1), (2, 32, 48, 3))


def test_they_take_one_directory_and_no_parameters_they_do_not_know(tmp_path) -> None:
    for name in ("colour", "gray"):
        kind = BUILDERS[name]
        with pytest.raises(UsageError, match=f"{name} takes one directory of photos, not 2"):
            kind.make((tmp_path, tmp_path), kind.parameters())
        with pytest.raises(ConfigError, match="size_px"):
            kind.parameters.parse({"size_px": 256}, where="--set")


def test_a_photo_with_transparent_parts_lies_over_white(tmp_path) -> None:
    pixels = np.full((32, 48, 4), (200, 40, 40, 255), np.uint8)
    pixels[:, :24, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    pair = only(colour(tmp_path))
    assert pair.target_HWC[0, 0].tolist() == [255, 255, 255]
    assert pair.input_HWC[0, 0].tolist() == [255]
