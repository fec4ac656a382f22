"""The output's directory and its image: a Zarr v3 array that is only ever written by whole shards.

    OUTPUT/job.json                            what was pinned when the run began
    OUTPUT/image.zarr                          (height, width, bands); a shard a block; CRS and transform as attributes
    OUTPUT/ledger/blocks/<row>_<column>.json   a committed block; see `ledger.py`
    OUTPUT/ledger/failed/<row>_<column>.json   a block that cannot be translated, and why
    OUTPUT/ledger/run.json                     when the latest run began
    OUTPUT/summary.json                        written last
    OUTPUT/.lock                               held by the one run that writes

Concurrent writers that share a shard lose each other's data, so a write that is not exactly one block is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from p2p_core.archive.job import PinnedJob
from p2p_core.archive.plan import Block
from p2p_core.errors import LedgerError, OutputError, PlanError
from p2p_core.files import locked, output_errors, write_json
from p2p_core.geometry import Window

__all__ = ["OutputStore", "read_json"]

_LOCK = ".lock"
_PARTIAL = ".partial"  # how zarr and `write_atomic` end the name of a file that is not whole yet
_ZSTD_LEVEL = 1
_CODE = re.compile(r"\w+:\w+")  # an authority's code, as EPSG:4326; WKT has brackets

# Readers find CRS and transform through this list: https://github.com/zarr-conventions/geo-proj and .../spatial
_CONVENTIONS = [
    {
        "name": "proj:",
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "spec_url": "https://github.com/zarr-conventions/geo-proj/blob/v1/README.md",
    },
    {
        "name": "spatial:",
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
    },
]


def read_json(path: Path) -> Any | None:
    """A JSON file's value; None if there is no such file. Raises `LedgerError` for one that is damaged."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise LedgerError(
            f"{path} cannot be read: {error}", remedy="Delete it and run again; what it said is redone"
        ) from error


