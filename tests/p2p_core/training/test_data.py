"""Which pair comes when, and that both images of a pair are treated alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from p2p_core.encodings import encoding
from p2p_core.palettes import PALETTES
from p2p_core.training.config import AugmentConfig, OptimiserConfig
from p2p_core.training.data import Batches, ResidentPairs


def make_pairs(count: int = 10, size_px: int = 12, jitter_px: int = 0) -> ResidentPairs:
    """Each pixel tells its pair and place: band 0 the pair, band 1 the row, band 2 the column. Target = input."""
    rows, columns = np.meshgrid(np.arange(size_px), np.arange(size_px), indexing="ij")
    images = np.stack([np.stack([np.full_like(rows, k), rows, columns], axis=-1) for k in range(count)]).astype(np.uint8)
    return ResidentPairs(images, images.copy(), torch.device("cpu"), (encoding("rgb"), encoding("rgb")), jitter_px)


def pixels(network_NCHW: torch.Tensor) -> np.ndarray:
    return ((network_NCHW + 1) * 127.5).round().numpy().astype(int)


def test_an_epoch_sees_every_pair_once_and_the_next_in_another_order() -> None:
    batches = Batches(make_pairs(), AugmentConfig(crop_px=8), 5, seed=1)
    epochs = [[pixels(batches.at(start).input_NCHW)[:, 0, 0, 0] for start in (first, first + 5)] for first in (0, 10)]
    orders = [np.concatenate(epoch).tolist() for epoch in epochs]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]


def test_input_and_target_get_the_same_crop_and_mirror() -> None:
    batches = Batches(make_pairs(), AugmentConfig(crop_px=8), 10, seed=2)
    for start in range(0, 50, 10):
        batch = batches.at(start)
        assert torch.equal(batch.input_NCHW, batch.target_NCHW)


def test_crops_and_mirrors_reach_every_place() -> None:
    batches = Batches(make_pairs(), AugmentConfig(crop_px=8), 10, seed=3)
    corners = set()
    for start in range(0, 1000, 10):
        image = pixels(batches.at(start).input_NCHW)
        mirrored = image[:, 2, 0, 0] > image[:, 2, 0, -1]
        corners |= set(zip(image[:, 1, 0, 0], image[:, 2, 0, :].min(axis=1), mirrored, strict=True))
    assert corners == {(y, x, m) for y in range(5) for x in range(5) for m in (False, True)}


def test_a_batch_depends_on_its_position_alone() -> None:
    one, other = (Batches(make_pairs(), AugmentConfig(crop_px=8), 4, seed=4) for _ in range(2))
    for start in range(0, 24, 4):
        one.at(start)
    assert torch.equal(one.at(36).input_NCHW, other.at(36).input_NCHW)


def test_pairs_with_room_for_jitter_are_cropped_and_never_resized() -> None:
    batches = Batches(make_pairs(jitter_px=4), AugmentConfig(resize_px=16, crop_px=8, mirror=False), 10, seed=5)
    corners = set()
    for start in range(0, 1000, 10):
        image = pixels(batches.at(start).input_NCHW)
        assert (np.diff(image[:, 1], axis=1) == 1).all(), "rows of the store, one after the other"
        assert (np.diff(image[:, 2], axis=2) == 1).all()
        corners |= set(zip(image[:, 1, 0, 0], image[:, 2, 0, 0], strict=True))
    assert corners == {(y, x) for y in range(5) for x in range(5)}


def test_jitter_resizes_before_the_crop() -> None:
    batches = Batches(make_pairs(), AugmentConfig(resize_px=16, crop_px=8, mirror=False), 10, seed=5)
    image = (batches.at(0).input_NCHW + 1) * 127.5
    steps = image[:, 2, :, 2:6].diff(dim=-1)
    assert float(steps.mean()) == pytest.approx(12 / 16, abs=0.05)


@pytest.mark.parametrize(
    ("name", "most"), [("bands:5:uint16:100:60000", 65535), ("bands:1:uint16", 65535), ("bands:2:float32:-1:1", 1.5)]
)
@pytest.mark.parametrize("mirror", [False, True])
def test_batches_of_measurements_are_what_the_encoding_makes_of_them(name: str, most: float, mirror: bool) -> None:
    own = encoding(name)
    images = np.random.default_rng(8).uniform(0, most, (6, 12, 12, own.bands)).astype(own.dtype)
    pairs = ResidentPairs(images, images, torch.device("cpu"), (own, own))
    assert pairs.input_NCHW.element_size() == own.dtype.itemsize, "no more than the pixels is kept"
    batch = Batches(pairs, AugmentConfig(crop_px=12, mirror=mirror), 6, seed=7).at(0)
    found = {image.tobytes() for image in batch.input_NCHW.permute(0, 2, 3, 1).numpy()}
    expected = [own.to_network(image) for image in images]
    assert found <= {image.tobytes() for image in (*expected, *(np.ascontiguousarray(e[:, ::-1]) for e in expected))}
    assert len(found) == 6


def test_measurements_are_resized_in_their_own_units() -> None:
    own = encoding("bands:1:uint16:0:1000")
    ramp = np.broadcast_to(np.arange(0, 1200, 100, dtype=np.uint16)[:, np.newaxis], (2, 12, 12, 1))
    pairs = ResidentPairs(ramp, ramp, torch.device("cpu"), (own, own))
    image = Batches(pairs, AugmentConfig(resize_px=24, crop_px=24, mirror=False), 2, seed=0).at(0).input_NCHW[0, 0]
    assert float(image[0, 12]) == pytest.approx((575 / 500) - 1, abs=1e-5)


@pytest.mark.parametrize("resize_px", [None, 12, 18])
def test_batches_of_any_encoding_are_what_the_encoding_makes_of_the_pixels(resize_px: int | None) -> None:
    """12 px are the pairs' own size. Resized, classes stay classes, and L stays beside its ab."""
    images = np.random.default_rng(6).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
    names = ("one_hot:camvid", "lab_ab"), ("lab_l", "palette:facades")
    augment = AugmentConfig(resize_px=resize_px, crop_px=resize_px or 12, mirror=False)
    for pair in names:
        encodings = encoding(pair[0]), encoding(pair[1])
        halves = [own.of_picture(images) for own in encodings]
        batch = Batches(ResidentPairs(*halves, torch.device("cpu"), encodings), augment, 6, seed=7).at(0)
        order = np.random.default_rng([7, 0, 0]).permutation(6)
        for own, half, network_NCHW in zip(encodings, halves, (batch.input_NCHW, batch.target_NCHW), strict=True):
            assert network_NCHW.shape[1] == own.channels
            assert network_NCHW.is_contiguous(memory_format=torch.channels_last)
            network_NHWC = network_NCHW.permute(0, 2, 3, 1).numpy()
            if resize_px != 18:
                np.testing.assert_allclose(network_NHWC, own.to_network(half[order]), atol=1e-6)
            elif own.resident == "classes":
                assert set(np.unique(network_NHWC)) == {-1, 1}
                # centre on centre: of 18 pixels over 12 the second lies in the first's neighbour
                np.testing.assert_array_equal(network_NHWC[:, ::3, ::3], own.to_network(half[order])[:, ::2, ::2])
            else:
                assert np.abs(network_NHWC.mean() - own.to_network(half[order]).mean()) < 0.02


def test_a_mirrored_pair_of_labels_and_photo_stays_a_pair() -> None:
    labels = PALETTES["camvid"].colours_of(np.random.default_rng(8).integers(0, 12, (4, 8, 8)))
    encodings = encoding("one_hot:camvid"), encoding("rgb")
    batches = Batches(ResidentPairs(labels, labels, torch.device("cpu"), encodings), AugmentConfig(crop_px=4), 4, seed=9)
    for start in range(0, 16, 4):
        batch = batches.at(start)
        drawn = PALETTES["camvid"].colours_of(batch.input_NCHW.argmax(1).numpy())
        assert np.array_equal(drawn, pixels(batch.target_NCHW).transpose(0, 2, 3, 1))


def test_learning_rate_is_constant_then_falls_and_never_reaches_zero() -> None:
    schedule = OptimiserConfig(learning_rate=1e-3, decay_from=0.5)
    assert schedule.learning_rate_at(0.4) == 1e-3
    assert schedule.learning_rate_at(0.75) == pytest.approx(5e-4)
    assert schedule.learning_rate_at(0.999) > 0
    assert OptimiserConfig(learning_rate=1e-3).learning_rate_at(0.999) == 1e-3
