"""Windows, tile grids, the lattice and the halo: integer arithmetic only, in pixels.

Everything here is pure. `y` grows downwards, `x` to the right; a window is half-open: [y, y + height) x [x, x + width).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["TileGrid", "Window", "align_down", "align_up", "around_all"]


def align_down(value_px: int, lattice_px: int) -> int:
    """The largest multiple of `lattice_px` that is not above `value_px`."""
    return value_px // lattice_px * lattice_px


def align_up(value_px: int, lattice_px: int) -> int:
    """The smallest multiple of `lattice_px` that is not below `value_px`."""
    return -(-value_px // lattice_px) * lattice_px


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of pixels. May reach outside a raster; `clip` cuts it back."""

    y_px: int
    x_px: int
    height_px: int
    width_px: int

    def __post_init__(self) -> None:
        if self.height_px < 0 or self.width_px < 0:
            raise ValueError(f"A window has no negative size: {self}")

    @property
    def y_end_px(self) -> int:
        return self.y_px + self.height_px

    @property
    def x_end_px(self) -> int:
        return self.x_px + self.width_px

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index an array whose first two axes are y and x. The window must not begin outside it."""
        return slice(self.y_px, self.y_end_px), slice(self.x_px, self.x_end_px)

    def grow(self, margin_px: int) -> Window:
        return Window(
            self.y_px - margin_px, self.x_px - margin_px, self.height_px + 2 * margin_px, self.width_px + 2 * margin_px
        )

    def shift(self, y_px: int, x_px: int) -> Window:
        return Window(self.y_px + y_px, self.x_px + x_px, self.height_px, self.width_px)

    def clip(self, height_px: int, width_px: int) -> Window:
        """The part inside a raster of this size; of size zero where there is none."""
        y0, y1 = min(max(self.y_px, 0), height_px), min(max(self.y_end_px, 0), height_px)
        x0, x1 = min(max(self.x_px, 0), width_px), min(max(self.x_end_px, 0), width_px)
        return Window(y0, x0, y1 - y0, x1 - x0)

    def contains(self, other: Window) -> bool:
        return (
            self.y_px <= other.y_px
            and self.x_px <= other.x_px
            and other.y_end_px <= self.y_end_px
            and other.x_end_px <= self.x_end_px
        )

    def overlaps(self, other: Window) -> bool:
        return (
            self.y_px < other.y_end_px
            and other.y_px < self.y_end_px
            and self.x_px < other.x_end_px
            and other.x_px < self.x_end_px
        )


def around_all(windows: Sequence[Window]) -> Window:
    """The smallest window that holds all of them; there is one at least."""
    y_px, x_px = min(w.y_px for w in windows), min(w.x_px for w in windows)
    return Window(y_px, x_px, max(w.y_end_px for w in windows) - y_px, max(w.x_end_px for w in windows) - x_px)


@dataclass(frozen=True)
class TileGrid:
    """Square tiles of `tile_px` every `stride_px` over a raster; only whole tiles unless `keep_partial`.

    With `keep_partial` the last row and column are cut at the raster's edge, so that with stride == tile every pixel
    is covered exactly once.
    """

    height_px: int
    width_px: int
    tile_px: int
    stride_px: int
    keep_partial: bool = False

    def __post_init__(self) -> None:
        if min(self.height_px, self.width_px, self.tile_px, self.stride_px) < 1:
            raise ValueError(f"Sizes of a tile grid are at least 1 px: {self}")

    @property
    def num_rows(self) -> int:
        return self._count(self.height_px)

    @property
    def num_columns(self) -> int:
        return self._count(self.width_px)

    def __len__(self) -> int:
        return self.num_rows * self.num_columns

    def _count(self, size_px: int) -> int:
        if self.keep_partial:
            return -(-size_px // self.stride_px)
        return max(0, (size_px - self.tile_px) // self.stride_px + 1)

    def window(self, row: int, column: int) -> Window:
        window = Window(row * self.stride_px, column * self.stride_px, self.tile_px, self.tile_px)
        return window.clip(self.height_px, self.width_px) if self.keep_partial else window

    def __iter__(self) -> Iterator[Window]:
        """Row by row, from the top left."""
        for row in range(self.num_rows):
            for column in range(self.num_columns):
                yield self.window(row, column)
