"""What a process keeps between blocks: the open source and the loaded model of one job.

Loading a model takes seconds and a block takes seconds, so each process does it once. The cache holds one job; another
job takes its place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from p2p_core.archive.job import PinnedJob
from p2p_core.archive.nodata import has_mask, hidden_pixels, mark_nodata, show_mask
from p2p_core.archive.plan import mirrored_window
from p2p_core.errors import BundleError
from p2p_core.geometry import Window
from p2p_core.inference.bundle import load_bundle
from p2p_core.inference.translator import Translator
from p2p_core.rasters.registry import open_raster

__all__ = ["Workbench", "close_workbench", "open_workbench"]


class Workbench:
    """The source and the model of one pinned job.

    Raises:
        RasterError: the source cannot be opened.
        BundleError: the bundle is damaged, or no longer the one that was pinned.
    """

    def __init__(self, job: PinnedJob) -> None:
        bundle = load_bundle(job.bundle)
        if bundle.digest != job.bundle_digest:
            raise BundleError(
                f"The bundle {job.bundle} has changed since the run began",
                remedy="Run again: all blocks will be redone with it",
            )
        self.job = job
        self._raster = open_raster(job.source, zoom=job.zoom)
        self._source = bundle.input_encoding
        self._threads_before = torch.get_num_threads()
        self._translator = Translator(bundle, norm=job.norm, device=job.device, threads=job.threads)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[Any]]:
        """The pixels of `window`, mirrored outside the scene, and those that were read for it; both HWC.

        Raises:
            RasterError: the source is damaged there.
        """
        mirrored = mirrored_window(window, self.job.height_px, self.job.width_px)
        pixels_HWC, measured_HW = self._raster.read_measured(mirrored.source)
        if self.job.nodata is not None and has_mask(self._raster):
            show_mask(pixels_HWC, measured_HW, self.job.nodata)
        return mirrored.take(pixels_HWC), pixels_HWC

    def forward(self, window_HWC: NDArray[Any]) -> NDArray[Any]:
        """One forward pass: a core with its halo on each side, as `read` gives them -> the translated core."""
        halo_px = self.job.plan.halo_px
        height_px, width_px = window_HWC.shape[:2]
        seen_HWC = self._source.of_raster(window_HWC, ~hidden_pixels(window_HWC, self.job.nodata))
        generated_NHWC = self._translator.translate(seen_HWC[np.newaxis])
        return generated_NHWC[0, halo_px : height_px - halo_px, halo_px : width_px - halo_px]

    def translate(self, core: Window) -> NDArray[Any]:
        """The translated pixels of one core, cut at the scene's edge. Raises as `read`."""
        halo_px = self.job.plan.halo_px
        kept = core.clip(self.job.height_px, self.job.width_px).shift(-core.y_px, -core.x_px)
        window_HWC, _ = self.read(core.grow(halo_px))
        generated_HWC = np.ascontiguousarray(self.forward(window_HWC)[kept.slices])
        self.mark_nodata(generated_HWC, window_HWC[kept.shift(halo_px, halo_px).slices])
        return generated_HWC

    def mark_nodata(self, generated_HWC: NDArray[Any], source_HWC: NDArray[Any]) -> None:
        """Carry the nodata of the same pixels of the source over, in place."""
        if self.job.output_nodata is not None:
            mark_nodata(generated_HWC, hidden_pixels(source_HWC, self.job.nodata), self.job.output_nodata)

    def close(self) -> None:
        self._raster.close()
        torch.set_num_threads(self._threads_before)


_OPEN: list[Workbench] = []


def open_workbench(job: PinnedJob) -> Workbench:
    """This process's workbench for `job`: the one it has, or a new one in place of another job's."""
    if not _OPEN or _OPEN[0].job.digest != job.digest or _OPEN[0].job != job:
        close_workbench()
        _OPEN.append(Workbench(job))
    return _OPEN[0]


def close_workbench() -> None:
    """Let go of the source's file and the model's memory, and give the process its threads back."""
    while _OPEN:
        _OPEN.pop().close()
