"""What an archive translation is asked to do, and what exactly it was pinned to when it began.

`ArchiveJob` is the request. `PinnedJob` is the answer to "what made these pixels?": it is written to `OUTPUT/job.json`
before the first block and its digest is in every block's record, so a block made under another pin is seen as stale.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from p2p_core.archive.nodata import Nodata, nodata_of_output
from p2p_core.archive.plan import ArchivePlan, plan_archive
from p2p_core.config import Config
from p2p_core.encodings import encoding
from p2p_core.files import sha256_json
from p2p_core.rasters.grid import Transform

__all__ = ["ArchiveJob", "PinnedJob"]

_PROVENANCE = {"source", "bundle", "p2p_version"}  # where things lay, not what they are: no part of the identity


class ArchiveJob(Config):
    """Translate `source` with `bundle` into `output`.

    Args:
        source: any raster that `open_raster` reads.
        output: a directory for the result; empty, new, or an earlier run of the same source.
        bundle: a model bundle's directory.
        model_name, model_version: the registry's exact name and version, never an alias; None for a plain bundle.
        zoom: which zoom of an XYZ tree; needed only where it holds several.
        norm: normalisation statistics; `frozen` are the running statistics of training, the same for every pixel.
        tiling: `exact` makes blocks equal one pass over the whole scene.
        core_px, shard_px, chunk_px: see `plan_archive`.
        threads: CPU threads of one forward pass.
    """

    source: Path
    output: Path
    bundle: Path
    model_name: str | None = None
    model_version: str | None = None
    zoom: int | None = None
    norm: Literal["frozen"] = "frozen"
    tiling: Literal["exact"] = "exact"
    core_px: int = 256
    shard_px: int = 256
    chunk_px: int = 128
    device: str = "cpu"
    threads: int = Field(default=1, ge=1)


class PinnedJob(Config):
    """Everything that decides the output's bytes, and where it came from. Crosses to workers; holds no pixels."""

    schema_version: Literal[1] = 1
    p2p_version: str
    source: Path
    source_digest: str
    zoom: int | None
    height_px: int
    width_px: int
    crs: str | None
    transform: Transform | None
    nodata: Nodata | None
    bundle: Path
    bundle_digest: str
    model_name: str | None
    model_version: str | None
    input_encoding: str
    target_encoding: str
    engine: Literal["torch"] = "torch"
    engine_version: str
    dtype: Literal["float32"] = "float32"
    device: str
    threads: int
    batch: Literal[1] = 1
    norm: Literal["frozen"]
    tiling: Literal["exact"]
    lattice_px: int
    halo_px: int
    core_px: int
    window_px: int
    shard_px: int
    chunk_px: int

    @property
    def bands(self) -> int:
        """Bands of the output."""
        return encoding(self.target_encoding).bands

    @property
    def pixel_dtype(self) -> np.dtype[Any]:
        """Of the output's pixels; `dtype` is what the network computes in."""
        return encoding(self.target_encoding).dtype

    @property
    def output_nodata(self) -> Nodata | None:
        """What the output holds where the source holds `nodata`."""
        return nodata_of_output(self.nodata, self.pixel_dtype)

    @cached_property
    def digest(self) -> str:
        """The job's identity. Paths and the version of this package may change without changing it."""
        return sha256_json(self.model_dump(mode="json", exclude=_PROVENANCE))

    @property
    def plan(self) -> ArchivePlan:
        return plan_archive(
            self.height_px,
            self.width_px,
            lattice_px=self.lattice_px,
            halo_px=self.halo_px,
            core_px=self.core_px,
            shard_px=self.shard_px,
            chunk_px=self.chunk_px,
        )

    def changes_since(self, earlier: PinnedJob) -> list[str]:
        """Names of the pins that differ, in order; empty when the digests are equal."""
        return [
            name
            for name in type(self).model_fields
            if name not in _PROVENANCE and getattr(self, name) != getattr(earlier, name)
        ]
