"""PNG with 16 bits a colour keeps them; a damaged file is refused, never shown half black."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image

from p2p_core.errors import RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.png16 import encode_16_bit, upright
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write(path: Path, bands: int) -> NDArray[np.uint16]:
    """Written by GDAL, which knows gray with alpha too."""
    pixels_HWC = np.random.default_rng(bands).integers(0, 2**16, (19, 23, bands), dtype=np.uint16)
    with rasterio.open(path, "w", driver="PNG", width=23, height=19, count=bands, dtype="uint16") as file:
        file.write(pixels_HWC.transpose(2, 0, 1))
    return pixels_HWC


@pytest.mark.parametrize("bands", [2, 3, 4])
def test_every_bit_and_band_is_kept_whole_and_by_window(tmp_path: Path, bands: int) -> None:
    written_HWC = write(tmp_path / "a.png", bands)
    with open_raster(tmp_path / "a.png") as raster:
        assert (raster.height_px, raster.width_px, raster.bands, raster.dtype) == (19, 23, bands, np.uint16)
        np.testing.assert_array_equal(raster.read(full_window(raster)), written_HWC)
        np.testing.assert_array_equal(raster.read(Window(3, 5, 7, 11)), written_HWC[3:10, 5:16])


@pytest.mark.parametrize("bands", [1, 3])
def test_what_is_encoded_is_read_back_here_and_by_others_with_its_text(tmp_path: Path, bands: int) -> None:
    pixels_HWC = np.random.default_rng(bands).integers(0, 2**16, (19, 23, bands), dtype=np.uint16)
    data = encode_16_bit(pixels_HWC, {"p2p:pair_id": "train/tür"})
    assert data == encode_16_bit(pixels_HWC, {"p2p:pair_id": "train/tür"})
    (tmp_path / "a.png").write_bytes(data)
    with open_raster(tmp_path / "a.png") as raster:
        assert raster.dtype == np.uint16
        np.testing.assert_array_equal(raster.read(full_window(raster)), pixels_HWC)
    with rasterio.open(tmp_path / "a.png") as file:
        np.testing.assert_array_equal(file.read().transpose(1, 2, 0), pixels_HWC)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["p2p:pair_id"] == "train/tür"
        picture.load()


@pytest.mark.parametrize("kept", [100, 200, -12, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    write(tmp_path / "a.png", 3)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:kept])
    with pytest.raises(RasterError) as caught, open_raster(tmp_path / "a.png") as raster:
        raster.read(full_window(raster))
    assert caught.value.reason == "truncated"


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 3)
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[300] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(RasterError, match="checksum"), open_raster(tmp_path / "a.png") as raster:
        raster.read(full_window(raster))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_pillows(tmp_path: Path, orientation: int) -> None:
    eight_HWC = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(eight_HWC).save(tmp_path / "a.png", exif=exif)
    with open_raster(tmp_path / "a.png") as raster:
        expected_HWC = raster.read(full_window(raster))
    np.testing.assert_array_equal(upright(eight_HWC.astype(np.uint16), orientation), expected_HWC)


def test_opencv_writes_what_is_read(tmp_path: Path) -> None:
    written_HWC = np.random.default_rng(1).integers(0, 2**16, (8, 9, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), written_HWC[..., ::-1])
    with open_raster(tmp_path / "a.png") as raster:
        np.testing.assert_array_equal(raster.read(full_window(raster)), written_HWC)
