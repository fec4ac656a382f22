"""Fingerprints that are nearly the same are found exactly, and thousands of one scene take little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from preprocessing.near_duplicates import FINGERPRINT_BYTES
from preprocessing.similar_prints import Prints

_BITS = 8 * FINGERPRINT_BYTES


def words(bits_NB: NDArray[np.bool_]) -> NDArray[np.uint64]:
    return np.packbits(bits_NB, axis=1).view(np.uint64)


def families(rng: np.random.Generator, num: int, share: float, turned: float) -> NDArray[np.bool_]:
    """Half of them each another with some bits turned over, so that pairs lie on both sides of what is similar."""
    bits_NB = rng.random((num, _BITS)) < share
    for place in range(num // 2, num):
        bits_NB[place] = bits_NB[rng.integers(place)] ^ (rng.random(_BITS) < rng.choice([0.0, turned / 2, turned]))
    return bits_NB[rng.permutation(num)]


@pytest.mark.parametrize("min_similarity", [0.3, 0.8, 1.0])
@pytest.mark.parametrize(("share", "turned"), [(0.06, 0.01), (0.3, 0.06), (0.5, 0.09)])
def test_groups_are_those_that_comparing_all_with_all_finds(share: float, turned: float, min_similarity: float) -> None:
    bits_NB = families(np.random.default_rng(0), 2600, share, turned)
    prints = Prints(words(bits_NB), min_similarity)
    shared_NN = bits_NB.astype(np.float32) @ bits_NB.T.astype(np.float32)
    num_N = bits_NB.sum(axis=1, dtype=np.float32)
    near_NN = shared_NN / (num_N[:, np.newaxis] + num_N - shared_NN) >= min_similarity
    _, labels = connected_components(near_NN, directed=False)
    _, first = np.unique(labels, return_index=True)
    np.testing.assert_array_equal(prints.groups(np.arange(len(bits_NB))), first[labels])


def test_what_is_together_anyway_joins_what_is_near_its_parts() -> None:
    bits_NB = np.random.default_rng(0).random((6, _BITS)) < 0.4
    bits_NB[4], bits_NB[5] = bits_NB[0], bits_NB[1]
    assert Prints(words(bits_NB), 0.8).groups(np.array([0, 1, 2, 3, 3, 3])).tolist() == [0, 0, 2, 0, 0, 0]


def test_twenty_thousand_frames_of_one_scene_among_others_are_one_group_in_little_memory() -> None:
    rng = np.random.default_rng(0)
    scene_B = rng.random(_BITS) < 0.4
    frames_NW = words(scene_B ^ (rng.random((20_000, _BITS)) < 0.01))
    others_NW = words(rng.random((4_000, _BITS)) < 0.4)
    prints = Prints(np.concatenate([others_NW, frames_NW])[rng.permutation(24_000)], 0.8)
    tracemalloc.start()
    try:
        groups = prints.groups(np.arange(24_000))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.unique(groups, return_counts=True)[1].max() == 20_000
    assert peak_bytes < 60_000_000  # the 2 * 10**8 pairs of the scene as links would be 3 GB
