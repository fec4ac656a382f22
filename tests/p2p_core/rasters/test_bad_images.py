from __future__ import annotations

import io
import pickle
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from p2p_core.errors import RasterError
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.protocol import full_window

KINDS = {"png": {}, "jpeg": {}, "jpeg progressive": {"progressive": True}, "webp": {}, "webp lossless": {"lossless": True}}


def encoded(kind: str) -> bytes:
    rng = np.random.default_rng(3)
    smooth = np.clip(np.cumsum(rng.normal(0, 9, (40, 48, 3)), axis=1) + 128, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(smooth).save(buffer, kind.split()[0], **KINDS[kind])
    return buffer.getvalue()


CONTENT = {kind: encoded(kind) for kind in KINDS}


def read_all(path: Path, **options: Any) -> NDArray[Any]:
    with ImageRaster(path, **options) as raster:
        return raster.read(full_window(raster))


def refusal(path: Path, **options: Any) -> RasterError:
    with pytest.raises(RasterError) as caught:
        read_all(path, **options)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    return caught.value


def png(width: int, height: int, depth: int = 8, colour: int = 2, pixels: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_truncated_image_is_refused_as_truncated(tmp_path: Path, kind: str, part: float) -> None:
    path = tmp_path / "cut.image"
    path.write_bytes(CONTENT[kind][: int(len(CONTENT[kind]) * part)])
    assert refusal(path).reason == "truncated"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_every_truncation_is_refused_or_loses_no_pixel(tmp_path: Path, kind: str) -> None:
    path, content = tmp_path / "cut.image", CONTENT[kind]
    path.write_bytes(content)
    whole = read_all(path)
    lengths = {*range(64), *range(0, len(content), 97), *range(len(content) - 32, len(content))}
    refused = []
    for length in sorted(lengths):
        path.write_bytes(content[:length])
        try:
            np.testing.assert_array_equal(read_all(path), whole)
        except RasterError as error:
            refused.append(error.reason)
    assert set(refused) <= {"empty", "truncated", "unreadable"}
    assert len(refused) >= len(lengths) - 24  # a PNG may lose its closing chunks, which hold no pixel


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_give_pixels_or_one_clear_error(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(CONTENT[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "flipped.image"
    path.write_bytes(bytes(content))
    with suppress(RasterError):  # nothing else may come through
        assert read_all(path, max_pixels=10**6).dtype in (np.uint8, np.uint16)


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000))  # without pixels: decoding would call it truncated
    error = refusal(path)
    assert error.reason == "bomb"
    assert "60000 x 60000" in str(error)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_the_limit_is_the_last_size_that_passes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(CONTENT[kind])
    assert read_all(path, max_pixels=40 * 48).shape == (40, 48, 3)
    assert refusal(path, max_pixels=40 * 48 - 1).reason == "bomb"


def test_an_image_above_pillows_own_limit_but_below_ours_is_read_without_a_warning(tmp_path: Path) -> None:
    side = 10_000  # Pillow warns from 89 million pixels
    rows = zlib.compress(bytes((side // 8 + 1) * side), 1)
    path = tmp_path / "large.png"
    path.write_bytes(png(side, side, depth=1, colour=0, pixels=rows))
    with ImageRaster(path) as raster:
        assert (raster.height_px, raster.width_px, raster.bands) == (side, side, 1)
        assert not raster.read(full_window(raster)).any()


def test_a_webp_beyond_pillows_limit_is_a_bomb(tmp_path: Path) -> None:
    content = bytearray(CONTENT["webp"])
    size = content.index(b"\x9d\x01\x2a") + 3
    content[size : size + 4] = struct.pack("<HH", 16_000, 16_000)
    (tmp_path / "bomb.webp").write_bytes(bytes(content))
    assert refusal(tmp_path / "bomb.webp").reason == "bomb"


def test_a_file_without_bytes_is_empty(tmp_path: Path) -> None:
    (tmp_path / "none.png").write_bytes(b"")
    assert refusal(tmp_path / "none.png").reason == "empty"


@pytest.mark.parametrize(
    "content", [b"<html>404 Not Found</html>", b"GIF89a" + bytes(40), b"\x89PN", b"RIFFxxxxWAVE" + bytes(40)]
)
def test_what_is_no_image_is_unreadable_whatever_its_suffix(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.png").write_bytes(content)
    assert refusal(tmp_path / "page.png").reason == "unreadable"


def test_a_path_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path).reason == "unreadable"


def test_errors_keep_their_reason_across_processes(tmp_path: Path) -> None:
    (tmp_path / "none.png").write_bytes(b"")
    error = refusal(tmp_path / "none.png")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.reason) == (RasterError, str(error), "empty")
