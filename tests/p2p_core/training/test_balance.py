"""Pairs that show rare colours come more often in an epoch, and every pair comes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from p2p_core.encodings import encoding
from p2p_core.training.balance import times_an_epoch
from p2p_core.training.config import AugmentConfig
from p2p_core.training.data import Batches, ResidentPairs

SEA, LAND, SNOW = (20, 60, 160), (40, 120, 50), (240, 240, 240)


def world(snow_shares: list[float]) -> np.ndarray:
    """Pictures of 20x20 px, so much of each snow-white and the rest sea, with one picture of land for every two of sea."""
    images = np.full((len(snow_shares), 400, 3), SEA, dtype=np.uint8)
    images[1::3] = LAND
    for image, share in zip(images, snow_shares, strict=True):
        image[: round(400 * share)] = SNOW
    return images.reshape(-1, 20, 20, 3)


def test_the_pair_of_rare_colours_comes_as_often_as_it_may_and_common_ones_once() -> None:
    times = times_an_epoch(world([0.0] * 96 + [1.0, 0.0, 0.0, 1.0]), 9)
    assert times[[96, 99]].tolist() == [9, 9]
    assert set(times[:96][0::3]) == set(times[:96][2::3]) == {1}
    assert times.min() == 1
    assert times.max() == 9


def test_more_of_the_rare_colour_is_never_less_often() -> None:
    shares = [0.0] * 190 + list(np.linspace(0.1, 1, 10))
    images = world([0.0] * 200)
    images[1::3] = SEA
    for image, share in zip(images, shares, strict=True):
        image.reshape(400, 3)[: round(400 * share)] = SNOW
    times = times_an_epoch(images, 16)
    assert set(times[:190]) == {1}
    assert (np.diff(times[190:]) >= 0).all()
    assert times[190] < times[192] < times[-1] == 16


def test_once_each_where_that_is_asked_for_or_nothing_is_rarer_than_the_rest() -> None:
    assert times_an_epoch(world([0.0, 1.0, 0.5]), 1).tolist() == [1, 1, 1]
    assert times_an_epoch(np.full((5, 4, 4, 3), 7, dtype=np.uint8), 8).tolist() == [1] * 5


@pytest.mark.parametrize("bands", [1, 2, 12])
def test_pictures_of_any_number_of_bands_can_be_weighed(bands: int) -> None:
    images = np.zeros((50, 8, 8, bands), dtype=np.uint8)
    images[[7, 8]] = 255
    assert times_an_epoch(images, 4).tolist() == [1] * 7 + [4, 4] + [1] * 41


def test_an_epoch_of_batches_has_each_pair_so_often_and_the_next_too() -> None:
    images = np.stack([np.full((4, 4, 3), k, dtype=np.uint8) for k in range(5)])
    pairs = ResidentPairs(images, images, torch.device("cpu"), (encoding("rgb"), encoding("rgb")))
    times = np.array([1, 1, 4, 2, 1])
    batches = Batches(pairs, AugmentConfig(crop_px=4), 3, seed=0, times=times)
    shown = torch.cat([batches.at(start).input_NCHW[:, 0, 0, 0] for start in range(0, 18, 3)])
    numbers = ((shown + 1) * 127.5).round().int().tolist()
    assert np.bincount(numbers[:9]).tolist() == np.bincount(numbers[9:]).tolist() == times.tolist()
    assert numbers[:9] != numbers[9:]
