"""Photos of every kind become the same RGB; what is no photo is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image

from p2p_core.errors import RasterError
from preprocessing.photos import read_photo, to_rgb

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def rgb(path: Path) -> np.ndarray:
    found_HWC = to_rgb(read_photo(path))
    assert found_HWC.dtype == np.float32
    assert found_HWC.flags.c_contiguous
    return found_HWC


def over_white(colours_HWC: np.ndarray, alpha_HW: np.ndarray) -> np.ndarray:
    opacity = alpha_HW[..., np.newaxis] / 255
    return colours_HWC * opacity + 255 * (1 - opacity)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_gray_and_colour_with_and_without_alpha(tmp_path, picture, bands) -> None:
    pixels_HWC = picture(14, 19, bands, bands=bands)
    Image.fromarray(pixels_HWC[..., 0] if bands == 1 else pixels_HWC).save(tmp_path / "photo.png")
    colours_HWC = np.broadcast_to(pixels_HWC[..., : bands if bands == 3 else max(1, bands - 1)], (14, 19, 3))
    expected_HWC = over_white(colours_HWC, pixels_HWC[..., -1]) if bands in (2, 4) else colours_HWC
    np.testing.assert_allclose(rgb(tmp_path / "photo.png"), expected_HWC, atol=1e-3)


@pytest.mark.parametrize("bands", [2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_garbage_under_full_transparency_does_not_shine_through(picture, bands, dtype) -> None:
    one_HWC = picture(20, 20, 1, bands=bands).astype(dtype) * (257 if dtype == np.uint16 else 1)
    other_HWC = one_HWC.copy()
    hidden_HW = np.zeros((20, 20), bool)
    hidden_HW[5:15, 3:17] = True
    one_HWC[hidden_HW, -1] = other_HWC[hidden_HW, -1] = 0
    other_HWC[hidden_HW, :-1] = np.iinfo(dtype).max - other_HWC[hidden_HW, :-1]
    np.testing.assert_array_equal(to_rgb(one_HWC), to_rgb(other_HWC))
    assert (to_rgb(other_HWC)[hidden_HW] == 255).all()


def test_16_bits_are_the_same_photo_as_8(tmp_path, picture) -> None:
    gray_HWC, colour_HWC = picture(12, 17, 1, bands=1), picture(12, 17, 2)
    Image.fromarray(gray_HWC[..., 0].astype(np.uint16) * 257).save(tmp_path / "gray.png")
    np.testing.assert_allclose(rgb(tmp_path / "gray.png"), np.broadcast_to(gray_HWC, (12, 17, 3)), atol=1e-3)
    cv2.imwrite(str(tmp_path / "colour.tif"), colour_HWC[..., ::-1].astype(np.uint16) * 257)
    assert read_photo(tmp_path / "colour.tif").dtype == np.uint16
    np.testing.assert_allclose(rgb(tmp_path / "colour.tif"), colour_HWC, atol=1e-3)


def test_a_palette_is_looked_up(tmp_path, picture) -> None:
    indexed = Image.fromarray(picture(12, 17, 3)).quantize(16)
    indexed.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(rgb(tmp_path / "palette.png"), np.asarray(indexed.convert("RGB")))


def test_a_photo_is_turned_as_the_camera_was_held(tmp_path, photo) -> None:
    photo_HWC = photo("coffee", 48, 80)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(photo_HWC).save(tmp_path / "turned.jpg", quality=95, subsampling=0, exif=exif)
    found_HWC = rgb(tmp_path / "turned.jpg")
    assert found_HWC.shape == (80, 48, 3)
    assert np.abs(found_HWC - np.rot90(photo_HWC, -1)).mean() < 3


@pytest.mark.parametrize(("bands", "dtype"), [(1, "float32"), (3, "float32"), (5, "uint8"), (3, "int16")])
def test_rasters_that_are_no_photo_are_refused(tmp_path, bands, dtype) -> None:
    profile = {"driver": "GTiff", "height": 8, "width": 9, "count": bands, "dtype": dtype}
    with rasterio.open(tmp_path / "raster.tif", "w", **profile) as dataset:
        dataset.write(np.ones((bands, 8, 9), dtype))
    with pytest.raises(RasterError, match=rf"raster\.tif has {bands} bands of {dtype}, which is no photo") as caught:
        read_photo(tmp_path / "raster.tif")
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("size_px", [(1, 1), (1, 200), (3, 3)])
def test_photos_of_a_few_pixels_go_all_the_way(tmp_path, picture, save_picture, tiny_detector, size_px) -> None:
    path = save_picture(tmp_path / "small.png", picture(*size_px, 1))
    assert tiny_detector().probability(read_photo(path)).shape == size_px


def test_the_same_photo_in_any_file_has_the_same_edges(tmp_path, photo, tiny_detector) -> None:
    photo_HWC = photo("chelsea", 60, 90)
    opaque_HWC = np.dstack([photo_HWC, np.full((60, 90), 255, np.uint8)])
    Image.fromarray(photo_HWC).save(tmp_path / "rgb.png")
    Image.fromarray(opaque_HWC).save(tmp_path / "rgba.webp", lossless=True)
    cv2.imwrite(str(tmp_path / "deep.tif"), photo_HWC[..., ::-1].astype(np.uint16) * 257)
    expected_HW = tiny_detector().probability(photo_HWC)
    for name in ("rgb.png", "rgba.webp", "deep.tif"):
        found_HW = tiny_detector().probability(read_photo(tmp_path / name))
        np.testing.assert_allclose(found_HW, expected_HW, atol=1e-5, err_msg=name)
