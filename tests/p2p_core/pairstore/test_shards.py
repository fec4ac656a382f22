"""Shards put together pair by pair are what Zarr writes, and Zarr reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from p2p_core.pairstore.shards import encode_chunk, encode_shard, read_pair


@st.composite
def pairs(draw: st.DrawFn) -> tuple[NDArray[Any], int]:
    """(N, H, W, C) of any kind of pixels, some of them blank, and how many a shard has room for."""
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.float32]))
    shape = draw(array_shapes(min_dims=4, max_dims=4, max_side=5))
    pixels_NHWC = draw(arrays(dtype, shape, elements={"allow_nan": False} if dtype is np.float32 else None))
    for blank in draw(st.sets(st.integers(0, len(pixels_NHWC) - 1))):
        pixels_NHWC[blank] = 0
    return pixels_NHWC, draw(st.integers(len(pixels_NHWC), 7))


def written_by_zarr(pixels_NHWC: NDArray[Any], pairs_per_shard: int) -> bytes | None:
    files: dict[str, Any] = {}
    pair_shape = pixels_NHWC.shape[1:]
    array = zarr.create_array(
        MemoryStore(store_dict=files),
        shape=(pairs_per_shard, *pair_shape),
        chunks=(1, *pair_shape),
        shards=(pairs_per_shard, *pair_shape),
        dtype=pixels_NHWC.dtype,
        compressors=ZstdCodec(level=1, checksum=True),
        fill_value=0,
        config={"write_empty_chunks": pixels_NHWC.dtype.kind == "f"},
    )
    array[: len(pixels_NHWC)] = pixels_NHWC
    shards = [buffer.to_bytes() for name, buffer in files.items() if name != "zarr.json"]
    return shards[0] if shards else None


@given(pairs())
def test_a_shard_is_byte_for_byte_what_zarr_writes(made: tuple[NDArray[Any], int]) -> None:
    pixels_NHWC, pairs_per_shard = made
    shard = encode_shard([encode_chunk(pixels_HWC) for pixels_HWC in pixels_NHWC], pairs_per_shard)
    if pixels_NHWC.dtype.kind == "f" and len(pixels_NHWC) < pairs_per_shard:
        return  # asked for chunks of nothing but 0, Zarr also writes the pairs that are not there
    assert shard == written_by_zarr(pixels_NHWC, pairs_per_shard)


def read_by_zarr(shard: bytes | None, pair_shape: tuple[int, ...], pairs_per_shard: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    files: dict[str, Any] = {}
    shape = (pairs_per_shard, *pair_shape)
    array = zarr.create_array(
        MemoryStore(store_dict=files),
        shape=shape,
        chunks=(1, *pair_shape),
        shards=shape,
        dtype=dtype,
        compressors=ZstdCodec(level=1, checksum=True),
        fill_value=0,
    )
    if shard is not None:
        files["c/0/0/0/0"] = default_buffer_prototype().buffer.from_bytes(shard)
    return np.asarray(array[:])


@given(pairs())
def test_zarr_reads_every_bit_of_it(made: tuple[NDArray[Any], int]) -> None:
    pixels_NHWC, pairs_per_shard = made
    shard = encode_shard([encode_chunk(pixels_HWC) for pixels_HWC in pixels_NHWC], pairs_per_shard)
    read_NHWC = read_by_zarr(shard, pixels_NHWC.shape[1:], pairs_per_shard, pixels_NHWC.dtype)
    assert read_NHWC[: len(pixels_NHWC)].tobytes() == pixels_NHWC.tobytes()
    assert not read_NHWC[len(pixels_NHWC) :].any()


@given(pairs())
def test_every_bit_of_a_pair_is_read_without_the_others(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[NDArray[Any], int]
) -> None:
    pixels_NHWC, pairs_per_shard = made
    shard = encode_shard([encode_chunk(pixels_HWC) for pixels_HWC in pixels_NHWC], pairs_per_shard)
    if shard is None:
        return  # nothing but 0 has no file
    file = tmp_path_factory.mktemp("shard") / "shard"
    file.write_bytes(shard)
    for place in range(pairs_per_shard):
        read_HWC = read_pair(file, place, pixels_NHWC.shape[1:], pairs_per_shard, pixels_NHWC.dtype)
        assert read_HWC.tobytes() == (pixels_NHWC[place].tobytes() if place < len(pixels_NHWC) else bytes(read_HWC.nbytes))
