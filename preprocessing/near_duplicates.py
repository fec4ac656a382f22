"""Pairs that show nearly the same: one encoded again, scaled, a little brighter, or the next frame of a clip.

A pair's fingerprint holds, for each of its two pictures, where the picture shrunk to 12 x 12 cells grows brighter or darker
by more than 2 grey levels, to the right and downwards (after dHash; Krawetz 2013). Two pairs are as similar as their
fingerprints overlap: bits in both over bits in either (Jaccard). Measured on real pictures (docs/log.md, "Near duplicates"):
pictures encoded again or scaled by half have 0.9 and more, unrelated ones at most 0.6.

Legend: H W pixels, C bands, N pairs, W words of 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.schema import AssignedRecord, Settlement

__all__ = ["FINGERPRINT_BYTES", "Policy", "fingerprint", "settlements"]

Policy = Literal["move", "reject", "keep"]

_CELLS, _MIN_STEP = 12, 2
FINGERPRINT_BYTES = 2 * 4 * _CELLS * _CELLS // 8

_MIN_BITS = 48
"""A pair with fewer has too little to be told by: open water, plain colour."""

_BLOCK = 512
"""So many pairs are compared with so many at once: 512 x 512 counts stay in a core's cache."""

_FIRST_WORDS = 6

Places = NDArray[np.intp]


def fingerprint(input_HWC: NDArray[np.uint8], target_HWC: NDArray[np.uint8]) -> bytes:
    """RGB (H, W, 3) -> `FINGERPRINT_BYTES`."""
    return np.packbits(np.concatenate([_steps(input_HWC), _steps(target_HWC)])).tobytes()


def settlements(
    records: Sequence[AssignedRecord], policy: Policy, min_similarity: float, *, by_source: bool
) -> dict[str, Settlement]:
    """Pair id -> what becomes of it, for those that do not stay where the split rule put them.

    Args:
        records: every pair, in any order: the answer does not depend on it.
        policy: `move` brings near duplicates that lie in several splits to the first of them: train before val before test.
            `reject` leaves one of each, wherever the others lie; the one in the earlier split stays, then that of the smaller
            id. `keep` leaves all as they are.
        by_source: all pairs of a source move together, for they share its split.
    """
    ordered = sorted(records, key=lambda record: (SPLITS.index(record.split), record.pair_id))
    judged = [record for record in ordered if _num_bits(record) >= _MIN_BITS]
    if policy == "keep" or not judged:
        return {}
    prints = _Prints(judged, min_similarity)
    return _rejections(prints) if policy == "reject" else _moves(prints, ordered, by_source=by_source)


def _steps(picture_HWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
    gray_HW = cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2GRAY)
    small_HW = np.asarray(cv2.resize(gray_HW, (_CELLS + 1, _CELLS + 1), interpolation=cv2.INTER_AREA), np.int16)
    right_HW, down_HW = np.diff(small_HW, axis=1)[:-1], np.diff(small_HW, axis=0)[:, :-1]
    return np.stack([right_HW > _MIN_STEP, right_HW < -_MIN_STEP, down_HW > _MIN_STEP, down_HW < -_MIN_STEP]).ravel()


def _num_bits(record: AssignedRecord) -> int:
    return int.from_bytes(record.fingerprint, "big").bit_count()


class _Match(NamedTuple):
    place: int
    similarity: float