@dataclass(frozen=True)
class OutputStore:
    """Where things lie in an output directory, and how its image is made, written and read."""

    root: Path

    @property
    def job_path(self) -> Path:
        return self.root / "job.json"

    @property
    def image_path(self) -> Path:
        return self.root / "image.zarr"

    @property
    def ledger_path(self) -> Path:
        return self.root / "ledger"

    @property
    def summary_path(self) -> Path:
        return self.root / "summary.json"

    def shard_path(self, block: Block) -> Path:
        """The file that zarr stores the block in (default chunk keys, one shard over all bands)."""
        return self.image_path / "c" / str(block.row) / str(block.column) / "0"

    def read_job(self) -> PinnedJob:
        """Raises `LedgerError` where there is no output, or its job is damaged."""
        values = read_json(self.job_path)
        if values is None:
            raise LedgerError(
                f"{self.root} is no archive output: it has no job.json", remedy="Give a directory that `p2p translate` made"
            )
        return PinnedJob.parse(values, where=str(self.job_path), error=LedgerError)

    @contextmanager
    def sole_use(self) -> Iterator[None]:
        """Hold the output for one run, which the operating system lets go of however the process ends.

        Raises:
            OutputError: another run is at it, the place cannot be written, or it holds something else.
        """
        if not self.job_path.exists():
            self._refuse_what_is_not_ours()
        with output_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        busy = OutputError(
            f"Another translation into {self.root} is under way",
            remedy="Watch it with `p2p status` until it is done, or choose another output",
        )
        with locked(self.root / _LOCK, busy=busy):
            yield

    def prepare(self, job: PinnedJob) -> list[str]:
        """Create the output for `job`, or take up an earlier run's.

        An output of another pin is emptied: all its blocks are stale. Returns the names of the pins that changed.

        Raises:
            OutputError: the place cannot be written, or holds something else.
            LedgerError: the output belongs to another source, or its job is damaged.
        """
        changes: list[str] = []
        if self.job_path.exists():
            earlier = self.read_job()
            changes = job.changes_since(earlier)
            if "source_digest" in changes and job.source != earlier.source:
                raise LedgerError(
                    f"{self.root} belongs to another job, the translation of {earlier.source}",
                    remedy="Choose another output, or delete this one",
                )
        else:
            self._refuse_what_is_not_ours()
        with output_errors(self.summary_path):
            self.summary_path.unlink(missing_ok=True)
        if changes:
            _remove_tree(self.ledger_path)
        write_json(self.job_path, job.model_dump(mode="json"))
        self._sweep_partial_files()
        if not self.image_belongs_to(job):
            self._create_image(job)
        return changes

    def _refuse_what_is_not_ours(self) -> None:
        with output_errors(self.root):
            names = [path.name for path in self.root.iterdir()] if self.root.exists() else []
        if foreign := [name for name in names if name != _LOCK and not name.endswith(_PARTIAL)]:
            raise OutputError(
                f"{self.root} holds something else ({foreign[0]}), not an archive output",
                remedy="Choose a new or empty directory",
            )

    def _sweep_partial_files(self) -> None:
        """Remove what processes that were killed left half-written."""
        with output_errors(self.root):
            for path in list(self.root.rglob(f"*{_PARTIAL}")):
                path.unlink(missing_ok=True)

    def image_belongs_to(self, job: PinnedJob) -> bool:
        try:
            attributes = json.loads((self.image_path / "zarr.json").read_bytes())["attributes"]
        except (OSError, ValueError, KeyError, TypeError):  # TypeError: JSON of another shape
            return False
        return bool(attributes == _attributes(job))

    def _create_image(self, job: PinnedJob) -> None:
        _remove_tree(self.image_path)
        with output_errors(self.image_path):
            zarr.create_array(
                self.image_path,
                shape=(job.height_px, job.width_px, job.bands),
                dtype=job.pixel_dtype,
                chunks=(job.chunk_px, job.chunk_px, job.bands),
                shards=(job.shard_px, job.shard_px, job.bands),
                compressors=ZstdCodec(level=_ZSTD_LEVEL),
                fill_value=0,
                dimension_names=("y", "x", "band"),
                attributes=_attributes(job),
            )

    def write_block(self, block: Block, pixels_HWC: NDArray[Any]) -> Path:
        """Write one whole shard, flushed to disk, and return its file.

        Raises:
            PlanError: the pixels are not exactly the block's.
            OutputError: the place is read-only or full.
        """
        size = (block.window.height_px, block.window.width_px)
        if pixels_HWC.shape[:2] != size:
            raise PlanError(f"{pixels_HWC.shape} pixels are not the whole of {block}", remedy="Write whole blocks only")
        path = self.shard_path(block)
        with output_errors(path):
            path.unlink(missing_ok=True)  # zarr would merge with the old shard, and fail if that one is damaged
            self._array("r+")[block.window.slices] = pixels_HWC
            with path.open("rb") as file:
                os.fsync(file.fileno())
        return path

    def read(self, window: Window) -> NDArray[Any]:
        """(height, width, bands) of the image; blocks not yet written are 0. The window lies inside.

        Raises:
            LedgerError: a shard is damaged. (Only `verify_output` sees every damage.)
        """
        try:
            pixels: NDArray[Any] = np.asarray(self._array("r")[window.slices])
        except (OSError, ValueError) as error:  # ValueError: zarr's word for a shard whose index does not add up
            raise LedgerError(
                f"{self.image_path} cannot be read at {window}: {error}",
                remedy="Run `p2p verify` to name the damaged blocks, then translate again",
            ) from error
        return pixels

    def _array(self, mode: str) -> Any:
        # An all-zero shard is a file too: its presence and hash are what the ledger is about.
        return zarr.open_array(self.image_path, mode=mode).with_config({"write_empty_chunks": True})


def _remove_tree(path: Path) -> None:
    with output_errors(path):
        if path.exists():
            shutil.rmtree(path)


def _attributes(job: PinnedJob) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "spatial:dimensions": ["y", "x"],
        "p2p": {
            "synthetic": True,
            "job_digest": job.digest,
            "model_name": job.model_name,
            "model_version": job.model_version,
            "bundle_digest": job.bundle_digest,
        },
    }
    if job.crs is not None:
        attributes["proj:code" if _CODE.fullmatch(job.crs) else "proj:wkt2"] = job.crs
    if job.transform is not None:
        attributes["spatial:transform"] = list(job.transform)
    if job.output_nodata is not None:
        attributes["nodata"] = job.output_nodata
    if job.crs is not None or job.transform is not None:
        attributes["zarr_conventions"] = _CONVENTIONS
    return attributes
