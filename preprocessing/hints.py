"""What may be wrong with a built dataset although nothing in it is bad: told after the build, with what to set."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from operator import attrgetter
from pathlib import Path
from statistics import median, median_low

from p2p_core.encodings import encoding
from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import PairRecord
from preprocessing.class_pictures import looks_like_classes
from preprocessing.grouping import group_of, numbered_name
from preprocessing.matching import name_without, visible_files
from preprocessing.near_duplicates import fingerprint, similarity

__all__ = ["hint_of_buffer", "hint_of_classes", "hint_of_frames", "hint_of_groups"]

_SAMPLE = 24
_MIN_NUMBERED = 8
_MORE_ALIKE = 1.3
_MUCH = 0.15
_STRETCH = 30
_LOOKED_AT = 5


def hint_of_frames(store: PairStore) -> str:
    """Whether pairs of val and test seem to be frames of clips whose other frames are in train; empty where they do not.

    They do where most of them are numbered next to a pair of train, and look clearly more like that than like any other. By the
    fingerprints' median, 24 pairs: 1.6 and 2.3 times as much in CamVid's clips; 0.99 to 1.2 times in sets that are numbered too
    but show each thing once (facades, shoes, handbags, maps).
    """
    held_out = [record for record in store.pairs if record.split != "train"]
    beside = list(_beside_train(store.pairs))
    if len(beside) < _MIN_NUMBERED or 2 * len(beside) < len(held_out):
        return ""
    train = [record for record in store.pairs if record.split == "train"]
    some = beside[:: -(-len(beside) // _SAMPLE)]
    others = [train[place * len(train) // len(some)] for place in range(len(some))]
    alike = _similarity(store, [pair for pair, _ in some], [neighbour for _, neighbour in some])
    unlike = _similarity(store, [pair for pair, _ in some], others)
    if alike < _MORE_ALIKE * unlike:
        return ""
    pair, neighbour = beside[0]
    return (
        f"{len(beside)} of {len(held_out)} pairs of val and test are numbered next to one of train and look like it"
        f" ({pair.source_id} and {neighbour.source_id}, for one): they seem to be frames of clips. --group-by prefix keeps each"
        f" clip in one split, --group-by {_stretches(store)} each stretch of so many numbers; --group-by none says that all is"
        " well"
    )


def hint_of_classes(directory: Path, ending: str, encoding_name: str, role: str) -> str:
    """Of a directory whose pictures, as far as looked at, hold class indices, and whose encoding takes them for colours."""
    own = encoding(encoding_name)
    if own.is_palette or not own.is_picture:
        return ""
    pictures = (path for path in visible_files(directory) if path.suffix.lower() == ".png")
    some = list(islice((path for path in pictures if name_without(path.relative_to(directory), ending)), _LOOKED_AT))
    signs = list(map(looks_like_classes, some))
    if not signs or not all(signs):
        return ""
    return (
        f"pictures in {directory} seem to hold class indices ({some[0].name} has {signs[0]}) and were taken for colours."
        f" --set {role}_encoding=one_hot:PALETTE reads classes, and so does `p2p build labels`"
    )


def hint_of_groups(store: PairStore, by: str) -> str:
    """Of a split by groups that left a split empty: how many groups there are, where they are few."""
    if all(store.manifest.counts[split] for split in SPLITS):
        return ""
    num_groups = len({group_of(record.source_id, by) for record in store.pairs})
    if num_groups >= _MIN_NUMBERED:
        return ""
    return f"Names tell only {num_groups} groups by {by}: stretches of numbers are more, --group-by {_stretches(store)}"


def hint_of_buffer(num_left_out: int, num_pairs: int, buffer_px: int) -> str:
    """Of a latitude split whose buffer nobody chose: how many tiles it cost, where they are many."""
    if num_left_out < _MUCH * (num_left_out + num_pairs):
        return ""
    return (
        f"{num_left_out} of {num_left_out + num_pairs} tiles lie on the lines between splits, or within {buffer_px} px, half a"
        " tile, of them, and are left out. --buffer-px sets that; 0 leaves out only those on a line, and splits then touch"
    )


def _stretches(store: PairStore) -> str:
    """Of some 30 frames or more, whatever the step of their numbers; CamVid's go by 30."""
    found = sorted(filter(None, (numbered_name(record.source_id) for record in store.pairs)))
    steps = [after - before for (prefix, before), (other, after) in pairwise(found) if prefix == other and after > before]
    frame = median_low(steps) if steps else 1
    return f"prefix:{10 ** math.ceil(math.log10(_STRETCH * frame))}"


def _beside_train(pairs: Sequence[PairRecord]) -> Iterator[tuple[PairRecord, PairRecord]]:
    """Each pair of val or test that is numbered right after or before one of train, with that one."""
    numbered = [(found, record) for record in pairs if (found := numbered_name(record.source_id))]
    ordered = sorted(numbered, key=lambda item: item[0])
    for place, ((prefix, _), record) in enumerate(ordered):
        near = [*ordered[max(0, place - 1) : place], *ordered[place + 1 : place + 2]]
        in_train = [other for (other_prefix, _), other in near if other_prefix == prefix and other.split == "train"]
        if record.split != "train" and in_train:
            yield record, in_train[0]


def _similarity(store: PairStore, some: Sequence[PairRecord], others: Sequence[PairRecord]) -> float:
    """The median of those of each two."""
    return median(similarity(_seen(store, one), _seen(store, other)) for one, other in zip(some, others, strict=True))


def _seen(store: PairStore, record: PairRecord) -> bytes:
    split = store.split(record.split)
    halves = split.read(bisect_left(split.records, record.slot, key=attrgetter("slot")))
    names = store.manifest.input_encoding, store.manifest.target_encoding
    input_HWC, target_HWC = (encoding(name).to_rgb(half_HWC) for name, half_HWC in zip(names, halves, strict=True))
    return fingerprint(input_HWC, target_HWC)