class _Prints:
    """The fingerprints of pairs as words; pairs are called by their places in `records`."""

    def __init__(self, records: Sequence[AssignedRecord], min_similarity: float) -> None:
        self.records, self.min_similarity = records, min_similarity
        words_NW = np.frombuffer(b"".join(record.fingerprint for record in records), np.uint64).reshape(len(records), -1)
        self._words_WN = np.ascontiguousarray(words_NW.T)
        self._num_bits_N = np.bitwise_count(words_NW).sum(axis=1, dtype=np.int16)
        self._num_left_N = np.bitwise_count(words_NW[:, _FIRST_WORDS:]).sum(axis=1, dtype=np.int16)

    def similarity(self, rows: Places, columns: Places) -> NDArray[np.float32]:
        """Of each with each; all 0 where the first words show that none is similar enough, as they nearly always do."""
        shared = np.zeros((len(rows), len(columns)), np.int16)
        both = self._num_bits_N[rows][:, np.newaxis] + self._num_bits_N[columns]
        for number, word_N in enumerate(self._words_WN):
            if number == _FIRST_WORDS:
                most = shared + np.minimum(self._num_left_N[rows][:, np.newaxis], self._num_left_N[columns])
                if ((1 + self.min_similarity) * most < self.min_similarity * both).all():
                    return np.zeros(shared.shape, np.float32)
            shared += np.bitwise_count(word_N[rows][:, np.newaxis] & word_N[columns])
        similarity: NDArray[np.float32] = shared.astype(np.float32) / (both - shared)
        return similarity

    def nearest(self, wanted: Places, among: Places) -> dict[int, _Match]:
        """For those of `wanted` that are near one of `among`: the most similar, of equally similar ones the first."""
        found: dict[int, _Match] = {}
        for rows in _blocks(wanted):
            best, place = np.zeros(len(rows), np.float32), np.zeros(len(rows), np.intp)
            for columns in _blocks(among):
                similarity = self.similarity(rows, columns)
                top = similarity.argmax(axis=1)
                value = similarity[np.arange(len(rows)), top]
                better = value > best
                best[better], place[better] = value[better], columns[top[better]]
            near = np.flatnonzero(best >= self.min_similarity)
            found |= {int(rows[i]): _Match(int(place[i]), float(best[i])) for i in near}
        return found

    def settlement(self, split: str | None, match: _Match) -> Settlement:
        return Settlement(split=split, near=self.records[match.place].pair_id, similarity=round(match.similarity, 3))


def _blocks(places: Places) -> Iterator[Places]:
    return (places[start : start + _BLOCK] for start in range(0, len(places), _BLOCK))


def _moves(prints: _Prints, ordered: Sequence[AssignedRecord], *, by_source: bool) -> dict[str, Settlement]:
    """What is near a pair of an earlier split goes there, then what is near those that went, until none is left."""
    members: dict[str, list[int]] = {}
    for place, record in enumerate(prints.records):
        members.setdefault(record.source_id if by_source else record.pair_id, []).append(place)
    unit_of = {place: unit for unit, places in members.items() for place in places}
    moved: dict[str, Settlement] = {}
    left = {split: [i for i, record in enumerate(prints.records) if record.split == split] for split in SPLITS}
    for number, split in enumerate(SPLITS):
        fresh = left[split]
        while fresh:
            later = [place for other in SPLITS[number + 1 :] for place in left[other]]
            found = prints.nearest(np.array(later, np.intp), np.array(fresh, np.intp)) if later else {}
            units: dict[str, _Match] = {}
            for place, match in found.items():
                units[unit_of[place]] = max(units.get(unit_of[place], match), match, key=lambda m: m.similarity)
            moved |= {unit: prints.settlement(split, match) for unit, match in units.items()}
            fresh = sorted(place for unit in units for place in members[unit])
            gone = set(fresh)
            left = {other: [place for place in places if place not in gone] for other, places in left.items()}
    units_moved = ((record, moved.get(record.source_id if by_source else record.pair_id)) for record in ordered)
    return {record.pair_id: settlement for record, settlement in units_moved if settlement}


def _rejections(prints: _Prints) -> dict[str, Settlement]:
    """Each pair in its turn: near one that stayed, it goes."""
    kept: list[int] = []
    rejected: dict[str, Settlement] = {}
    for block in _blocks(np.arange(len(prints.records))):
        matches = prints.nearest(block, np.array(kept, np.intp))
        inside = prints.similarity(block, block)
        stayed: list[int] = []  # their numbers in the block
        for i, place in enumerate(block.tolist()):
            match = matches.get(place)
            if match is None and stayed:
                top = max(stayed, key=lambda j: inside[i, j])
                if inside[i, top] >= prints.min_similarity:
                    match = _Match(int(block[top]), float(inside[i, top]))
            if match:
                rejected[prints.records[place].pair_id] = prints.settlement(None, match)
            else:
                stayed.append(i)
        kept += block[stayed].tolist()
    return rejected
