from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from PIL import Image

from p2p_core.errors import ConfigError, EmptySourceError, RasterError
from p2p_core.rasters.geotiff import GEOTIFF_SUFFIXES, DatasetRaster
from p2p_core.rasters.images import IMAGE_SUFFIXES, ImageRaster
from p2p_core.rasters.mercator import TileAddress
from p2p_core.rasters.registry import FILE_FORMATS, open_raster, source_digest
from p2p_core.rasters.xyz import XYZRaster, write_xyz_tile
from p2p_core.rasters.zarr_array import ZarrRaster

Noise = Callable[..., NDArray[Any]]


def test_every_format_says_which_suffixes_it_reads() -> None:
    assert set(FILE_FORMATS) == {*IMAGE_SUFFIXES, *GEOTIFF_SUFFIXES}


def test_the_format_goes_by_suffix_and_by_what_a_directory_holds(
    tmp_path: Path, noise: Noise, write_tif: Callable[..., Path]
) -> None:
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "IMAGE.JPEG", "JPEG")
    write_tif(tmp_path / "scene.TIFF", noise(4, 4, 3))
    write_xyz_tile(tmp_path / "tiles", TileAddress(1, 0, 0), noise(16, 16, 3))
    zarr.create_array(tmp_path / "array", shape=(4, 4, 3), chunks=(4, 4, 3), dtype="u1")
    zarr.create_array(tmp_path / "output" / "image.zarr", shape=(4, 4, 3), chunks=(4, 4, 3), dtype="u1")
    kinds = {
        "IMAGE.JPEG": ImageRaster,
        "scene.TIFF": DatasetRaster,
        "tiles": XYZRaster,
        "array": ZarrRaster,
        "output": ZarrRaster,
    }
    for name, kind in kinds.items():
        with open_raster(tmp_path / name) as raster:
            assert isinstance(raster, kind)
            assert raster.name == str(tmp_path / name)


def test_the_zoom_reaches_the_tree_and_nothing_else(tmp_path: Path, noise: Noise) -> None:
    for zoom in (1, 2):
        write_xyz_tile(tmp_path / "tiles", TileAddress(zoom, 0, 0), noise(16, 16, zoom))
    with open_raster(tmp_path / "tiles", zoom=2) as raster:
        assert raster.bands == 2
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "image.png")
    with pytest.raises(ConfigError, match="no zooms"):
        open_raster(tmp_path / "image.png", zoom=2)


def test_a_missing_path_says_so(tmp_path: Path) -> None:
    for function in (open_raster, source_digest):
        with pytest.raises(RasterError, match=r"gone\.png does not exist") as caught:
            function(tmp_path / "gone.png")
        assert caught.value.reason == "missing"


def test_a_link_that_leads_nowhere_is_told_from_a_missing_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("gone.png")
    for function in (open_raster, source_digest):
        with pytest.raises(RasterError, match=r"a\.png is a link that leads nowhere") as caught:
            function(tmp_path / "a.png")
        assert caught.value.reason == "missing"


def test_what_can_be_read_for_ever_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "device.png"):
        for function in (open_raster, source_digest):
            with pytest.raises(RasterError, match=f"{name} is neither a file nor a directory"):
                function(tmp_path / name)


@pytest.mark.parametrize("name", ["notes.txt", "noext", "movie.mp4"])
def test_an_unknown_format_lists_what_is_readable(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello")
    with pytest.raises(RasterError, match=rf"{name} .*\.png, .*\.tif, .*XYZ") as caught:
        open_raster(tmp_path / name)
    assert caught.value.reason == "unsupported"


def test_a_directory_of_something_else_is_refused_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(RasterError, match="directory of no known raster format"):
        open_raster(tmp_path)
    (tmp_path / "empty").mkdir()
    for function in (open_raster, source_digest):
        with pytest.raises(EmptySourceError, match="empty"):
            function(tmp_path / "empty")


def test_a_file_digest_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")
    assert source_digest(tmp_path / "a.png") == hashlib.sha256(b"abc").hexdigest()


def test_a_tree_digest_sees_every_name_and_byte_and_not_the_order_of_writing(tmp_path: Path) -> None:
    files = {"1/0/0.png": b"a", "1/0/1.png": b"b", "1/1/0.png": b"c"}

    def digest(name: str, files: dict[str, bytes]) -> str:
        for path, content in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(content)
        return source_digest(tmp_path / name)

    same = digest("first", files)
    assert digest("reversed", dict(reversed(files.items()))) == same
    assert digest("changed", files | {"1/0/1.png": b"B"}) != same
    assert digest("renamed", {"1/0/0.png": b"a", "1/0/2.png": b"b", "1/1/0.png": b"c"}) != same
    assert digest("swapped", files | {"1/0/0.png": b"b", "1/0/1.png": b"a"}) != same
    assert digest("more", files | {"1/1/1.png": b"d"}) != same


def test_a_vrt_changes_with_the_file_it_reads(tmp_path: Path, noise: Noise, write_tif: Callable[..., Path]) -> None:
    write_tif(tmp_path / "image.tif", noise(4, 4, 1))
    (tmp_path / "image.vrt").write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">image.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    before = source_digest(tmp_path / "image.vrt")
    assert source_digest(tmp_path / "image.vrt") == before
    (tmp_path / "image.tif").unlink()
    write_tif(tmp_path / "image.tif", np.zeros((4, 4, 1), np.uint8))
    assert source_digest(tmp_path / "image.vrt") != before
