from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from p2p_core.geometry import Window
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.protocol import full_window

Noise = Callable[..., NDArray[Any]]


def read_all(path: Path) -> NDArray[Any]:
    with ImageRaster(path) as raster:
        pixels = raster.read(full_window(raster))
        assert pixels.shape == (raster.height_px, raster.width_px, raster.bands)
        assert pixels.dtype == raster.dtype
    return pixels


@pytest.mark.parametrize(("suffix", "options"), [(".png", {}), (".webp", {"lossless": True, "exact": True})])
@pytest.mark.parametrize("bands", [3, 4])
def test_lossless_colour_images_keep_every_pixel_and_alpha_is_a_band(
    tmp_path: Path, noise: Noise, suffix: str, options: dict[str, Any], bands: int
) -> None:
    pixels = noise(19, 23, bands)
    Image.fromarray(pixels).save(tmp_path / f"image{suffix}", **options)
    np.testing.assert_array_equal(read_all(tmp_path / f"image{suffix}"), pixels)


def test_jpeg_reads_as_another_decoder_reads_it(tmp_path: Path, noise: Noise) -> None:
    cv2 = pytest.importorskip("cv2")
    smooth = np.repeat(np.repeat(noise(4, 5, 3), 16, axis=0), 16, axis=1)
    Image.fromarray(smooth).save(tmp_path / "image.jpg", quality=95, subsampling=0)
    other = cv2.cvtColor(cv2.imread(str(tmp_path / "image.jpg")), cv2.COLOR_BGR2RGB)
    assert np.abs(read_all(tmp_path / "image.jpg").astype(int) - other).max() <= 2


def test_gray_images_have_one_band(tmp_path: Path, noise: Noise) -> None:
    gray = noise(9, 7, 1)
    Image.fromarray(gray[..., 0]).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_all(tmp_path / "gray.png"), gray)
    Image.fromarray(gray[..., 0] > 128).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_all(tmp_path / "bits.png"), np.where(gray > 128, 255, 0))


def test_16_bit_gray_keeps_its_16_bits(tmp_path: Path, noise: Noise) -> None:
    gray = noise(9, 7, 1, np.uint16)
    Image.fromarray(gray[..., 0]).save(tmp_path / "gray.png")
    pixels = read_all(tmp_path / "gray.png")
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, gray)


def test_a_transparent_value_of_16_bit_gray_is_its_nodata(tmp_path: Path, noise: Noise) -> None:
    Image.fromarray(noise(9, 7, 1, np.uint16)[..., 0]).save(tmp_path / "gray.png", transparency=4000)
    assert ImageRaster(tmp_path / "gray.png").nodata == 4000.0


def test_a_palette_becomes_its_colours(tmp_path: Path, noise: Noise) -> None:
    colours = Image.fromarray(noise(12, 12, 3)).quantize(16)
    colours.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_all(tmp_path / "palette.png"), np.asarray(colours.convert("RGB")))


def test_a_palette_with_transparency_becomes_rgba(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "palette.png", transparency=0)
    pixels = read_all(tmp_path / "palette.png")
    assert pixels[0, 0].tolist() == [10, 20, 30, 0]
    assert pixels[1, 1].tolist() == [40, 50, 60, 255]


@pytest.mark.parametrize(("mode", "bands"), [("L", 2), ("RGB", 4)])
def test_a_transparent_colour_becomes_an_alpha_band(tmp_path: Path, mode: str, bands: int) -> None:
    image = Image.new(mode, (3, 2), 0)
    image.putpixel((1, 1), (9, 9, 9)[: image.im.bands] if mode == "RGB" else 9)
    image.save(tmp_path / "image.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
    pixels = read_all(tmp_path / "image.png")
    assert pixels.shape[2] == bands
    assert pixels[1, 1].tolist() == [9] * (bands - 1) + [255]
    assert pixels[0, 0, -1] == 0


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=100)
    pixels = read_all(tmp_path / "red.jpg")
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_orientation_is_applied(tmp_path: Path, noise: Noise, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(noise(24, 40, 3)).save(path, exif=exif.tobytes(), quality=100)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert upright.shape[:2] == ((24, 40) if orientation < 5 else (40, 24))
    np.testing.assert_array_equal(read_all(path), upright)


def test_a_png_that_tells_its_orientation_after_its_pixels_is_turned_too(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(4, 6, 3)
    exif = Image.Exif()
    exif[274] = 6
    payload = exif.tobytes().removeprefix(b"Exif\x00\x00")
    chunk = struct.pack(">I", len(payload)) + b"eXIf" + payload + struct.pack(">I", zlib.crc32(b"eXIf" + payload))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    content = buffer.getvalue()
    end = content.index(b"IEND") - 4
    (tmp_path / "late.png").write_bytes(content[:end] + chunk + content[end:])
    np.testing.assert_array_equal(read_all(tmp_path / "late.png"), np.rot90(pixels, -1))


@pytest.mark.parametrize("exif", [b"Exif\x00\x00garbage", b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"\x00"])
def test_corrupt_exif_does_not_stop_the_pixels(tmp_path: Path, noise: Noise, exif: bytes) -> None:
    pixels = noise(4, 6, 3)
    Image.fromarray(pixels).save(tmp_path / "image.webp", lossless=True, exif=exif)
    np.testing.assert_array_equal(read_all(tmp_path / "image.webp"), pixels)


def test_the_content_decides_not_the_suffix(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(5, 5, 3)
    Image.fromarray(pixels).save(tmp_path / "really-a-png.jpg", "PNG")
    np.testing.assert_array_equal(read_all(tmp_path / "really-a-png.jpg"), pixels)


def test_an_image_lies_nowhere_and_reads_again_after_close(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(5, 5, 3)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    raster = ImageRaster(tmp_path / "image.png")
    assert (raster.crs, raster.transform, raster.nodata) == (None, None, None)
    for _ in range(2):
        np.testing.assert_array_equal(raster.read(Window(1, 2, 3, 2)), pixels[1:4, 2:4])
        raster.close()


def test_large_windows_are_put_together_strip_by_strip(tmp_path: Path, noise: Noise) -> None:
    pixels = noise(1100, 1000, 1)  # a strip holds 2**20 pixels
    Image.fromarray(pixels[..., 0]).save(tmp_path / "image.png", compress_level=0)
    np.testing.assert_array_equal(read_all(tmp_path / "image.png"), pixels)
