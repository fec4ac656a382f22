"""Pairs of label pictures and photos: colours or indices, soft or pure, always the colours of the palette in the end."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from p2p_core.errors import ConfigError, PairingError, UsageError
from p2p_core.palettes import PALETTES
from p2p_core.rasters.images import ImageRaster
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.labels import LabelsBuilder, LabelsParameters
from preprocessing.pairs import Pair, Rejected

CAMVID = PALETTES["camvid"]
CLASSES = np.kron(np.random.default_rng(4).integers(0, 11, (8, 12)), np.ones((8, 8), int)).astype(np.uint8)
"""64 x 96 px in squares of 8 px, none of them void."""


def labels(root: Path, **parameters: object) -> LabelsBuilder:
    values = {"resize_px": (64, 96), "palette": "camvid", **parameters}
    return LabelsBuilder((root / "photos", root / "labels"), LabelsParameters.parse(values, where="test"))


def only(builder) -> Pair | Rejected:
    (source,) = builder.sources()
    (outcome,) = builder.build(source)
    return outcome


@pytest.fixture
def photo(tmp_path: Path, picture, save_picture) -> Path:
    """A place with one photo, whose label picture is still to be saved as labels/a.*."""
    save_picture(tmp_path / "photos" / "a.png", picture(64, 96, 1))
    (tmp_path / "labels").mkdir()
    return tmp_path


def with_colormap(classes: np.ndarray, colours: object) -> Image.Image:
    image = Image.fromarray(classes)
    image.putpalette([int(level) for colour in colours for level in colour])
    assert image.mode == "P"
    return image


@pytest.mark.parametrize("kind", ["gray", "own colours", "other colours", "rgb"])
def test_classes_are_read_however_a_label_picture_tells_them(photo, kind) -> None:
    grays = [(k, k, k) for k in range(len(CAMVID))]
    images = {
        "gray": Image.fromarray(CLASSES),
        "own colours": with_colormap(CLASSES, CAMVID.colours),
        "other colours": with_colormap(CLASSES, grays),
        "rgb": Image.fromarray(CAMVID.colours_of(CLASSES)),
    }
    images[kind].save(photo / "labels" / "a.png")
    builder = labels(photo)
    pair = only(builder)
    assert isinstance(pair, Pair)
    assert np.array_equal(pair.input_HWC, CAMVID.colours_of(CLASSES))
    assert pair.attributes == {"snapped_px": "0"}
    assert (builder.input_encoding, builder.target_encoding) == ("one_hot:camvid", "rgb")


def test_the_other_direction_draws_labels_from_photos(photo) -> None:
    Image.fromarray(CLASSES).save(photo / "labels" / "a.png")
    builder = labels(photo, direction="photo_to_labels")
    there, back = only(builder), only(labels(photo))
    assert np.array_equal(there.input_HWC, back.target_HWC)
    assert np.array_equal(there.target_HWC, back.input_HWC)
    assert (builder.input_encoding, builder.target_encoding) == ("rgb", "one_hot:camvid")


def test_soft_colours_are_snapped_and_counted(photo) -> None:
    soft = CAMVID.colours_of(CLASSES)
    soft[:2, :5] += 3
    Image.fromarray(soft).save(photo / "labels" / "a.png")
    pair = only(labels(photo))
    assert np.array_equal(pair.input_HWC, CAMVID.colours_of(CLASSES))
    assert pair.attributes["snapped_px"] == "10"


def test_labels_in_jpeg_give_their_classes_back_away_from_borders(photo) -> None:
    Image.fromarray(CAMVID.colours_of(CLASSES)).save(photo / "labels" / "a.jpg", quality=90, subsampling=0)
    pair = only(labels(photo))
    assert int(pair.attributes["snapped_px"]) > 1000
    assert set(map(tuple, pair.input_HWC.reshape(-1, 3).tolist())) <= set(CAMVID.colours)
    agree = (pair.input_HWC == CAMVID.colours_of(CLASSES)).all(axis=-1)
    assert agree.mean() > 0.99


@pytest.mark.parametrize("size_px", [(32, 48), (96, 144)])
def test_resized_labels_hold_no_class_that_was_not_there_and_stay_on_the_photo(tmp_path, save_picture, size_px) -> None:
    save_picture(tmp_path / "photos" / "a.png", CAMVID.colours_of(CLASSES))
    save_picture(tmp_path / "labels" / "a.png", CLASSES[..., np.newaxis])
    pair = only(labels(tmp_path, resize_px=size_px))
    assert set(np.unique(CAMVID.classes_of(pair.input_HWC))) <= set(np.unique(CLASSES))
    same = (pair.input_HWC == CAMVID.snap(pair.target_HWC)).all(axis=-1)
    assert same.mean() > 0.85, "the photo is the label picture itself, resized as photos are: they differ at borders alone"


def test_a_label_picture_at_half_the_photos_scale_fits_and_one_of_another_aspect_does_not(
    tmp_path, picture, save_picture
) -> None:
    save_picture(tmp_path / "photos" / "a.png", picture(128, 192, 1))
    save_picture(tmp_path / "labels" / "a.png", CLASSES[..., np.newaxis])
    assert np.array_equal(only(labels(tmp_path)).input_HWC, CAMVID.colours_of(CLASSES))
    save_picture(tmp_path / "photos" / "a.png", picture(128, 128, 1))
    outcome = only(labels(tmp_path))
    assert (outcome.reason, outcome.detail) == (
        "size", "The photo has 128x128 px and its labels 96x64: one is not the other at a scale",
    )  # fmt: skip


def test_an_index_of_no_class_is_rejected_and_255_is_void(photo) -> None:
    classes = CLASSES.copy()
    classes[0, :7] = 255
    Image.fromarray(classes).save(photo / "labels" / "a.png")
    assert np.array_equal(only(labels(photo)).input_HWC[0, :7], np.zeros((7, 3)))
    classes[0, 0] = 12
    Image.fromarray(classes).save(photo / "labels" / "a.png")
    outcome = only(labels(photo))
    assert (outcome.reason, outcome.detail) == ("class", "It holds class 12; palette camvid has classes 0 to 11")
    outcome = only(labels(photo, palette="facades"))
    assert outcome.reason == "class", "facades has no void, so 255 is no class of it"


def test_directories_in_the_wrong_order_and_another_palette_are_noticed(tmp_path, save_picture) -> None:
    save_picture(tmp_path / "photos" / "a.png", CAMVID.colours_of(CLASSES))
    save_picture(tmp_path / "labels" / "a.png", skimage.data.coffee()[100:164, 100:196])
    outcome = only(labels(tmp_path))
    assert outcome.reason == "palette"
    assert "of its pixels have nearly a colour of palette camvid" in outcome.detail
    assert isinstance(only(labels(tmp_path, min_near=0)), Pair)
    save_picture(tmp_path / "labels" / "a.png", PALETTES["facades"].colours_of(CLASSES))
    assert only(labels(tmp_path)).reason == "palette"


def test_a_mask_of_two_grays_is_read_by_colour_where_that_is_said(photo) -> None:
    mask = np.where(CLASSES > 5, 255, 0).astype(np.uint8)
    for suffix in ("png", "jpg"):
        for old in (photo / "labels").iterdir():
            old.unlink()
        Image.fromarray(mask).save(photo / "labels" / f"a.{suffix}")
        outcome = only(labels(photo, palette="000000-ffffff"))
        assert outcome.reason == {"png": "class", "jpg": "unsupported"}[suffix]
        pair = only(labels(photo, palette="000000-ffffff", by_index=False))
        assert np.array_equal(pair.input_HWC[..., 0], mask)


def test_a_picture_of_one_class_alone_is_uniform_and_rejected(photo) -> None:
    Image.fromarray(np.full_like(CLASSES, 3)).save(photo / "labels" / "a.png")
    assert only(labels(photo)).reason == "uniform"


def test_indices_of_a_turned_png_are_upright_and_pictures_with_colours_have_none(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with_colormap(CLASSES, CAMVID.colours).save(tmp_path / "turned.png", exif=exif)
    with ImageRaster(tmp_path / "turned.png") as raster:
        indices = raster.read_indices()
        assert np.array_equal(indices, np.rot90(CLASSES, -1))
        assert indices.shape == (raster.height_px, raster.width_px)
    buffer = io.BytesIO()
    Image.fromarray(CAMVID.colours_of(CLASSES)).save(buffer, "PNG")
    (tmp_path / "colours.png").write_bytes(buffer.getvalue())
    with ImageRaster(tmp_path / "colours.png") as raster:
        assert raster.read_indices() is None


def test_wrong_use_is_refused_before_anything_is_read(photo) -> None:
    with pytest.raises(UsageError, match=r"has to know the palette.*facades, camvid, cityscapes"):
        labels(photo, palette="")
    with pytest.raises(ConfigError, match="Unknown palette 'kitti'"):
        labels(photo, palette="kitti")
    with pytest.raises(UsageError, match="takes two directories"):
        LabelsBuilder((photo / "photos",), LabelsParameters(palette="camvid"))
    with pytest.raises(UsageError, match="takes two directories"):
        LabelsBuilder((photo / "photos", photo / "photos"), LabelsParameters(palette="camvid"))
    Image.fromarray(CLASSES).save(photo / "labels" / "b.png")
    with pytest.raises(PairingError, match="no counterpart"):
        labels(photo).sources()


def test_folders_snap_halves_of_a_palette_and_resize_them_without_blending(tmp_path, picture, save_picture) -> None:
    drawn = CAMVID.colours_of(CLASSES)
    both = np.concatenate([picture(64, 96, 1), drawn + (drawn < 200) * np.uint8(2)], axis=1)
    save_picture(tmp_path / "a.png", both)
    values = {"layout": "side_by_side", "input_side": "right", "input_encoding": "one_hot:camvid", "resize_px": (32, 48)}
    pair = only(FoldersBuilder((tmp_path,), FoldersParameters.parse(values, where="test")))
    assert set(map(tuple, pair.input_HWC.reshape(-1, 3).tolist())) <= set(CAMVID.colours)
    assert np.array_equal(CAMVID.classes_of(pair.input_HWC), CLASSES[1::2, 1::2])
    assert pair.attributes == {"snapped_px": str(32 * 48)}


def test_camvid_index_pictures_become_camvid_colours(shared_data: Path) -> None:
    root = shared_data / "camvid"
    builder = LabelsBuilder((root / "val", root / "valannot"), LabelsParameters(palette="camvid", resize_px=(360, 480)))
    source = builder.sources()[0]
    (pair,) = builder.build(source)
    indices = np.asarray(Image.open(source.paths[1]))
    assert np.array_equal(CAMVID.classes_of(pair.input_HWC), indices)


def test_the_facades_palette_is_that_of_the_label_halves(shared_data: Path) -> None:
    """JPEG has softened them: most pixels still lie within a few levels of a colour of the palette."""
    picture = np.asarray(Image.open(shared_data / "facades" / "train" / "1.jpg"))[:, 256:]
    distance = np.abs(PALETTES["facades"].snap(picture).astype(int) - picture).max(axis=-1)
    assert (distance <= 8).mean() > 0.5
