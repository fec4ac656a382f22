"""Pairs that show nearly the same: one encoded again, scaled, a little brighter, or the next frame of a clip.

A pair's fingerprint holds, for each of its two pictures, where the picture shrunk to 12 x 12 cells grows brighter or darker
by more than 2 grey levels, to the right and downwards (after dHash; Krawetz 2013). Two pairs are as similar as their
fingerprints overlap: bits in both over bits in either (Jaccard). Measured on real pictures (docs/log.md, "Near duplicates"):
pictures encoded again or scaled by half have 0.9 and more, unrelated ones at most 0.6.

Legend: H W pixels, C bands, N pairs, W words of 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.schema import AssignedRecord, Settlement

__all__ = ["FINGERPRINT_BYTES", "Policy", "fingerprint", "settlements", "similarity"]

Policy = Literal["move", "reject", "keep"]

_CELLS, _MIN_STEP = 12, 2
FINGERPRINT_BYTES = 2 * 4 * _CELLS * _CELLS // 8

_MIN_BITS = 48
"""A pair with fewer has too little to be told by: open water, plain colour."""

_ROWS, _COLUMNS = 32, 1024
"""So many pairs are compared with so many at once: what is between stays in a core's cache."""

_FIRST_WORDS = 3
"""What they share tells of nearly all pairs that they are not near. 3 x 64 bits fit a byte's count."""

Places = NDArray[np.intp]


def fingerprint(input_HWC: NDArray[np.uint8], target_HWC: NDArray[np.uint8]) -> bytes:
    """RGB (H, W, 3) -> `FINGERPRINT_BYTES`."""
    return np.packbits(np.concatenate([_steps(input_HWC), _steps(target_HWC)])).tobytes()


def similarity(one: bytes, other: bytes) -> float:
    """Of two fingerprints, 0 to 1: bits in both over bits in either."""
    bits, other_bits = int.from_bytes(one, "big"), int.from_bytes(other, "big")
    return (bits & other_bits).bit_count() / max(1, (bits | other_bits).bit_count())


def settlements(
    records: Sequence[AssignedRecord], policy: Policy, min_similarity: float, *, by_source: bool = False, by_hash: bool = True
) -> dict[str, Settlement]:
    """Pair id -> what becomes of it, for those that do not stay where the split rule put them.

    Args:
        records: every pair, in any order: the answer does not depend on it.
        policy: `move` brings pairs that are nearly the same, directly or through others between them, to one split.
            `reject` leaves one of each, wherever the others lie; the one in the earlier split stays, then that of the smaller
            id. `keep` leaves all as they are.
        by_source: all pairs of a source move together, for they share its split.
        by_hash: the split was drawn, so such a group goes where its first pair by id was put, and the shares of the splits
            hold on average. Otherwise it goes to the first of its splits: train before val before test.
    """
    ordered = sorted(records, key=lambda record: record.pair_id)
    judged = [record for record in ordered if _num_bits(record) >= _MIN_BITS]
    if policy == "keep" or not judged:
        return {}
    if policy == "reject":
        return _rejections(_Prints(sorted(judged, key=lambda record: SPLITS.index(record.split)), min_similarity))
    return _moves(_Prints(judged, min_similarity), ordered, by_source=by_source, by_hash=by_hash)


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


def _num_bits(record: AssignedRecord) -> int:
    return int.from_bytes(record.fingerprint, "big").bit_count()


