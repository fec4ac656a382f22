from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from p2p_core.geometry import Window
from preprocessing.pairs import Pair, Rejected
from preprocessing.quality import QualityRule, first_with_digest, largest_std


def pair(input_HWC: np.ndarray, target_HWC: np.ndarray) -> Pair:
    return Pair("p", "s", input_HWC, target_HWC, Window(1, 2, 8, 8))


def test_a_pair_with_a_uniform_side_is_rejected_and_says_which(picture) -> None:
    lively, blank = picture(8, 8, 0), np.full((8, 8, 3), 200, np.uint8)
    assert QualityRule().judge(pair(lively, lively)).__class__ is Pair
    for role, both in (("input", (blank, lively)), ("target", (lively, blank))):
        outcome = QualityRule().judge(pair(*both))
        assert isinstance(outcome, Rejected)
        assert outcome.reason == "uniform"
        assert outcome.detail.startswith(f"The {role} varies by 0.00")
        assert outcome.window == Window(1, 2, 8, 8)
    assert QualityRule(min_std=0).judge(pair(blank, blank)).__class__ is Pair


def test_one_lively_band_is_enough() -> None:
    blue_only = np.zeros((8, 8, 3), np.uint8)
    blue_only[:4, :, 2] = 10
    assert largest_std(blue_only) == 5.0


@given(st.lists(st.sampled_from("abcd"), max_size=12))
def test_of_items_with_one_digest_the_first_stays(digests: list[str]) -> None:
    items = [(f"n{i:02d}", digest) for i, digest in enumerate(digests)]
    duplicates = first_with_digest(items)
    kept = [(name, digest) for name, digest in items if name not in duplicates]
    assert sorted(digest for _, digest in kept) == sorted(set(digests))
    assert all(dict(items)[name] == dict(items)[first] and first < name for name, first in duplicates.items())
