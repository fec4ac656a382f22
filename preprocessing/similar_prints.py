"""Which fingerprints are nearly the same: exactly those that comparing all with all finds, for a small part of its work.

As points whose coordinates are bits, two fingerprints lie apart by the root of the number of bits that differ, and in any
projection by no more. The few directions along which fingerprints differ most tell of nearly all pairs that they are too far
apart: a matrix product for blocks of them. What it leaves is compared bit by bit.

Legend: N fingerprints, M pairs of them, W words of 64 bits, B bits, K coordinates. Fingerprints are called by their places.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Places", "Prints"]

Places = NDArray[np.intp]

_DIRECTIONS, _SAMPLE = 62, 1024
"""With two columns more a row of points is four cache lines."""

_MARGIN = 0.5
"""Of squared distances up to some thousands, in bits: far above what single precision loses in their sums."""

_ROWS, _COLUMNS = 256, 2048
"""So many are compared with so many at once: what is between stays in a core's cache."""

_CODE_BITS = 16

_AT_ONCE = 2**14
"""So many pairs are compared bit by bit at once."""


class Prints:
    """Similarity is bits in both over bits in either (Jaccard); nearly the same are those of at least `min_similarity`."""

    def __init__(self, words_NW: NDArray[np.uint64], min_similarity: float) -> None:
        self._words_NW, self._min_similarity = words_NW, min_similarity
        self._num_bits_N = np.bitwise_count(words_NW).sum(axis=1, dtype=np.int16)

    def similarity(self, own_M: Places, other_M: Places) -> NDArray[np.float32]:
        counts_MW = np.bitwise_count(self._words_NW[own_M] & self._words_NW[other_M])
        shared_M = np.einsum("mw->m", counts_MW, dtype=np.int16)
        similarity_M = shared_M.astype(np.float32) / (self._num_bits_N[own_M] + self._num_bits_N[other_M] - shared_M)
        return np.asarray(similarity_M, np.float32)

    def groups(self, group_N: Places) -> Places:
        """For each the first of its group: of those nearly the same, directly or through others.

        Args:
            group_N: for each the first of those it is together with anyway, or itself.
        """
        if len(group_N) < 2:
            return group_N
        everywhere = np.arange(len(group_N))
        directions_BK = self._directions()
        for codes_N in _codes(self._points(directions_BK, everywhere)):
            order = np.argsort(codes_N, kind="stable")  # neighbours are likely near: thousands of frames of one scene
            group_N = self._joined(group_N, order[:-1], order[1:])
        order = np.lexsort((self._num_bits_N, group_N, self._num_bits_N[group_N]))
        points_NK = self._points(directions_BK, order)
        for start in range(0, len(order), _ROWS):
            rows = slice(start, start + _ROWS)
            # A row's point, the measure of its own bits and 1 meet a column's point, 1 and the measure of its bits.
            rows_KR = np.hstack([points_NK[rows, :-2], points_NK[rows, :-3:-1]]).T.copy()
            for first in range(start, len(order), _COLUMNS):
                columns = slice(first, first + _COLUMNS)
                if self._surely_apart(order[rows], order[columns]) or _all_one(group_N[order[rows]], group_N[order[columns]]):
                    continue
                near = np.flatnonzero((points_NK[columns] @ rows_KR).ravel() > -_MARGIN / 2)
                j, i = np.divmod(near, rows_KR.shape[1])
                group_N = self._joined(group_N, order[rows][i], order[columns][j])
        return group_N

    def members(self, group_N: Places) -> Iterator[Places]:
        """The places of each group of several, in their order."""
        order = np.argsort(group_N, kind="stable")
        starts = np.flatnonzero(np.diff(group_N[order], prepend=-1))
        yield from (places for places in np.split(order, starts[1:]) if len(places) > 1)

    def alike_one_that_stays(self, places: Places) -> tuple[Places, Places, NDArray[np.float32]]:
        """Each in its turn goes if it is near one that stayed. Who goes, the most similar that stays, how similar."""
        stays, gone = places[:1], []
        for place in places[1:]:
            parts = [self.similarity(part, np.full(len(part), place)) for part in _parts(stays)]
            similarity = np.concatenate(parts)
            nearest = similarity.argmax()
            if similarity[nearest] >= self._min_similarity:
                gone.append((place, stays[nearest], similarity[nearest]))
            else:
                stays = np.append(stays, place)
        goes, near, alike = zip(*gone, strict=True) if gone else ((), (), ())
        return np.array(goes, np.intp), np.array(near, np.intp), np.array(alike, np.float32)

    def _points(self, directions_BK: NDArray[np.float32], order: Places) -> NDArray[np.float32]:
        """(N, K + 2), in this order: coordinates, a measure of the bits, and 1.

        Similar by s differ in at most (1 - s) / (1 + s) of all their bits n. With the squared distance of points as
        a.a + b.b - 2 a.b, that is a.b + measure(a) + measure(b) >= 0, where measure(a) = ((1 - s) / (1 + s) n - a.a) / 2.
        """
        allowed = (1 - self._min_similarity) / (1 + self._min_similarity)
        points_NK = np.ones((len(order), directions_BK.shape[1] + 2), np.float32)
        for start in range(0, len(order), _SAMPLE):
            part, places = slice(start, start + _SAMPLE), order[start : start + _SAMPLE]
            coordinates_NK = _bits(self._words_NW[places]) @ directions_BK
            points_NK[part, :-2] = coordinates_NK
            points_NK[part, -2] = (allowed * self._num_bits_N[places] - np.square(coordinates_NK).sum(axis=1)) / 2
        return points_NK

    def _directions(self) -> NDArray[np.float32]:
        """(B, K), orthonormal, nearly those along which a sample differs most (Halko, Martinsson and Tropp 2011, 4.4)."""
        sample_SB = _bits(self._words_NW[:: -(-len(self._words_NW) // _SAMPLE)])
        sample_SB -= sample_SB.mean(axis=0)
        directions_BK = np.random.default_rng(0).standard_normal((sample_SB.shape[1], _DIRECTIONS), np.float32)
        for _ in range(2):
            directions_BK = np.linalg.qr((sample_SB.T @ (sample_SB @ directions_BK)).astype(np.float64))[0].astype(np.float32)
        return directions_BK

    def _surely_apart(self, own: Places, other: Places) -> bool:
        """They are if all bits of the fewer being among the more is not enough."""
        own_bits, other_bits = self._num_bits_N[own], self._num_bits_N[other]
        return bool(
            own_bits.max() < self._min_similarity * other_bits.min() or other_bits.max() < self._min_similarity * own_bits.min()
        )

    def _joined(self, group_N: Places, own_M: Places, other_M: Places) -> Places:
        """`group_N`, with those of the pairs that are near in one group."""
        for own, other in zip(_parts(own_M), _parts(other_M), strict=True):
            apart = group_N[own] != group_N[other]
            own, other = own[apart], other[apart]
            near = self.similarity(own, other) >= self._min_similarity
            if near.any():
                group_N = _united(group_N, np.stack([group_N[own[near]], group_N[other[near]]]))
        return group_N


def _bits(words_NW: NDArray[np.uint64]) -> NDArray[np.float32]:
    return np.unpackbits(words_NW.view(np.uint8), axis=1).astype(np.float32)


def _codes(points_NK: NDArray[np.float32]) -> Iterator[NDArray[np.uint16]]:
    """Numbers that are likely the same for what is near: on which side of the middle it lies, in some directions."""
    for first in range(0, points_NK.shape[1] - 2 - _CODE_BITS, _CODE_BITS):
        coordinates_NK = points_NK[:, first : first + _CODE_BITS]
        packed = np.packbits(coordinates_NK > np.median(coordinates_NK, axis=0), axis=1)
        yield packed.view(np.uint16).ravel()


def _parts(places: Places) -> Iterator[Places]:
    return (places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE))


def _all_one(own: Places, other: Places) -> bool:
    return bool((own == own[0]).all() and (other == own[0]).all())


def _united(group_N: Places, links: Places) -> Places:
    """`links`: (2, any number) groups that are one. A group is called by its first place, here and after."""
    groups, numbers = np.unique(links, return_inverse=True)
    graph = coo_array((np.ones(links.shape[1], np.int8), tuple(numbers.reshape(links.shape))), shape=(len(groups),) * 2)
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    becomes_N = np.arange(len(group_N))
    becomes_N[groups] = groups[first[labels]]
    return becomes_N[group_N]
