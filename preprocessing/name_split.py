"""Splits that go by names: a pair's, its source's, that of a group of sources, or the directory they lie in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, Self

from pydantic import Field, field_validator, model_validator

from p2p_core.config import Config
from p2p_core.files import stable_hash
from p2p_core.geometry import Window
from p2p_core.pairstore.layout import SPLITS
from preprocessing.grouping import group_of, require_grouping
from preprocessing.near_duplicates import Policy
from preprocessing.pairs import Rejected

__all__ = [
    "DirectorySplit",
    "Fractions",
    "GroupSplit",
    "NameSplit",
    "SourceSplit",
    "Splittable",
    "directory_split",
    "split_order",
]

_HASH_RANGE = 2**64


class Splittable(Protocol):
    """What a rule looks at; `Pair` and `PairRecord` have it."""

    @property
    def pair_id(self) -> str: ...
    @property
    def source_id(self) -> str: ...
    @property
    def window(self) -> Window | None: ...
    @property
    def attributes(self) -> Mapping[str, str]: ...


class Fractions(Config):
    """The shares of the splits; they add up to 1."""

    train: float = Field(default=0.8, ge=0, le=1)
    val: float = Field(default=0.1, ge=0, le=1)
    test: float = Field(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"the shares add up to {self.train + self.val + self.test:g}, not to 1")
        return self

    def at(self, place: float) -> str:
        """The split at `place` in 0..1, when train, val and test lie one after the other."""
        return "train" if place < self.train else "val" if place < self.train + self.val else "test"


class _Groundless(Config):
    """`near_duplicates` in several splits `move` to one, are rejected, or `keep` theirs (`near_duplicates.settlements`)."""

    near_duplicates: Policy = "move"
    min_similarity: float = Field(default=0.8, gt=0, le=1)


class NameSplit(_Groundless):
    """By a hash of the pair's id: a picture keeps its split whatever else comes or goes. Shares hold on average."""

    kind: Literal["name"] = "name"
    fractions: Fractions = Fractions()
    seed: int = 0

    def assign(self, item: Splittable) -> str | Rejected:
        return self.fractions.at(stable_hash(f"{self.seed}:{item.pair_id}") / _HASH_RANGE)


class SourceSplit(_Groundless):
    """By a hash of the source's id: all pairs of a clip go to one split, for its frames are nearly one picture.

    A clip keeps its split whatever else comes or goes. Shares are of clips, and hold on average: a few clips may miss a split.
    Clips of one camera share its view, so near duplicates stay unless asked: moving them could empty a split.
    """

    near_duplicates: Policy = "keep"
    kind: Literal["source"] = "source"
    fractions: Fractions = Fractions()
    seed: int = 0

    def assign(self, item: Splittable) -> str | Rejected:
        return self.fractions.at(stable_hash(f"{self.seed}:{item.source_id}") / _HASH_RANGE)


class GroupSplit(_Groundless):
    """By a hash of the group that the name of a pair's source tells (`grouping`): frames of one clip go to one split.

    A group keeps its split whatever else comes or goes. Shares are of groups, and hold on average. Near duplicates stay
    unless asked, as in a split by source; those that move take their whole group along.
    """

    near_duplicates: Policy = "keep"
    kind: Literal["group"] = "group"
    by: str
    fractions: Fractions = Fractions()
    seed: int = 0

    @field_validator("by")
    @classmethod
    def _known(cls, by: str) -> str:
        require_grouping(by)
        return by

    def assign(self, item: Splittable) -> str | Rejected:
        group = group_of(item.source_id, self.by)
        if group is None:
            return Rejected(item.source_id, item.pair_id, "no_group", f"Its name tells no group by {self.by!r}")
        return self.fractions.at(stable_hash(f"{self.seed}:{group}") / _HASH_RANGE)


class DirectorySplit(_Groundless):
    """As the sources lie: in directories called train, val and test."""

    kind: Literal["directory"] = "directory"

    def assign(self, item: Splittable) -> str | Rejected:
        split = item.attributes.get("split")
        if split in SPLITS:
            return split
        return Rejected(item.source_id, item.pair_id, "no_split", f"It lies in none of the directories {', '.join(SPLITS)}")


def directory_split(name: str) -> str | None:
    """The split whose directory a source of this name lies in, if it does."""
    top, slash, _ = name.partition("/")
    return top if slash and top in SPLITS else None


def split_order(name: str) -> int:
    """Of two sources with the same bytes the one in train stays, then val, then test."""
    split = directory_split(name)
    return SPLITS.index(split) if split else len(SPLITS)
