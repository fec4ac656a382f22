from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from p2p_core.errors import OutputError, RasterError
from p2p_core.rasters.geotiff import open_geotiff
from p2p_core.rasters.geotiff_writer import write_geotiff
from p2p_core.rasters.grid import Grid

Noise = Callable[..., NDArray[Any]]
WriteTif = Callable[..., Path]


@pytest.mark.parametrize(("bands", "dtype"), [(1, np.uint8), (3, np.uint8), (4, np.uint16), (2, np.int16)])
def test_a_copy_is_tiled_compressed_and_pixel_by_pixel_the_same(
    tmp_path: Path, noise: Noise, write_tif: WriteTif, bands: int, dtype: Any
) -> None:
    pixels = noise(700, 300, bands, dtype)
    source = write_tif(tmp_path / "source.tif", pixels, (10, 0, 400000, 0, -10, 5e6), "EPSG:32618", nodata=3)
    with open_geotiff(source) as raster:
        write_geotiff(tmp_path / "made" / "copy.tif", raster)
    with rasterio.open(tmp_path / "made" / "copy.tif") as dataset:
        np.testing.assert_array_equal(np.moveaxis(dataset.read(), 0, 2), pixels)
        assert (dataset.crs.to_epsg(), dataset.nodata) == (32618, 3)
        assert dataset.transform == rasterio.Affine(10, 0, 400000, 0, -10, 5e6)
        assert dataset.block_shapes == [(256, 256)] * bands
        assert dataset.profile["compress"] == "deflate"


def test_rasters_wider_than_a_band_of_blocks_are_written_whole(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    pixels = noise(20, 8300, 1)
    with open_geotiff(write_tif(tmp_path / "source.tif", pixels)) as raster:
        write_geotiff(tmp_path / "copy.tif", raster)
    with rasterio.open(tmp_path / "copy.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), pixels[..., 0])


def test_writing_again_gives_the_same_bytes_and_leaves_nothing_else(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    source = write_tif(tmp_path / "source.tif", noise(300, 300, 3))
    contents = set()
    for _ in range(2):
        with open_geotiff(source) as raster:
            write_geotiff(tmp_path / "copy.tif", raster)
        contents.add((tmp_path / "copy.tif").read_bytes())
    assert len(contents) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.tif", "source.tif"]


def test_a_source_that_breaks_midway_leaves_what_was_there(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    source = write_tif(tmp_path / "source.tif", noise(300, 300, 3))
    source.write_bytes(source.read_bytes()[:-9000])
    (tmp_path / "copy.tif").write_bytes(b"the last good one")
    with open_geotiff(source) as raster, pytest.raises(RasterError, match=r"source\.tif ends too early"):
        write_geotiff(tmp_path / "copy.tif", raster)
    assert (tmp_path / "copy.tif").read_bytes() == b"the last good one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.tif", "source.tif"]


def test_a_file_in_the_way_is_named(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    (tmp_path / "file").write_text("in the way")
    with open_geotiff(write_tif(tmp_path / "source.tif", noise(8, 8, 1))) as raster:
        with pytest.raises(OutputError, match="in the way"):
            write_geotiff(tmp_path / "file" / "copy.tif", raster)
        (tmp_path / "copy.tif").mkdir()
        with pytest.raises(OutputError, match="in the way"):
            write_geotiff(tmp_path / "copy.tif", raster)


def test_a_grid_of_another_size_is_a_programming_error(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    with open_geotiff(write_tif(tmp_path / "source.tif", noise(8, 8, 1))) as raster, pytest.raises(ValueError, match="8 x 8"):
        write_geotiff(tmp_path / "copy.tif", raster, grid=Grid("EPSG:4326", (1, 0, 0, 0, -1, 0), 9, 8))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from p2p_core.errors import OutputError
from p2p_core.rasters.geotiff import open_geotiff
from p2p_core.rasters.geotiff_writer import write_cog, write_geotiff
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open_geotiff(Path(sys.argv[1])) as raster:
    try:
        write_cog(Path(sys.argv[2]), raster, {}) if sys.argv[4] == "cog" else write_geotiff(Path(sys.argv[2]), raster)
    except OutputError as error:
        print("refused:", error)
"""


@pytest.mark.parametrize("kind", ["tif", "cog"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_a_disk_that_takes_no_more_gives_an_error_and_no_file(
    tmp_path: Path, noise: Noise, write_tif: WriteTif, part: float, kind: str
) -> None:
    """A limit on the file size stands in for the full disk: writes beyond it fail in the same calls."""
    source = write_tif(tmp_path / "source.tif", noise(600, 600, 3))
    with open_geotiff(source) as raster:
        write_geotiff(tmp_path / "whole.tif", raster)
    limit = int((tmp_path / "whole.tif").stat().st_size * part)
    (tmp_path / "out").mkdir()
    arguments = [sys.executable, "-c", FULL_DISK, str(source), str(tmp_path / "out" / "copy.tif"), str(limit), kind]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert "refused:" in done.stdout
    assert "copy.tif" in done.stdout
    assert list((tmp_path / "out").iterdir()) == []
