"""Pictures, rasters and a builder of made pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image

from p2p_core.config import Config
from p2p_core.files import sha256_json
from p2p_core.pairstore.versions import DIGESTS
from preprocessing.pairs import Outcome, Pair, Rejected, SourceRef

Pixels = NDArray[np.uint8]


def make_picture(height_px: int, width_px: int, seed: int, bands: int = 3) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, bands), dtype=np.uint8)


def write_picture(path: Path, pixels_HWC: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels_HWC[..., 0] if pixels_HWC.shape[-1] == 1 else pixels_HWC).save(path)
    return path


def write_geotiff(
    path: Path,
    pixels_HWC: NDArray[np.generic],
    *,
    crs: str = "EPSG:4326",
    west: float = 10.0,
    north: float = 50.0,
    pixel: float = 0.1,
    nodata: float | None = None,
) -> Path:
    height_px, width_px, bands = pixels_HWC.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height_px,
        width=width_px,
        count=bands,
        dtype=pixels_HWC.dtype.name,
        crs=crs,
        transform=rasterio.Affine(pixel, 0, west, 0, -pixel, north),
        nodata=nodata,
        tiled=True,
        blockxsize=16,
        blockysize=16,
        compress="deflate",
    ) as dataset:
        dataset.write(np.moveaxis(pixels_HWC, 2, 0))
    return path


def numbered_picture(number: int, height_px: int = 48, width_px: int = 64) -> Pixels:
    """RGB noise above, below it eight bars, one for each bit of the number (modulo 256)."""
    pixels_HWC = make_picture(48, 64, 1)
    for bit in range(8):
        pixels_HWC[24:, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)
    return cv2.resize(pixels_HWC, (width_px, height_px), interpolation=cv2.INTER_NEAREST)


def number_in_picture(pixels_HWC: Pixels) -> int:
    """What `numbered_picture` wrote, whatever became of its size, bands and contrast."""
    y_px, width_px = pixels_HWC.shape[0] * 3 // 4, pixels_HWC.shape[1]
    return sum(int(pixels_HWC[y_px, (2 * bit + 1) * width_px // 16, 0] > 127) << bit for bit in range(8))


def write_clip(
    path: Path, numbers: Sequence[int], *, fps: float = 25, codec: str = "FFV1", size_px: tuple[int, int] = (48, 64)
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size_px[::-1])
    assert writer.isOpened()
    for number in numbers:
        writer.write(np.ascontiguousarray(numbered_picture(number, *size_px)[..., ::-1]))
    writer.release()
    return path


class MadeParameters(Config):
    brightness: int = 0


@dataclass
class MadeBuilder:
    """`content`: source id -> seed of each of its pairs; None stands for an item that is rejected. Counts what it builds."""

    content: dict[str, list[int | None]]
    parameters: MadeParameters = field(default_factory=MadeParameters)
    built: list[str] = field(default_factory=list)
    version: int = 1

    name = "made"
    input_encoding = "rgb"
    target_encoding = "gray"
    detector_weights_sha256 = None

    def size_px(self) -> tuple[int, int]:
        return 8, 8

    def sources(self) -> Sequence[SourceRef]:
        return [SourceRef(name, sha256_json(seeds), max(4, len(seeds)), {}) for name, seeds in self.content.items()]

    def build(self, source: SourceRef) -> Iterator[Outcome]:
        self.built.append(source.source_id)
        for i, seed in enumerate(self.content[source.source_id]):
            pair_id = f"{source.source_id}/{i:03d}"
            if seed is None:
                yield Rejected(source.source_id, pair_id, "made_bad", "It was made so")
                continue
            input_HWC, target_HWC = make_picture(8, 8, seed), make_picture(8, 8, seed + 1, bands=1)
            input_HWC[0, 0] = self.parameters.brightness
            yield Pair(pair_id, source.source_id, input_HWC, target_HWC)


@pytest.fixture
def picture() -> Callable[..., Pixels]:
    """(height_px, width_px, seed, bands=3) -> noise."""
    return make_picture


@pytest.fixture
def save_picture() -> Callable[[Path, Pixels], Path]:
    return write_picture


@pytest.fixture
def save_geotiff() -> Callable[..., Path]:
    return write_geotiff


@pytest.fixture
def made_builder() -> type[MadeBuilder]:
    return MadeBuilder


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Every file under a directory by its relative path, but for what is remembered of this machine's files."""
    return lambda root: {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != DIGESTS
    }


@pytest.fixture
def save_clip() -> Callable[..., Path]:
    """(path, numbers, fps=25, codec="FFV1", size_px=(48, 64)): a video whose frames tell these numbers in their pixels."""
    return write_clip


@pytest.fixture
def save_numbered() -> Callable[[Path, int], Path]:
    """(path, number): a picture that tells the number as a frame of `save_clip` does."""
    return lambda path, number: write_picture(path, numbered_picture(number))


@pytest.fixture
def number_in() -> Callable[[Pixels], int]:
    """The number in a picture of `save_clip` or `save_numbered`."""
    return number_in_picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """40 side-by-side pictures of 2 x 16x16 px, three of them unreadable in different ways."""
    root = tmp_path / "photos"
    for i in range(40):
        write_picture(root / f"{i:03d}.png", make_picture(16, 32, seed=i))
    whole = (root / "007.png").read_bytes()
    (root / "007.png").write_bytes(whole[: len(whole) // 2])
    (root / "013.png").write_bytes(b"")
    (root / "021.png").write_text("this is no picture")
    return root


@pytest.fixture
def shared_data() -> Path:
    """Real data beside the repository."""
    place = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not place.is_dir():
        pytest.skip(f"{place} is absent")
    return place
