"""Pixels become network values and come back; pictures of another kind become the encoding's own."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage.color import rgb2lab

from p2p_core.encodings import ENCODINGS, Encoding, encoding
from p2p_core.errors import ConfigError
from p2p_core.lab import lab_of_rgb, neutral_gray, rgb_of_lab
from p2p_core.palettes import PALETTES, palette

NAMES = (*ENCODINGS, "palette:facades", "one_hot:camvid", "one_hot:cityscapes", "one_hot:000000-ff0000-00ff00")
PICTURES = arrays(np.uint8, (4, 5, 3))
COLOURS = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)


def there_and_back(own: Encoding, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    source = encoding("rgb" if own.bands == 3 else "gray")
    return own.to_pixels(own.to_network(pixels), pixels, source)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(picture=PICTURES)
def test_pixels_of_an_encoding_come_back_from_the_network_unchanged(name: str, picture: NDArray[np.uint8]) -> None:
    own = encoding(name)
    pixels = own.of_picture(picture)
    assert pixels.shape[-1] == own.bands
    network = own.to_network(pixels)
    assert (network.shape[-1], network.dtype) == (own.channels, np.float32)
    assert np.abs(network).max() <= 1.001
    assert np.array_equal(there_and_back(own, pixels), pixels)
    assert np.array_equal(own.of_picture(pixels), pixels), "a picture that is the encoding's own is not touched again"
    assert own.to_rgb(pixels).shape == picture.shape


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_encoded_as_its_pictures_are(name: str) -> None:
    own = encoding(name)
    batch = COLOURS.reshape(4, 32, 128, 3)
    alone = np.stack([own.to_network(own.of_picture(picture)) for picture in batch])
    assert np.array_equal(own.to_network(own.of_picture(batch)), alone)


def test_rgb_and_gray_are_the_linear_encoding_of_the_paper_bit_for_bit() -> None:
    for name in ("rgb", "gray"):
        pixels = np.arange(256, dtype=np.uint8).reshape(-1, 1) if name == "gray" else COLOURS
        expected = pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
        assert np.array_equal(encoding(name).to_network(pixels), expected)
    network = np.array([[-1.5, -1, 0.0039, 1, 7]], np.float32).T
    assert encoding("gray").to_pixels(network, network.astype(np.uint8), encoding("gray"))[:, 0].tolist() == [
        0,
        0,
        128,
        255,
        255,
    ]


def test_gray_of_a_colour_is_the_luminance_opencv_gives() -> None:
    assert np.array_equal(encoding("gray").of_picture(COLOURS)[..., 0], cv2.cvtColor(COLOURS, cv2.COLOR_RGB2GRAY))


def test_lab_is_cie_lab_as_scikit_image_has_it() -> None:
    """scikit-image divides by a rounded white, which makes its grays blue by up to 0.005."""
    reference = rgb2lab(COLOURS)
    assert np.abs(lab_of_rgb(COLOURS) - reference).max() < 0.006
    lightness = encoding("lab_l").to_network(encoding("lab_l").of_picture(COLOURS))
    assert np.abs((lightness[..., 0] + 1) * 50 - reference[..., 0]).max() < 0.27, "half of a gray level's step"
    assert np.abs(encoding("lab_ab").to_network(COLOURS) * 110 - reference[..., 1:]).max() < 0.006


@settings(deadline=None)
@given(PICTURES)
def test_every_colour_survives_lab_exactly(picture: NDArray[np.uint8]) -> None:
    lab = lab_of_rgb(picture)
    assert np.array_equal(rgb_of_lab(lab[..., 0], lab[..., 1:]), picture)


def test_a_gray_of_the_same_lightness_is_the_luminance_encoded_as_srgb_says() -> None:
    share = COLOURS.astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    light = linear @ (0.212671, 0.715160, 0.072169)
    level = 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(neutral_gray(COLOURS) - level).max() < 0.5 + 1e-3


def test_grays_are_neutral_and_keep_their_level() -> None:
    gray = np.arange(256, dtype=np.uint8)
    rgb = np.repeat(gray[:, np.newaxis], 3, axis=1)
    assert np.array_equal(neutral_gray(rgb), gray)
    assert np.abs(lab_of_rgb(rgb)[:, 1:]).max() < 1e-3


@settings(deadline=None)
@given(
    arrays(np.uint8, (6, 6, 1)),
    arrays(np.float32, (6, 6, 2), elements=st.floats(-1, 1, width=32)),
    st.sampled_from(("gray", "lab_l")),
)
def test_whatever_colours_are_predicted_the_input_keeps_its_lightness(
    gray: NDArray[np.uint8], network: NDArray[np.float32], source: str
) -> None:
    painted = encoding("lab_ab").to_pixels(network, gray, encoding(source))
    wanted = lab_of_rgb(np.repeat(gray, 3, axis=-1))[..., 0]
    assert np.abs(lab_of_rgb(painted)[..., 0] - wanted).max() < 1, "0.5 of clipping and the rounding of pixels"


def test_a_colour_outside_of_srgb_keeps_its_hue() -> None:
    for lightness in (np.float32(20), np.float32(80)):
        ab = np.array([-90.0, 70.0], np.float32)
        painted = lab_of_rgb(rgb_of_lab(np.asarray(lightness)[np.newaxis], ab[np.newaxis]))[0]
        turned = np.arctan2(painted[2], painted[1]) - np.arctan2(ab[1], ab[0])
        assert abs(np.degrees(turned)) < 6, "clipping each of red, green and blue turns it by tens"
        assert np.hypot(painted[1], painted[2]) > 25, "and not all of its chroma is lost"


def test_a_gray_photo_and_its_predicted_colours_make_the_colour_photo() -> None:
    """What is lost is that the gray photo has whole levels."""
    source, target = encoding("lab_l"), encoding("lab_ab")
    painted = target.to_pixels(target.to_network(COLOURS), source.of_picture(COLOURS), source)
    difference = np.abs(painted.astype(int) - COLOURS)
    assert difference.mean() < 0.2
    assert difference.max() <= 8


def test_colour_joins_the_lightness_of_an_rgb_input_too() -> None:
    painted = encoding("lab_ab").to_pixels(encoding("lab_ab").to_network(COLOURS), COLOURS, encoding("rgb"))
    assert np.array_equal(painted, COLOURS)


@pytest.mark.parametrize("name", PALETTES)
def test_each_colour_of_a_palette_is_its_own_class_and_others_go_to_the_nearest(name: str) -> None:
    known = PALETTES[name]
    own = np.array(known.colours, np.uint8)
    assert known.classes_of(own).tolist() == list(range(len(known)))
    assert len(known.names) == len(known) == len(set(known.names)) == len(set(known.colours))
    nearest = np.square(COLOURS[:, :, None].astype(int) - own.astype(int)).sum(-1).argmin(-1)
    assert np.array_equal(known.classes_of(COLOURS), nearest)
    assert np.array_equal(known.snap(COLOURS), own[nearest])


def test_a_picture_larger_than_one_chunk_is_snapped_whole() -> None:
    picture = np.tile(COLOURS, (3, 3, 1))
    assert np.array_equal(PALETTES["camvid"].snap(picture), np.tile(PALETTES["camvid"].snap(COLOURS), (3, 3, 1)))


def test_between_two_equally_near_colours_and_two_equal_scores_the_first_class_wins() -> None:
    assert palette("000000-020000").classes_of(np.array([[1, 0, 0]], np.uint8)).tolist() == [0]
    own = encoding("one_hot:00ff00-ff0000-0000ff")
    scores = np.array([[-1, 0.5, 0.5], [0, 0, 0], [-1, -1, -0.9]], np.float32)
    painted = own.to_pixels(scores, np.zeros((3, 3), np.uint8), encoding("rgb"))
    assert painted.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_one_hot_says_one_for_the_class_and_minus_one_for_each_other() -> None:
    own = encoding("one_hot:camvid")
    network = own.to_network(np.array([[60, 40, 222], [61, 44, 220]], np.uint8))
    assert network.tolist() == [[1 if name == "pavement" else -1 for name in PALETTES["camvid"].names]] * 2
    assert own.to_resident(np.array([[60, 40, 222]], np.uint8)).tolist() == [[4]]


def test_what_comes_out_for_a_palette_has_no_other_colour() -> None:
    own = encoding("palette:facades")
    network = np.random.default_rng(1).uniform(-1, 1, (16, 16, 3)).astype(np.float32)
    painted = own.to_pixels(network, np.zeros((16, 16, 3), np.uint8), encoding("rgb"))
    assert {tuple(colour) for colour in painted.reshape(-1, 3).tolist()} <= set(PALETTES["facades"].colours)


def test_gray_pictures_are_taken_where_they_can_be_meant() -> None:
    takes = {name: encoding(name).takes for name in (*NAMES, "one_hot:000000-ffffff")}
    assert {name for name, bands in takes.items() if bands == (1, 3)} == {*ENCODINGS, "one_hot:000000-ffffff"}
    with pytest.raises(ValueError, match=r"one_hot:camvid takes pictures of \(3,\) bands, not 1"):
        encoding("one_hot:camvid").of_picture(COLOURS[..., :1])
    with pytest.raises(ValueError, match="not 4"):
        encoding("rgb").of_picture(np.zeros((2, 2, 4), np.uint8))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "lab",
            "Unknown encoding 'lab'.* rgb, gray, lab_l, lab_ab, palette:PALETTE, one_hot:PALETTE, bands:...; palettes",
        ),
        ("one_hot", "Unknown encoding 'one_hot'"),
        ("gray:camvid", "Unknown encoding"),
        ("one_hot:kitti", "Unknown palette 'kitti'.* facades, camvid, cityscapes"),
        ("palette:ff0000", "Unknown palette 'ff0000'.*two or more colours"),
        ("one_hot:ff0000-FF0000", "names a colour twice"),
        ("one_hot:" + "-".join(f"{k:06x}" for k in range(65)), "has 65 colours"),
    ],
)
def test_a_wrong_name_is_an_error_with_the_names_there_are(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        encoding(name)
