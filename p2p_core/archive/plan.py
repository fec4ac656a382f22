"""How a scene is cut: blocks that are whole shards of the output, cores that tile a block, windows that feed the network.

Everything here is pure integer arithmetic: the same arguments give the same plan on every machine.

    scene    |----------------------------------------|            height_px x width_px
    blocks   |-----shard_px-----|-----shard_px-----|--...           one task, one output shard each
    cores    |-core_px-|-core_px-|-core_px-|-core_px-|-...          what is kept of one forward pass
    window  |-halo-|-core_px-|-halo-|                               what one forward pass sees; one shape per run

Window origins lie on the model's lattice (a U-Net of depth n: 2^n px) and the halo covers its receptive field, so a core
equals the same pixels of one pass over the whole scene. Outside the scene the source is mirrored without repeating the
border pixel (numpy's `reflect`), as often as the halo needs; a scene of one pixel is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import PlanError
from p2p_core.geometry import TileGrid, Window, align_up

__all__ = ["ArchivePlan", "Block", "MirroredWindow", "mirror_indices", "mirrored_window", "plan_archive"]


@dataclass(frozen=True, order=True)
class Block:
    """One output shard: its place in the shard grid and its pixels, cut at the scene's edge."""

    row: int
    column: int
    window: Window

    @property
    def key(self) -> str:
        """Names the block's record: `<row>_<column>`."""
        return f"{self.row}_{self.column}"

    def __str__(self) -> str:
        w = self.window
        return f"block {self.key} (rows {w.y_px}-{w.y_end_px}, columns {w.x_px}-{w.x_end_px})"


@dataclass(frozen=True)
class ArchivePlan:
    """Blocks, cores and windows of one scene. Made by `plan_archive`, which checks that everything is aligned."""

    height_px: int
    width_px: int
    lattice_px: int
    halo_px: int
    core_px: int
    shard_px: int
    chunk_px: int

    @property
    def grid(self) -> TileGrid:
        return TileGrid(self.height_px, self.width_px, self.shard_px, self.shard_px, keep_partial=True)

    @property
    def window_px(self) -> int:
        """Side of every forward pass of the run: the core and the halo on both sides."""
        return self.core_px + 2 * self.halo_px

    def __len__(self) -> int:
        return len(self.grid)

    def block(self, row: int, column: int) -> Block:
        return Block(row, column, self.grid.window(row, column))

    def blocks(self) -> Iterator[Block]:
        """Every block, row by row from the top left."""
        grid = self.grid
        for row in range(grid.num_rows):
            for column in range(grid.num_columns):
                yield self.block(row, column)

    def cores(self, block: Block) -> Iterator[Window]:
        """The block's cores, each `core_px` square; the last may reach beyond the scene and is cut when stored."""
        area = block.window
        for y_px in range(area.y_px, area.y_end_px, self.core_px):
            for x_px in range(area.x_px, area.x_end_px, self.core_px):
                yield Window(y_px, x_px, self.core_px, self.core_px)

    def window(self, core: Window) -> Window:
        """What the network sees to produce `core`: may reach outside the scene, where it is mirrored."""
        return core.grow(self.halo_px)

    @property
    def num_windows(self) -> int:
        """Forward passes of a full run."""
        return -(-self.height_px // self.core_px) * -(-self.width_px // self.core_px)

    @property
    def overhead(self) -> float:
        """Pixels computed per pixel kept: what context and the scene's ragged edge cost. At least 1."""
        return self.num_windows * self.window_px**2 / (self.height_px * self.width_px)


def plan_archive(
    height_px: int,
    width_px: int,
    *,
    lattice_px: int,
    halo_px: int,
    core_px: int = 256,
    shard_px: int = 256,
    chunk_px: int = 128,
) -> ArchivePlan:
    """Cut a scene for a model.

    Args:
        lattice_px: the model's lattice; window origins are multiples of it.
        halo_px: context that the model needs on each side; rounded up to the lattice.
        core_px: pixels kept of each forward pass. The output's bytes depend on it (through the shape of the forward
            pass, by at most a grey level), never on `shard_px`.
        shard_px: side of an output shard, the unit of work.
        chunk_px: side of the chunks inside a shard, the unit of reading.

    Raises:
        PlanError: the scene is empty, or a size is not a multiple of the one it is built from.
    """
    sizes = {"lattice_px": lattice_px, "core_px": core_px, "shard_px": shard_px, "chunk_px": chunk_px}
    if height_px < 1 or width_px < 1:
        raise PlanError(f"A scene of {width_px} x {height_px} px has no pixels", remedy="Give a source with at least one pixel")
    for name, size_px in sizes.items():
        if size_px < 1:
            raise PlanError(f"{name}={size_px} is no size", remedy=f"Give {name} at least 1 px")
    if halo_px < 0:
        raise PlanError(f"halo_px={halo_px} is negative", remedy="Give the halo at least 0 px")
    _check_multiple("core_px", core_px, "lattice_px", lattice_px, remedy=f"core_px={align_up(core_px, lattice_px)}")
    _check_multiple("shard_px", shard_px, "core_px", core_px, remedy=f"shard_px={align_up(shard_px, core_px)}")
    _check_multiple("shard_px", shard_px, "chunk_px", chunk_px, remedy=f"chunk_px={gcd(shard_px, chunk_px)}")
    return ArchivePlan(height_px, width_px, lattice_px, align_up(halo_px, lattice_px), core_px, shard_px, chunk_px)


def _check_multiple(name: str, size_px: int, unit_name: str, unit_px: int, *, remedy: str) -> None:
    if size_px % unit_px:
        raise PlanError(f"{name}={size_px} is not a multiple of {unit_name}={unit_px}", remedy=f"Use {remedy}")


def mirror_indices(start_px: int, stop_px: int, size_px: int) -> NDArray[np.intp]:
    """Indices into an axis of `size_px` pixels for the positions `start_px..stop_px`, mirrored outside it.

    The same as `np.pad(..., mode="reflect")`: the border pixel is not repeated, and a mirror image is mirrored again
    when the reach exceeds the size.
    """
    if size_px == 1:
        return np.zeros(stop_px - start_px, dtype=np.intp)
    period_px = 2 * (size_px - 1)
    folded = np.arange(start_px, stop_px, dtype=np.intp) % period_px
    return np.minimum(folded, period_px - folded)


@dataclass(frozen=True)
class MirroredWindow:
    """How to fill a window that reaches outside the scene: read `source`, then take `rows` and `columns` of it."""

    source: Window
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]

    def take(self, pixels_HWC: NDArray[Any]) -> NDArray[Any]:
        """Pixels of `source` -> pixels of the whole window."""
        return np.ascontiguousarray(pixels_HWC[self.rows[:, None], self.columns[None, :]])


def mirrored_window(window: Window, height_px: int, width_px: int) -> MirroredWindow:
    """The part of the scene that fills `window`, and how to mirror it there."""
    rows = mirror_indices(window.y_px, window.y_end_px, height_px)
    columns = mirror_indices(window.x_px, window.x_end_px, width_px)
    y_px, x_px = int(rows.min()), int(columns.min())
    source = Window(y_px, x_px, int(rows.max()) - y_px + 1, int(columns.max()) - x_px + 1)
    return MirroredWindow(source, rows - y_px, columns - x_px)
