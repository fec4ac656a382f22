"""`manifest.json`: what a version of a dataset is, complete and self-describing. Written last, so its presence means whole.

It holds no time, machine or directory: the same sources and parameters give the same bytes anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from p2p_core.config import Config
from p2p_core.encodings import pixel_dtype
from p2p_core.errors import StoreError
from p2p_core.files import sha256_bytes, sha256_json
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.schema import READABLE_VERSIONS, SCHEMA_VERSION

__all__ = [
    "MANIFEST",
    "BandStatistics",
    "BandSums",
    "DatasetSpec",
    "FileEntry",
    "Manifest",
    "build_key",
    "read_manifest",
    "version_name",
]

MANIFEST = "manifest.json"


class FileEntry(Config):
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, data: bytes) -> FileEntry:
        return cls(sha256=sha256_bytes(data), size_bytes=len(data))


class BandSums(Config):
    """Sums over pixels. Of integers exact, so that adding them up in any order gives the same statistics; of floats in double
    precision, one pixel after the other, which gives the same in the same order on any machine."""

    num_pixels: int = 0
    total: tuple[int | float, ...] = ()
    total_of_squares: tuple[int | float, ...] = ()

    def add(self, pixels: NDArray[Any]) -> BandSums:
        """With the pixels of an (..., C) array. Raises `ValueError` where one is not a finite number."""
        total, total_of_squares = _SUMS[pixels.dtype.name](pixels)
        return self.merge(BandSums(num_pixels=pixels[..., 0].size, total=total, total_of_squares=total_of_squares))

    def merge(self, other: BandSums) -> BandSums:
        if not self.num_pixels or not other.num_pixels:
            return other if not self.num_pixels else self
        return BandSums(
            num_pixels=self.num_pixels + other.num_pixels,
            total=tuple(a + b for a, b in zip(self.total, other.total, strict=True)),
            total_of_squares=tuple(a + b for a, b in zip(self.total_of_squares, other.total_of_squares, strict=True)),
        )


def _sums_of_bytes(pixels: NDArray[np.uint8]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """OpenCV's sums of bytes and of their squares are whole numbers below 2**53, so exact, and take a tenth of NumPy's time."""
    bands = cv2.split(np.ascontiguousarray(pixels).reshape(1, -1, pixels.shape[-1]))
    return (
        tuple(round(cv2.sumElems(band)[0]) for band in bands),
        tuple(round(cv2.norm(band, cv2.NORM_L2SQR)) for band in bands),
    )


def _sums_of_words(pixels: NDArray[np.uint16]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    flat_NC = pixels.reshape(-1, pixels.shape[-1]).astype(np.uint64)  # squares of 2**32 pixels fit in
    return tuple(map(int, flat_NC.sum(axis=0))), tuple(map(int, np.square(flat_NC).sum(axis=0)))


def _sums_of_floats(pixels: NDArray[np.float32]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not np.isfinite(pixels).all():
        raise ValueError("Pixels of a pair are not numbers")
    flat_NC = pixels.reshape(-1, pixels.shape[-1]).astype(np.float64)
    # Not `sum`, whose order is that of the processor's registers.
    total, total_of_squares = (np.cumsum(values_NC, axis=0)[-1] for values_NC in (flat_NC, np.square(flat_NC)))
    return tuple(map(float, total)), tuple(map(float, total_of_squares))


_SUMS: dict[str, Any] = {"uint8": _sums_of_bytes, "uint16": _sums_of_words, "float32": _sums_of_floats}


class BandStatistics(Config):
    """Per band, in pixels' own units: grey levels of 0..255 where they are a picture's."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_sums(cls, sums: BandSums) -> BandStatistics | None:
        """None for no pixels. The variance is n*sum(x^2) - sum(x)^2 over n^2: of integers exact until the last division."""
        if not sums.num_pixels:
            return None
        n = sums.num_pixels
        pairs = list(zip(sums.total, sums.total_of_squares, strict=True))
        variances = [max(0, n * s - t * t) / n**2 for t, s in pairs]  # what floats lose may leave less than nothing
        return cls(mean=tuple(t / n for t, _ in pairs), std=tuple(variance**0.5 for variance in variances))


