"""Measurements of 1 to 16 bands become network values and come back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from p2p_core.bands import MAX_BANDS
from p2p_core.encodings import encoding
from p2p_core.errors import ConfigError

FLOATS = st.floats(-1e6, 1e6, width=32)


@st.composite
def integers_in_a_range(draw: st.DrawFn, dtype: str) -> tuple[str, NDArray[np.generic]]:
    largest = np.iinfo(dtype).max
    low, high = sorted(draw(st.lists(st.integers(0, largest), min_size=2, max_size=2, unique=True)))
    bands = draw(st.integers(1, MAX_BANDS))
    pixels = draw(arrays(np.dtype(dtype), (3, 4, bands), elements=st.integers(low, high)))
    return f"bands:{bands}:{dtype}:{low}:{high}", pixels


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@given(data=st.data())
def test_integers_inside_the_range_come_back_from_the_network_unchanged(dtype: str, data: st.DataObject) -> None:
    name, pixels = data.draw(integers_in_a_range(dtype))
    own = encoding(name)
    network = own.to_network(pixels)
    assert (network.dtype, network.shape, own.dtype) == (np.float32, pixels.shape, pixels.dtype)
    assert np.abs(network).max() <= 1
    back = own.to_pixels(network, pixels, own)
    assert back.dtype == pixels.dtype
    assert np.array_equal(back, pixels)
    assert np.array_equal(own.of_grey_levels(own.to_grey_levels(pixels)), pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_integer_of_the_whole_range_comes_back(dtype: str) -> None:
    own = encoding(f"bands:1:{dtype}")
    pixels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[:, np.newaxis]
    network = own.to_network(pixels)
    assert (network[0], network[-1]) == (-1, 1)
    assert (np.diff(network[:, 0]) > 0).all()
    assert np.array_equal(own.to_pixels(network, pixels, own), pixels)


@given(bands=st.integers(1, MAX_BANDS), limits=st.tuples(FLOATS, st.floats(2**-10, 1e6, width=32)), data=st.data())
def test_floats_come_back_to_a_millionth_of_the_largest_of_them(
    bands: int, limits: tuple[float, float], data: st.DataObject
) -> None:
    low, high = limits[0], limits[0] + limits[1]
    if not np.float32(low) < np.float32(high):
        return
    own = encoding(f"bands:{bands}:float32:{low!r}:{high!r}")
    share = data.draw(arrays(np.float64, (3, 4, bands), elements=st.floats(0, 1)))
    pixels = (low + share * (high - low)).astype(np.float32)
    back = own.to_pixels(own.to_network(pixels), pixels, own)
    assert back.dtype == np.float32
    assert np.abs(back.astype(np.float64) - pixels).max() <= 1e-6 * max(abs(low), abs(high), high - low)


def test_values_outside_the_range_are_cut_to_it() -> None:
    own = encoding("bands:2:uint16:1000:3000")
    pixels = np.array([[0, 1000], [2000, 65535]], np.uint16)
    assert own.to_network(pixels).tolist() == [[-1, -1], [0, 1]]
    assert own.to_pixels(np.array([[-7, 0], [0.5, 7]], np.float32), pixels, own).tolist() == [[1000, 2000], [2500, 3000]]
    assert own.to_grey_levels(pixels).tolist() == [[0, 0], [127.5, 255]]


def test_bytes_of_the_whole_range_are_what_rgb_makes_of_them() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(-1, 1).repeat(3, axis=1)
    own, rgb = encoding("bands:3:uint8"), encoding("rgb")
    assert np.array_equal(own.to_network(pixels), rgb.to_network(pixels))
    assert np.array_equal(own.to_rgb(pixels), pixels)
    assert np.array_equal(own.to_grey_levels(pixels), rgb.to_grey_levels(pixels))


def test_a_tensor_is_scaled_as_an_array_is() -> None:
    for name, pixels in (
        ("bands:4:uint16:0:3000", np.arange(0, 64, dtype=np.uint16).reshape(4, 4, 4) * 100),
        ("bands:1:float32:-0.25:1", np.linspace(-1, 2, 16, dtype=np.float32).reshape(4, 4, 1)),
    ):
        own = encoding(name)
        tensor = own.scaled(torch.from_numpy(pixels.astype(np.float32)))
        assert np.array_equal(tensor.numpy(), own.to_network(pixels))


def test_people_see_the_first_three_bands_or_the_first_in_gray() -> None:
    pixels = np.array([[[0, 500, 1000, 7], [2000, 250, 1, 9]]], np.uint16)
    assert encoding("bands:4:uint16:0:1000").to_rgb(pixels).tolist() == [[[0, 128, 255], [255, 64, 0]]]
    assert encoding("bands:2:uint16:0:1000").to_rgb(pixels[..., 1:3]).tolist() == [[[128] * 3, [64] * 3]]
    elevation = np.array([[[np.nan], [-5], [50]]], np.float32)
    shown = encoding("bands:1:float32:0:100").to_rgb(elevation)
    assert (shown.dtype, shown.tolist()) == (np.uint8, [[[0] * 3, [0] * 3, [128] * 3]])


def test_rasters_of_other_types_are_taken_where_no_value_is_lost() -> None:
    takes = {
        own: {name for name in ("uint8", "int16", "uint16", "int32", "float32", "float64") if own_takes(own, name)}
        for own in ("rgb", "bands:1:uint8", "bands:1:uint16", "bands:1:float32:0:1")
    }
    assert takes == {
        "rgb": {"uint8"},
        "bands:1:uint8": {"uint8"},
        "bands:1:uint16": {"uint8", "uint16"},
        "bands:1:float32:0:1": {"uint8", "int16", "uint16", "int32", "float32", "float64"},
    }


def own_takes(name: str, dtype: str) -> bool:
    return encoding(name).takes_dtype(np.dtype(dtype))


def test_what_was_not_measured_is_zero_or_the_nearest_end_of_the_range() -> None:
    values = np.array([[[-9999.0], [0.5]]])
    measured = np.array([[False, True]])
    fills = {"-1:1": 0, "0.25:1": 0.25, "-7:-2": -2}
    for limits, fill in fills.items():
        pixels = encoding(f"bands:1:float32:{limits}").of_raster(values, measured)
        assert (pixels.dtype, pixels.tolist()) == (np.float32, [[[fill], [0.5]]])
    rgb = np.full((1, 2, 3), 7, np.uint8)
    assert np.array_equal(encoding("rgb").of_raster(rgb, measured), rgb), "a picture keeps its own nodata value"


def test_a_scale_has_one_name_however_it_is_written() -> None:
    assert encoding("bands:4:uint16").name == "bands:4:uint16:0:65535"
    assert encoding("bands:1:float32:-1.0:1e0") == encoding("bands:1:float32:-1:1")
    for bands, dtype in itertools.product(range(1, MAX_BANDS + 1), ("uint8", "uint16")):
        own = encoding(f"bands:{bands}:{dtype}")
        assert encoding(own.name) == own
        assert (own.bands, own.channels, own.takes, own.dtype) == (bands, bands, (bands,), np.dtype(dtype))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("bands", "other parts"),
        ("bands:4", "other parts"),
        ("bands:4:uint16:0", "other parts"),
        ("bands:0:uint8", "'0' is no number of bands, 1 to 16"),
        ("bands:17:uint8", "'17' is no number of bands"),
        ("bands:four:uint8", "'four' is no number of bands"),
        ("bands:04:uint8", "'04' is no number of bands"),
        ("bands:1:int16:0:9", "'int16' is none of uint8, uint16, float32"),
        ("bands:1:float32", "float32 has no range of its own"),
        ("bands:1:float32:0:x", "'x' is no number"),
        ("bands:1:float32:0:inf", "'inf' is no number"),
        ("bands:1:float32:nan:1", "'nan' is no number"),
        ("bands:1:float32:1:1", "none of float32"),
        ("bands:1:float32:1:1.00000000001", "none of float32"),
        ("bands:1:float32:0:1e31", "none of float32"),
        ("bands:1:uint8:0:256", "none of whole uint8"),
        ("bands:1:uint8:9:3", "none of whole uint8"),
        ("bands:1:uint16:0:0.5", "none of whole uint16"),
        ("bands:1:uint16:-1:5", "none of whole uint16"),
    ],
)
def test_a_name_that_tells_no_scale_is_an_error_that_shows_how_it_is_written(name: str, why: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"{name}.*{why}.*Write bands:COUNT:DTYPE:LOW:HIGH, for example bands:4:uint16:0:3000"
    ):
        encoding(name)


def test_gray_and_rgb_are_not_taken_for_measurements() -> None:
    own = encoding("bands:4:uint8")
    for bands in (1, 3):
        with pytest.raises(ValueError, match=rf"takes 4 bands, not {bands}"):
            own.of_picture(np.zeros((2, 2, bands), np.uint8))
    with pytest.raises(ValueError, match="not made of RGB"):
        own.of_rgb(np.zeros((2, 2, 3), np.uint8))
