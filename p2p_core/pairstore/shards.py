"""Zarr v3 as this store uses it: shards as bytes, and the metadata documents that describe them.

Shards are put together here, pair by pair as they come, and are byte for byte what Zarr writes (the tests compare): through
Zarr a shard's pixels have to be there at once, and each pair costs 1.3 ms beside its compression. Zarr reads them.

A shard's bytes depend on its pixels and their type, not on its index, so they can be hashed before they touch the disk
and linked from one version to the next. Legend: N slots, H W pixels, C bands.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from p2p_core.encodings import Encoding
from p2p_core.pairstore.layout import ROLES, SPLITS, array_path

__all__ = ["encode_chunk", "encode_shard", "metadata_documents", "read_pair"]

_LEVEL = 1
# The checksum costs nothing measurable and turns a flipped byte into an error instead of a picture with noise in it.
_COMPRESSOR, _ZSTD = ZstdCodec(level=_LEVEL, checksum=True), Zstd(level=_LEVEL, checksum=True)
_ABSENT = 2**64 - 1
_CRC_BYTES = 4


def encode_chunk(pixels_HWC: NDArray[Any]) -> bytes | None:
    """A pair's half, compressed; None where every pixel is 0, which Zarr stores as absence.

    Of floats it never is: Zarr takes -0 for 0, whose bytes are others.
    """
    if pixels_HWC.dtype.kind != "f" and not pixels_HWC.any():
        return None
    compressed: bytes = _ZSTD.encode(np.ascontiguousarray(pixels_HWC))
    return compressed


def encode_shard(chunks: Sequence[bytes | None], pairs_per_shard: int) -> bytes | None:
    """1..pairs_per_shard chunks -> the bytes of a shard file; None where all are absent.

    Zarr v3's sharding codec: the chunks, then for each its offset and size as little-endian uint64, then the CRC32C of that.
    """
    index = np.full((pairs_per_shard, 2), _ABSENT, "<u8")
    offset = 0
    for place, chunk in enumerate(chunks):
        if chunk is not None:
            index[place] = offset, len(chunk)
            offset += len(chunk)
    if not offset:
        return None
    packed = index.tobytes()
    return b"".join([*filter(None, chunks), packed, google_crc32c.value(packed).to_bytes(_CRC_BYTES, "little")])


def read_pair(shard: Path, place: int, pair_shape: tuple[int, ...], pairs_per_shard: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The half of a pair at `place` in a file of what `encode_shard` made; 0 where it is absent. Nothing else is read.

    Through Zarr the same takes 2 ms more.

    Raises:
        OSError: the file is not there or cannot be read.
        ValueError, RuntimeError: its bytes are damaged.
    """
    pixels_HWC = np.zeros(pair_shape, dtype)
    with shard.open("rb", buffering=0) as file:
        file.seek(-16 * pairs_per_shard - _CRC_BYTES, os.SEEK_END)
        packed, checksum = file.read(16 * pairs_per_shard), file.read(_CRC_BYTES)
        if google_crc32c.value(packed) != int.from_bytes(checksum, "little"):
            raise ValueError("the checksum of its index does not fit")
        offset, size_bytes = struct.unpack_from("<2Q", packed, 16 * place)
        if offset != _ABSENT:
            file.seek(offset)
            _ZSTD.decode(file.read(size_bytes), out=pixels_HWC)
    return pixels_HWC


def metadata_documents(
    num_slots: int, height_px: int, width_px: int, encodings: Mapping[str, Encoding], pairs_per_shard: int
) -> dict[str, bytes]:
    """Every `zarr.json` of a version by its path: the root group, a group a split and two arrays in each."""
    files: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(store_dict=files))
    for split in SPLITS:
        for role in ROLES:
            shape = (num_slots, height_px, width_px, encodings[role].bands)
            _create_array(files, array_path(split, role), shape, pairs_per_shard, encodings[role].dtype)
    return {name: buffer.to_bytes() for name, buffer in sorted(files.items())}


def _create_array(
    files: dict[str, Buffer], name: str, shape: tuple[int, ...], pairs_per_shard: int, dtype: np.dtype[Any]
) -> zarr.Array[Any]:
    return zarr.create_array(
        MemoryStore(store_dict=files),
        name=name,
        shape=shape,
        chunks=(1, *shape[1:]),
        shards=(pairs_per_shard, *shape[1:]),
        dtype=dtype,
        compressors=_COMPRESSOR,
        fill_value=0,
        dimension_names=("pair", "y", "x", "band"),
    )
