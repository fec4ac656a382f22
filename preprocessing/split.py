"""Which split a pair belongs to, as a function of its name or its place, never of the order or number of workers."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from p2p_core.config import Config
from p2p_core.files import stable_hash
from p2p_core.geometry import Window
from p2p_core.pairstore.layout import SPLITS
from preprocessing.name_split import (
    DirectorySplit,
    Fractions,
    GroupSplit,
    NameSplit,
    SourceSplit,
    Splittable,
    directory_split,
    split_order,
)
from preprocessing.pairs import Rejected

__all__ = [
    "BlockSplit",
    "DirectorySplit",
    "Fractions",
    "GroupSplit",
    "LatitudeSplit",
    "NameSplit",
    "SourceSplit",
    "SplitRule",
    "Splittable",
    "directory_split",
    "split_order",
]


class _ByPlace(Config):
    """A near duplicate cannot move to where its ground is not: it stays, unless near duplicates are to be rejected."""

    near_duplicates: Literal["reject", "keep"] = "keep"
    min_similarity: float = Field(default=0.8, gt=0, le=1)


class BlockSplit(_ByPlace):
    """By geographic block: whole blocks go to a split, and ground near another split's block goes to none.

    A tile belongs to split s if every block it touches, after growing by `buffer_px` on each side, belongs to s. Two tiles
    of different splits are therefore at least 2 * buffer_px apart, and a tile is at least buffer_px from reserved ground
    (`gaps.smallest_gap_px` proves it from a table of pairs).

    Attributes:
        area: the ground that is split, in the target raster's pixels. Blocks begin at its top left corner.
        block_px: side of a block.
        reserved: ground that no tile of any split may touch, in the same pixels.
        wraps: the area goes round the globe: its right edge is the neighbour of its left edge.
        ground: the parts of the area that hold tiles, so that only blocks within `buffer_px` of one take part. All do unless
            given.
    """

    kind: Literal["block"] = "block"
    area: Window
    block_px: int = Field(ge=1)
    buffer_px: int = Field(default=0, ge=0)
    fractions: Fractions = Fractions()
    seed: int = 0
    reserved: tuple[Window, ...] = ()
    wraps: bool = False
    ground: tuple[Window, ...] = ()

    def assign(self, item: Splittable) -> str | Rejected:
        return _by_place(self, item)

    def split_of(self, window: Window) -> str:
        """The split of a tile at `window`, or the reason why it has none: outside, reserved or buffer."""
        if not self.area.contains(window) or (self.ground and not any(part.contains(window) for part in self.ground)):
            return "outside"
        grown = window.grow(self.buffer_px)
        if any(part.overlaps(reserved) for part in self._turns(grown) for reserved in self.reserved):
            return "reserved"
        splits = {self.block_splits[block] for block in self.blocks(grown) if block in self.block_splits}
        return splits.pop() if len(splits) == 1 else "buffer"

    @property
    def block_splits(self) -> dict[tuple[int, int], str]:
        """(row, column) -> split. Blocks are sorted by hash and cut by the fractions, so the shares hold for few blocks too.

        Blocks that lie in reserved ground altogether take no part: they would use up a split's share for nothing.
        """
        return _share_out(self)

    def block_window(self, row: int, column: int) -> Window:
        """A block's ground in the target raster's pixels; cut at the area's edge."""
        block = Window(row * self.block_px, column * self.block_px, self.block_px, self.block_px)
        return block.clip(self.area.height_px, self.area.width_px).shift(self.area.y_px, self.area.x_px)

    def _turns(self, window: Window) -> tuple[Window, ...]:
        """The window, and where it also lies when the area goes round the globe."""
        width_px = self.area.width_px
        return (window, window.shift(0, width_px), window.shift(0, -width_px)) if self.wraps else (window,)

    def blocks(self, window: Window) -> set[tuple[int, int]]:
        """The blocks a window touches."""
        touched = set()
        for turn in self._turns(window):
            part = turn.shift(-self.area.y_px, -self.area.x_px).clip(self.area.height_px, self.area.width_px)
            rows = range(part.y_px // self.block_px, -(-part.y_end_px // self.block_px))
            columns = range(part.x_px // self.block_px, -(-part.x_end_px // self.block_px))
            touched |= {(row, column) for row in rows for column in columns if part.height_px and part.width_px}
        return touched


@lru_cache(maxsize=8)
def _share_out(rule: BlockSplit) -> dict[tuple[int, int], str]:
    # Kept outside the rule: a copy with another seed must not bring the old blocks along.
    rows, columns = (-(-size // rule.block_px) for size in (rule.area.height_px, rule.area.width_px))
    touched = {block for part in rule.ground for block in rule.blocks(part.grow(rule.buffer_px))}
    blocks = sorted(touched) if rule.ground else list(product(range(rows), range(columns)))
    lost = [reserved.grow(rule.buffer_px) for reserved in rule.reserved]
    free = [block for block in blocks if not any(ground.contains(rule.block_window(*block)) for ground in lost)]
    ordered = sorted(free, key=lambda block: stable_hash(f"{rule.seed}:{block[0]}:{block[1]}"))
    return {block: rule.fractions.at((i + 0.5) / len(ordered)) for i, block in enumerate(ordered)}


class LatitudeSplit(_ByPlace):
    """By latitude, as the paper split its maps: train, val and test one after the other from north to south.

    A pixel's southing is `x * southward[0] + y * southward[1]`. A tile belongs to a split if it lies between the split's
    lines and at least `buffer_px` of southing from each; on a line it belongs to none. Two tiles of different splits are
    therefore at least 2 * buffer_px apart (`gaps.smallest_gap_px` proves it). `latitude.latitude_split` lays the lines.

    Attributes:
        southward: how far south one pixel along x and along y leads: (0, 1) for a north-up target. See `rasters.north`.
        val_from_px, test_from_px: the southings of the lines that val and test begin at.
        reserved: ground that no tile of any split may touch or come nearer to than `buffer_px`, in the target's pixels.
    """

    kind: Literal["latitude"] = "latitude"
    southward: tuple[float, float]
    val_from_px: float
    test_from_px: float
    buffer_px: int = Field(default=0, ge=0)
    reserved: tuple[Window, ...] = ()

    @model_validator(mode="after")
    def _lines_in_order(self) -> Self:
        if abs(sum(map(abs, self.southward)) - 1) > 1e-6:
            raise ValueError(f"the absolute values of southward {self.southward} add up to 1")
        if self.val_from_px > self.test_from_px:
            raise ValueError("val begins north of test, or where test begins")
        return self

    def assign(self, item: Splittable) -> str | Rejected:
        return _by_place(self, item)

    def split_of(self, window: Window) -> str:
        """The split of a tile at `window`, or the reason why it has none: reserved or buffer."""
        if self.reserves(window):
            return "reserved"
        first_px, last_px = self.span_px(window)
        north_px, south_px = first_px - self.buffer_px, last_px + self.buffer_px
        if south_px <= self.val_from_px:
            return "train"
        if self.val_from_px <= north_px and south_px <= self.test_from_px:
            return "val"
        return "test" if self.test_from_px <= north_px else "buffer"

    def reserves(self, window: Window) -> bool:
        grown = window.grow(self.buffer_px)
        return any(grown.overlaps(reserved) for reserved in self.reserved)

    def span_px(self, window: Window) -> tuple[float, float]:
        """The southings of a tile's northernmost and southernmost corner."""
        x, y = self.southward
        southings = [x * x_px + y * y_px for x_px in (window.x_px, window.x_end_px) for y_px in (window.y_px, window.y_end_px)]
        return min(southings), max(southings)


def _details(rule: BlockSplit | LatitudeSplit) -> dict[str, str]:
    """By the reason why a tile is in no split."""
    buffer_px = rule.buffer_px
    line, blocks = "It lies on the line between two splits", "It lies on blocks of more than one split"
    if buffer_px:
        line, blocks = (
            f"{line}, or within {buffer_px} px of it",
            f"Within {buffer_px} px of it lie blocks of more than one split",
        )
    return {
        "outside": "It reaches outside the area that is split",
        "reserved": f"It lies within {buffer_px} px of reserved ground" if buffer_px else "It lies on reserved ground",
        "buffer": blocks if isinstance(rule, BlockSplit) else line,
    }


def _by_place(rule: BlockSplit | LatitudeSplit, item: Splittable) -> str | Rejected:
    if item.window is None:
        return Rejected(item.source_id, item.pair_id, "no_place", f"A split by {rule.kind} needs tiles that have a place")
    split = rule.split_of(item.window)
    if split in SPLITS:
        return split
    return Rejected(item.source_id, item.pair_id, split, _details(rule)[split], item.window)


SplitRule = Annotated[
    NameSplit | SourceSplit | GroupSplit | DirectorySplit | BlockSplit | LatitudeSplit, Field(discriminator="kind")
]