def _dtype_of_encodings(values: dict[str, Any]) -> str:
    return pixel_dtype(values["input_encoding"], values["target_encoding"])


class DatasetSpec(Config):
    """What is known of a dataset before anything is decoded; with the sources' digests it determines every byte.

    `builder_version` and `schema_version` change when code changes what comes out. `dtype` follows from the encodings: that
    of both halves' pixels, or `mixed`.
    """

    schema_version: int = SCHEMA_VERSION
    builder: str
    builder_version: int
    parameters: dict[str, Any]
    split_rule: dict[str, Any]
    input_encoding: str
    target_encoding: str
    height_px: int
    width_px: int
    dtype: str = Field(default_factory=_dtype_of_encodings)
    layout: StoreLayout
    detector_weights_sha256: str | None = None

    @property
    def tile_px(self) -> int:
        """The side of the largest square that fits every pair: the tile's side where tiles are square."""
        return min(self.height_px, self.width_px)

    @property
    def jitter_px(self) -> int:
        """By so much pairs are larger than what a network is to see of them, along both sides; 0 where the builder has none."""
        return int(self.parameters.get("jitter_px", 0))

    def bucket_key(self, source_digests: Mapping[str, str]) -> str:
        """The identity of a bucket's content: of its sources and of everything that is done to them."""
        return sha256_json({"spec": self.model_dump(mode="json"), "sources": dict(source_digests)})


class Manifest(DatasetSpec):
    """A complete version. `counts` are pairs by split, `rejected` items by reason, `statistics` of the training split.

    `num_moved`: pairs that left the split of the rule, for a near duplicate of theirs lies in another.

    `digest` covers everything else here, and through `files` the content of every file.
    """

    digest: str
    build_key: str
    num_slots: int
    num_sources: int
    counts: dict[str, int]
    rejected: dict[str, int]
    num_moved: int = 0
    input_statistics: BandStatistics | None
    target_statistics: BandStatistics | None
    files: dict[str, FileEntry]

    @classmethod
    def complete(cls, spec: DatasetSpec, **results: Any) -> Manifest:
        """A manifest with its digest worked out."""
        unsigned = cls(**dict(spec), digest="", **results)
        return unsigned.model_copy(update={"digest": _content_digest(unsigned.model_dump(mode="json"))})


def _content_digest(values: Mapping[str, Any]) -> str:
    """Over the JSON as it stands in the file, so that a field added later leaves older manifests valid."""
    return sha256_json({name: value for name, value in values.items() if name != "digest"})


def version_name(digest: str) -> str:
    """The name of a version's directory."""
    return digest[:16]


def build_key(bucket_keys: Iterable[str], num_slots: int) -> str:
    """The identity of a whole build: two builds with the same key give the same bytes."""
    return sha256_json({"buckets": sorted(bucket_keys), "num_slots": num_slots})


def read_manifest(version_path: Path) -> Manifest:
    """The manifest of a version, checked against its own digest.

    Raises:
        StoreError: absent (the version is incomplete), damaged, or of a schema this program does not know.
    """
    path = version_path / MANIFEST
    again = "Build the dataset again; what is intact is reused"
    try:
        values = json.loads(path.read_bytes())
        known = values["schema_version"]
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise StoreError(f"{version_path} is not a complete pair store: it has no {MANIFEST}", remedy=again) from None
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path} is damaged: it is not a manifest", remedy=again) from None
    if known not in READABLE_VERSIONS:
        raise StoreError(
            f"{path} has schema version {known}, this program reads {READABLE_VERSIONS[0]} to {SCHEMA_VERSION}",
            remedy="Use the version of this program that wrote it, or build the dataset again",
        )
    try:
        manifest = Manifest.parse(values, where=str(path), error=StoreError)
    except StoreError as error:
        raise StoreError(error.problem, remedy=again) from None
    if _content_digest(values) != manifest.digest:
        raise StoreError(f"{path} was changed: its digest does not fit its content", remedy=again)
    return manifest