class _Prints:
    """The fingerprints of pairs as words; pairs are called by their places in `records`."""

    def __init__(self, records: Sequence[AssignedRecord], min_similarity: float) -> None:
        self.records, self.min_similarity = records, min_similarity
        words_NW = np.frombuffer(b"".join(record.fingerprint for record in records), np.uint64).reshape(len(records), -1)
        self._words_WN = np.ascontiguousarray(words_NW.T)
        self._num_bits_N = np.bitwise_count(words_NW).sum(axis=1, dtype=np.int16)
        # Similar by s are two that share s / (1 + s) of all their bits; rounded down, so that none is missed.
        self._need_N = np.floor(self._num_bits_N * (min_similarity / (1 + min_similarity))).astype(np.int16)
        self._num_left_N = np.bitwise_count(words_NW[:, _FIRST_WORDS:]).sum(axis=1, dtype=np.int16)

    def near(self, rows: Places, columns: Places) -> tuple[Places, Places, NDArray[np.float32]]:
        """The places in `rows` and in `columns` of each two that are similar enough, and how similar they are."""
        shared = np.zeros((len(rows), len(columns)), np.uint8)
        for word_N in self._words_WN[:_FIRST_WORDS]:
            shared += np.bitwise_count(word_N[rows][:, np.newaxis] & word_N[columns])
        most = shared + np.minimum(self._num_left_N[rows][:, np.newaxis], self._num_left_N[columns])
        i, j = np.nonzero(most >= self._need_N[rows][:, np.newaxis] + self._need_N[columns])  # nearly always nothing
        if not len(i):
            return rows[i], columns[j], np.empty(0, np.float32)
        own, other = rows[i], columns[j]
        all_shared = np.bitwise_count(self._words_WN[:, own] & self._words_WN[:, other]).sum(axis=0, dtype=np.int16)
        similarity = all_shared.astype(np.float32) / (self._num_bits_N[own] + self._num_bits_N[other] - all_shared)
        enough = similarity >= self.min_similarity
        return own[enough], other[enough], similarity[enough]

    def groups(self, joined: NDArray[np.intp]) -> NDArray[np.intp]:
        """For each pair the first place of its group, of those near or `joined` (2, any number), or so over others."""
        links = [joined]
        order = np.argsort(self._num_bits_N, kind="stable")
        for start in range(0, len(order), _ROWS):
            rows = order[start : start + _ROWS]
            for columns in _blocks(order[start:]):
                if self._num_bits_N[rows[-1]] < self.min_similarity * self._num_bits_N[columns[0]]:
                    break  # not near even if all bits of the fewer are among the more
                own, other, _ = self.near(rows, columns)
                if len(own):
                    links.append(_spanning(np.stack([own, other])))
        return _first_of_group(np.concatenate(links, axis=1), len(self.records))


def _blocks(places: Places) -> Iterator[Places]:
    return (places[start : start + _COLUMNS] for start in range(0, len(places), _COLUMNS))


def _spanning(links: NDArray[np.intp]) -> NDArray[np.intp]:
    """(2, any number) links -> fewer that join the same places: thousands of frames of one scene are millions of links."""
    places, numbers = np.unique(links, return_inverse=True)
    first = _first_of_group(numbers.reshape(links.shape), len(places))
    return np.stack([places[first], places])


def _first_of_group(links: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Links between places 0..count-1 -> for each the first place it is joined to, itself or another."""
    graph = coo_array((np.ones(links.shape[1], np.int8), tuple(links)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    return np.asarray(first[labels], np.intp)


def _moves(prints: _Prints, ordered: Sequence[AssignedRecord], *, by_source: bool, by_hash: bool) -> dict[str, Settlement]:
    units = [record.source_id if by_source else record.pair_id for record in prints.records]
    _, first_of_unit, unit_of = np.unique(units, return_index=True, return_inverse=True)
    first = prints.groups(np.stack([first_of_unit[unit_of], np.arange(len(units))]))
    members: dict[int, dict[str, int]] = {}  # of a group, the first pair in each of its splits
    for place, group in enumerate(first.tolist()):
        members.setdefault(group, {}).setdefault(prints.records[place].split, place)
    goes_to = {
        group: prints.records[group].split if by_hash else min(found, key=SPLITS.index)
        for group, found in members.items()
        if len(found) > 1
    }
    group_of = dict(zip(units, first.tolist(), strict=True))
    moved = {}
    for record in ordered:
        group = group_of.get(record.source_id if by_source else record.pair_id, -1)
        if group in goes_to and goes_to[group] != record.split:
            split = goes_to[group]
            moved[record.pair_id] = Settlement(split, near=prints.records[members[group][split]].pair_id)
    return moved


def _rejections(prints: _Prints) -> dict[str, Settlement]:
    """Each pair in its turn: near one that stayed, it goes."""
    rejected: dict[str, Settlement] = {}
    stays = np.ones(len(prints.records), bool)
    for start in range(0, len(prints.records), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(prints.records)))
        found = [prints.near(rows, columns) for columns in _blocks(np.flatnonzero(stays[: rows[-1] + 1]))]
        later, earlier, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
        for place in rows.tolist():
            alike = np.flatnonzero((later == place) & (earlier < place) & stays[earlier])
            if len(alike):
                nearest = alike[similarity[alike].argmax()]
                near = prints.records[earlier[nearest]].pair_id
                rejected[prints.records[place].pair_id] = Settlement(None, near, round(float(similarity[nearest]), 3))
                stays[place] = False
    return rejected
