"""The seam check as a picture: where the blocks of an output meet, a close look at such a corner, and the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import EmptySourceError
from p2p_core.geometry import TileGrid, Window
from p2p_core.rasters.protocol import Raster
from p2p_core.report.pictures import Picture, as_rgb, open_part, picture, preview
from p2p_core.report.records import Record, read_record

__all__ = ["SeamCheck", "SeamPart", "seam_checks"]

OVERVIEW_PX = 900
CLOSE_UP_PX = 128
ENLARGE = 4
MAX_CORNERS = 64
MAX_RATIO, MAX_DIFFERENCE = 1.1, 1
"""No seam shows while steps across borders are at most this much larger than beside them, and a second translation
across the borders differs by at most this many grey levels."""

OUTPUTS = (("scene", "As one scene", "scene.tif"), ("xyz", "As map tiles", "xyz-tiles"))


class SeamCheck(Record):
    """`seams.json` of an archive output: `p2p_core.archive.seams.SeamCheck`."""

    border_step: float
    beside_step: float
    ratio: float
    num_borders: int
    num_windows: int
    max_difference: int

    @property
    def passed(self) -> bool:
        return self.ratio <= MAX_RATIO and self.max_difference <= MAX_DIFFERENCE


class Job(Record):
    """`job.json` of an archive output: how the scene was cut."""

    height_px: int
    width_px: int
    core_px: int
    shard_px: int
    halo_px: int

    @property
    def blocks(self) -> TileGrid:
        return TileGrid(self.height_px, self.width_px, self.shard_px, self.shard_px, keep_partial=True)


@dataclass(frozen=True)
class SeamPart:
    """One output. The close-up shows `CLOSE_UP_PX` around the corner of four blocks that has the most detail."""

    title: str
    check: SeamCheck
    job: Job
    overview: Picture
    borders: str
    close_up: Picture | None


def seam_checks(directory: Path) -> tuple[SeamPart, ...]:
    """The outputs that were checked. Raises `EmptySourceError` where none was."""
    checked = [part for part in OUTPUTS if (directory / part[0] / "seams.json").exists()]
    if not checked:
        raise EmptySourceError(
            f"{directory / 'scene' / 'seams.json'} is absent",
            remedy="Run `p2p demo` again; it checks the seams of what it made",
        )
    return tuple(_part(directory, *part) for part in checked)


def _part(directory: Path, name: str, title: str, export: str) -> SeamPart:
    check = read_record(SeamCheck, directory / name / "seams.json")
    job = read_record(Job, directory / name / "job.json")
    with open_part(directory / export) as raster:
        overview = picture(
            preview(raster, OVERVIEW_PX), f"The translated region, {title.lower()}, with the borders of its blocks"
        )
        corner = _most_detailed(raster, job)
    close_up = (
        None if corner is None else picture(enlarge(corner), f"The corner where four blocks meet, {ENLARGE} times enlarged")
    )
    return SeamPart(title, check, job, overview, borders_path(job), close_up)


def borders_path(job: Job) -> str:
    """Lines between blocks as an SVG path in pixels of the scene."""
    rows = (f"M0 {y_px}H{job.width_px}" for y_px in range(job.shard_px, job.height_px, job.shard_px))
    columns = (f"M{x_px} 0V{job.height_px}" for x_px in range(job.shard_px, job.width_px, job.shard_px))
    return "".join((*rows, *columns))


def corners(job: Job) -> Iterator[Window]:
    """Windows of `CLOSE_UP_PX` around places where four blocks meet, at most `MAX_CORNERS` spread over the scene."""
    half_px = CLOSE_UP_PX // 2
    grid = job.blocks
    found = [
        Window(row * job.shard_px - half_px, column * job.shard_px - half_px, CLOSE_UP_PX, CLOSE_UP_PX)
        for row in range(1, grid.num_rows)
        for column in range(1, grid.num_columns)
    ]
    whole = [window for window in found if window.clip(job.height_px, job.width_px) == window]
    yield from whole[:: -(-len(whole) // MAX_CORNERS) or 1]


def _most_detailed(raster: Raster, job: Job) -> NDArray[np.uint8] | None:
    """Pixels of the corner with the largest mean step: where a seam would have the most to disturb. None without corners."""
    best, best_detail = None, -1.0
    for window in corners(job):
        pixels_HWC = as_rgb(raster.read(window))
        detail = float(np.abs(np.diff(pixels_HWC.astype(np.int16), axis=1)).mean())
        if detail > best_detail:
            best, best_detail = pixels_HWC, detail
    return best


def enlarge(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every pixel `ENLARGE` x `ENLARGE` times."""
    return pixels_HWC.repeat(ENLARGE, axis=0).repeat(ENLARGE, axis=1)
