"""Pairs that show rare colours come more often in an epoch, and every pair comes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from p2p_core.encodings import encoding
from p2p_core.training.balance import times_an_epoch
from p2p_core.training.config import AugmentConfig
from p2p_core.training.data import Batches, ResidentPairs

COMMON, RARE = (20, 60, 160), (240, 240, 240)


def land(snow_shares: list[float]) -> np.ndarray:
    """Pictures of 20x20 px, so much of each snow-white and the rest sea-blue."""
    images = np.full((len(snow_shares), 400, 3), COMMON, dtype=np.uint8)
    for image, share in zip(images, snow_shares, strict=True):
        image[: round(400 * share)] = RARE
    return images.reshape(-1, 20, 20, 3)


def test_a_pair_comes_in_proportion_to_its_rare_pixels() -> None:
    images = land([0.0] * 47 + [0.06, 0.125, 1.0])
    assert times_an_epoch(images, 9).tolist() == [1] * 47 + [3, 5, 9]


def test_once_each_where_that_is_asked_for() -> None:
    assert times_an_epoch(land([0.0, 1.0, 0.5]), 1).tolist() == [1, 1, 1]


def test_colours_that_are_not_rare_gain_nothing() -> None:
    assert times_an_epoch(land([0.0, 1.0] * 20), 8).tolist() == [1] * 40


@pytest.mark.parametrize("bands", [1, 2, 12])
def test_pictures_of_any_number_of_bands_can_be_weighed(bands: int) -> None:
    images = np.zeros((50, 8, 8, bands), dtype=np.uint8)
    images[7] = 255
    assert times_an_epoch(images, 4).tolist() == [1] * 7 + [4] + [1] * 42


def test_an_epoch_of_batches_has_each_pair_so_often_and_the_next_too() -> None:
    images = np.stack([np.full((4, 4, 3), k, dtype=np.uint8) for k in range(5)])
    pairs = ResidentPairs(images, images, torch.device("cpu"), (encoding("rgb"), encoding("rgb")))
    times = np.array([1, 1, 4, 2, 1])
    batches = Batches(pairs, AugmentConfig(crop_px=4), 3, seed=0, times=times)
    shown = torch.cat([batches.at(start).input_NCHW[:, 0, 0, 0] for start in range(0, 18, 3)])
    numbers = ((shown + 1) * 127.5).round().int().tolist()
    assert np.bincount(numbers[:9]).tolist() == np.bincount(numbers[9:]).tolist() == times.tolist()
    assert numbers[:9] != numbers[9:]
