"""The card's two pictures: some pairs of each split, and what was rejected. Legend: H W pixels, C bands; pixels are uint8."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from p2p_core.card.facts import spread
from p2p_core.encodings import Encoding, encoding
from p2p_core.evaluation.sheets import Captioned, captioned_sheet
from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import PairRecord, RejectedRecord

__all__ = ["pairs_picture", "read_pairs", "rejected_picture", "shrunk"]

_PAIRS_A_SPLIT, _PAIRS_A_ROW = 8, 4
_LONGEST_PX, _LEAST_PX = 192, 96
_REJECTED_A_ROW, _REJECTED_PX = 5, 220
_BETWEEN_PX = 2


def pairs_picture(store: PairStore) -> NDArray[np.uint8]:
    """Up to 8 pairs of each split, evenly spread over it, input | target with their ids."""
    source, target = _encodings(store)
    sections: dict[str, list[Captioned]] = {}
    for name in SPLITS:
        records = [record for record in store.pairs if record.split == name]
        if not records:
            continue
        shown = spread(records, _PAIRS_A_SPLIT)
        heading = f"{name}: {len(shown):,} of {len(records):,} pairs, input ({source.name}) | target ({target.name})"
        sections[heading] = [
            Captioned(_side_by_side(_shown(input_HWC, source), _shown(target_HWC, target)), record.pair_id)
            for record, (input_HWC, target_HWC) in zip(shown, read_pairs(store, shown), strict=True)
        ]
    return captioned_sheet(sections, _PAIRS_A_ROW)


def rejected_picture(shown: Mapping[str, Sequence[RejectedRecord]], counts: Mapping[str, int]) -> NDArray[np.uint8] | None:
    """Thumbnails by reason, with item and detail; None where no record has one."""
    cells = {
        reason: [Captioned(_decoded(record.thumbnail), record.item, record.detail) for record in records if record.thumbnail]
        for reason, records in shown.items()
    }
    sections = {f"{reason}: {len(some):,} of {counts[reason]:,} rejected": some for reason, some in cells.items() if some}
    return captioned_sheet(sections, _REJECTED_A_ROW, least_width_px=_REJECTED_PX) if sections else None


def read_pairs(store: PairStore, records: Sequence[PairRecord]) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """The pictures of these pairs, in their order, as (input_HWC, target_HWC). Raises `StoreError` for damaged ones."""
    splits = {name: store.split(name) for name in {record.split for record in records}}
    return [splits[record.split].read(splits[record.split].records.index(record)) for record in records]


def shrunk(pixels_HWC: NDArray[np.uint8], of: Encoding, longest_px: int) -> NDArray[np.uint8]:
    """As RGB, smaller by the least whole factor that leaves no side above `longest_px`."""
    rgb_HWC = of.to_rgb(pixels_HWC)
    factor = -(-max(rgb_HWC.shape[:2]) // longest_px)
    if of.is_palette:  # its colours are classes: between two of them lies no third
        return rgb_HWC[::factor, ::factor]
    return np.asarray(Image.fromarray(rgb_HWC).reduce(factor))


def _shown(pixels_HWC: NDArray[np.uint8], of: Encoding) -> NDArray[np.uint8]:
    """`shrunk`, or where pairs are tiny larger by a whole factor, each pixel a square."""
    small_HWC = shrunk(pixels_HWC, of, _LONGEST_PX)
    factor = max(1, _LEAST_PX // max(small_HWC.shape[:2]))
    return small_HWC.repeat(factor, axis=0).repeat(factor, axis=1)


def _side_by_side(left_HWC: NDArray[np.uint8], right_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    between = np.full((left_HWC.shape[0], _BETWEEN_PX, 3), 255, np.uint8)
    return np.concatenate([left_HWC, between, right_HWC], axis=1)


def _decoded(jpeg: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(jpeg)) as image:
        rgb = image.convert("RGB")
    rgb.thumbnail((_LONGEST_PX, _LONGEST_PX))
    return np.asarray(rgb)


def _encodings(store: PairStore) -> tuple[Encoding, Encoding]:
    return encoding(store.manifest.input_encoding), encoding(store.manifest.target_encoding)
