"""Pairs that show nearly the same: one encoded again, scaled, a little brighter, or the next frame of a clip.

A pair's fingerprint holds, for each of its two pictures, where the picture shrunk to 12 x 12 cells grows brighter or darker
by more than 2 grey levels, to the right and downwards (after dHash; Krawetz 2013). Two pairs are as similar as their
fingerprints overlap: bits in both over bits in either (Jaccard). Measured on real pictures (docs/log.md, "Near duplicates"):
pictures encoded again or scaled by half have 0.9 and more, unrelated ones at most 0.6.

Legend: H W pixels, C bands, N pairs, W words of 64 bits, J the pairs that are judged, in order of preference.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.schema import Settlement
from preprocessing.similar_prints import Places, Prints

__all__ = ["FINGERPRINT_BYTES", "Policy", "fingerprint", "settlements", "similarity"]

Policy = Literal["move", "reject", "keep"]

_CELLS, _MIN_STEP = 12, 2
FINGERPRINT_BYTES = 2 * 4 * _CELLS * _CELLS // 8

_MIN_BITS = 48
"""A pair with fewer has too little to be told by: open water, plain colour."""


def fingerprint(input_HWC: NDArray[np.uint8], target_HWC: NDArray[np.uint8]) -> bytes:
    """RGB (H, W, 3) -> `FINGERPRINT_BYTES`."""
    return np.packbits(np.concatenate([_steps(input_HWC), _steps(target_HWC)])).tobytes()


def similarity(one: bytes, other: bytes) -> float:
    """Of two fingerprints, 0 to 1: bits in both over bits in either."""
    bits, other_bits = int.from_bytes(one, "big"), int.from_bytes(other, "big")
    return (bits & other_bits).bit_count() / max(1, (bits | other_bits).bit_count())


def settlements(
    assigned: pa.Table, policy: Policy, min_similarity: float, *, by_source: bool = False, by_hash: bool = True
) -> dict[str, Settlement]:
    """Pair id -> what becomes of it, for those that do not stay where the split rule put them.

    Args:
        assigned: every pair (`ASSIGNED_SCHEMA`), in any order: the answer does not depend on it.
        policy: `move` brings pairs that are nearly the same, directly or through others between them, to one split.
            `reject` leaves one of each, wherever the others lie; the one in the earlier split stays, then that of the smaller
            id. `keep` leaves all as they are.
        by_source: all pairs of a source move together, for they share its split.
        by_hash: the split was drawn, so such a group goes where its first pair by id was put, and the shares of the splits
            hold on average. Otherwise it goes to the first of its splits: train before val before test.
    """
    if policy == "keep" or not len(assigned):
        return {}
    order = pc.sort_indices(assigned, sort_keys=[("pair_id", "ascending")])
    ids, sources, splits = (assigned[name].take(order) for name in ("pair_id", "source_id", "split"))
    split_N = pc.index_in(splits, pa.array(SPLITS)).to_numpy()
    judged_J, words_JW = _judged(assigned["fingerprint"], order.to_numpy())
    if policy == "reject":
        by_split = np.argsort(split_N[judged_J], kind="stable")
        return _rejections(ids.take(pa.array(judged_J[by_split])), Prints(words_JW[by_split], min_similarity))
    unit_N = _numbers(sources) if by_source else np.arange(len(order))
    return _moves(ids, split_N, unit_N, judged_J, Prints(words_JW, min_similarity), by_hash=by_hash)


def _steps(picture_HWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
    gray_HW = cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2GRAY)
    small_HW = np.asarray(cv2.resize(_halved(gray_HW), (_CELLS + 1, _CELLS + 1), interpolation=cv2.INTER_AREA), np.int16)
    right_HW, down_HW = np.diff(small_HW, axis=1)[:-1], np.diff(small_HW, axis=0)[:, :-1]
    return np.stack([right_HW > _MIN_STEP, right_HW < -_MIN_STEP, down_HW > _MIN_STEP, down_HW < -_MIN_STEP]).ravel()


def _halved(gray_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halved as often as leaves four pixels along each cell: many times faster than to go to the cells at once."""
    while min(gray_HW.shape) >= 8 * (_CELLS + 1):
        height_px, width_px = (side_px // 2 for side_px in gray_HW.shape)
        even_HW = gray_HW[: 2 * height_px, : 2 * width_px]
        gray_HW = np.asarray(cv2.resize(even_HW, (width_px, height_px), interpolation=cv2.INTER_AREA))
    return gray_HW


def _judged(fingerprints: pa.ChunkedArray, order: Places) -> tuple[Places, NDArray[np.uint64]]:
    """Which of `order` are judged, and their words."""
    values = fingerprints.combine_chunks().cast(pa.binary(FINGERPRINT_BYTES))
    words_NW = np.frombuffer(values.buffers()[1], np.uint64).reshape(len(order), -1)
    enough_N = np.bitwise_count(words_NW).sum(axis=1, dtype=np.int16) >= _MIN_BITS
    judged_J = np.flatnonzero(enough_N[order])
    return judged_J, words_NW[order[judged_J]]


def _numbers(names: pa.ChunkedArray) -> Places:
    """For each name a number that it has alone."""
    return np.asarray(names.combine_chunks().dictionary_encode().indices, np.intp)


def _moves(
    ids: pa.ChunkedArray, split_N: NDArray[np.int32], unit_N: Places, judged_J: Places, prints: Prints, *, by_hash: bool
) -> dict[str, Settlement]:
    """`unit_N`: pairs of one number move together. Groups are called by the place of their first pair in `judged_J`."""
    _, first_of_unit, unit_J = np.unique(unit_N[judged_J], return_index=True, return_inverse=True)
    group_J = prints.groups(first_of_unit[unit_J])
    group_of_unit = np.full(len(split_N), -1)
    group_of_unit[unit_N[judged_J]] = group_J
    first_JS = np.full((len(judged_J), len(SPLITS)), -1)  # of a group, the first pair in each split
    found, first = np.unique(group_J * len(SPLITS) + split_N[judged_J], return_index=True)
    first_JS.ravel()[found] = first
    goes_to_J = split_N[judged_J] if by_hash else (first_JS >= 0).argmax(axis=1)
    group_N = group_of_unit[unit_N]
    moved = np.flatnonzero(group_N >= 0)
    moved = moved[goes_to_J[group_N[moved]] != split_N[moved]]
    goes_to = goes_to_J[group_N[moved]]
    near = judged_J[first_JS[group_N[moved], goes_to]]
    return {
        pair_id: Settlement(SPLITS[split], near=near_id)
        for pair_id, split, near_id in zip(_named(ids, moved), goes_to.tolist(), _named(ids, near), strict=True)
    }


def _rejections(ids: pa.ChunkedArray, prints: Prints) -> dict[str, Settlement]:
    """`ids`: of `prints`. Whatever is near lies in one group, so each is gone through by itself."""
    rejected: dict[str, Settlement] = {}
    for places in prints.members(prints.groups(np.arange(len(ids)))):
        gone, near, similarity = prints.alike_one_that_stays(places)
        for pair_id, near_id, alike in zip(_named(ids, gone), _named(ids, near), similarity.tolist(), strict=True):
            rejected[pair_id] = Settlement(None, near_id, round(alike, 3))
    return rejected


def _named(ids: pa.ChunkedArray, places: Places) -> list[str]:
    names: list[str] = ids.take(pa.array(places)).to_pylist()
    return names
