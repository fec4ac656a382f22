"""A finished output as a Cloud Optimized GeoTIFF, a tree of XYZ tiles or one PNG, with its provenance.

All are whole or absent, say that they are synthetic and which model made them, and come out the same when made again.
Something else that lies at the destination is never replaced.
"""

from __future__ import annotations

import shutil
import uuid
import warnings
from pathlib import Path

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from p2p_core.archive.job import PinnedJob
from p2p_core.archive.store import OutputStore
from p2p_core.archive.summary import ArchiveSummary, read_finished
from p2p_core.archive.tile_grid import TileBlock, locate_tiles
from p2p_core.archive.verify import verify_output
from p2p_core.encodings import encoding
from p2p_core.errors import LedgerError, OutputError, RasterError
from p2p_core.files import output_errors, write_atomic, write_json
from p2p_core.geometry import Window
from p2p_core.rasters.geotiff_writer import write_cog
from p2p_core.rasters.images import MAX_PIXELS
from p2p_core.rasters.png import png_bytes
from p2p_core.rasters.xyz import write_xyz_tile
from p2p_core.rasters.zarr_array import ZarrRaster

__all__ = ["export_cog", "export_png", "export_xyz", "refuse_foreign_png"]

_XYZ_MARK = "export.json"
"""Lies beside the zoom directories and names the model: the tree is ours to replace."""

_PNG_HEAD = 4096
"""So far into a PNG of ours its text is to be found."""


def export_cog(output: Path, dest: Path) -> Path:
    """Write a finished output as a COG with overviews, CRS, transform, nodata and provenance tags; return `dest`.

    Raises:
        LedgerError: the output is not finished, or damaged.
        OutputError: the destination cannot be written, or something else lies there.
    """
    store = OutputStore(output)
    job, summary = store.read_job(), _read_whole(store)
    if dest.exists() and _tiff_tags(dest).get("P2P_SYNTHETIC") != "yes":
        raise OutputError(f"{dest} is in the way and was not exported by p2p", remedy="Move it or choose another destination")
    with ZarrRaster(output) as raster:
        write_cog(dest, raster, _provenance(job, summary))
    return dest


def _read_whole(store: OutputStore) -> ArchiveSummary:
    """The summary of an output whose every shard is what was written: Zarr takes a missing shard for black pixels.

    Raises `LedgerError` for any other.
    """
    summary = read_finished(store)
    for problem in verify_output(store.root):
        raise LedgerError(
            f"{store.root / problem.path}: {problem.what}",
            remedy="Delete that file and run the same translation again, which redoes what is missing; then export",
        )
    return summary


def _tiff_tags(path: Path) -> dict[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as tiff:
                return dict(tiff.tags())
    except RasterioError:
        return {}


def export_xyz(output: Path, dest: Path) -> Path:
    """Write a finished output that lies on the Web Mercator tile grid as `dest/z/x/y.png`; return `dest`.

    Raises:
        RasterError: the output is no picture, or does not lie on the tile grid; says what to do.
        LedgerError: the output is not finished, or damaged.
        OutputError: the destination cannot be written, or something else lies there.
    """
    store = OutputStore(output)
    job, summary = store.read_job(), _read_whole(store)
    _require_picture(job, output)
    place = locate_tiles(job.crs, job.transform, job.height_px, job.width_px, name=str(output))
    _refuse_foreign_tree(dest)
    partial = dest.with_name(f".{dest.name}.{uuid.uuid4().hex}.partial")
    try:
        with output_errors(dest):
            _write_tiles(store, place, partial, _provenance(job, summary))
            if dest.exists():
                shutil.rmtree(dest)
            partial.replace(dest)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return dest


def export_png(output: Path, dest: Path) -> Path:
    """Write a finished output as one PNG for the eye, without its place on the Earth; return `dest`.

    Raises:
        RasterError: the output is no picture, or larger than a picture may be; says what to do.
        LedgerError: the output is not finished, or damaged.
        OutputError: the destination cannot be written, or something else lies there.
    """
    store = OutputStore(output)
    job, summary = store.read_job(), _read_whole(store)
    _require_picture(job, output)
    if job.height_px * job.width_px > MAX_PIXELS:
        raise RasterError(
            f"{output} has {job.width_px}x{job.height_px} px, more than the {MAX_PIXELS} that a picture may have",
            remedy="Export it as COG",
            reason="unsupported",
        )
    refuse_foreign_png(dest)
    pixels_HWC = store.read(Window(0, 0, job.height_px, job.width_px))
    with output_errors(dest):
        write_atomic(dest, png_bytes(pixels_HWC, dest, _provenance(job, summary)))
    return dest


def refuse_foreign_png(dest: Path) -> None:
    """Raises `OutputError` where something lies at `dest` that is no PNG of ours."""
    with output_errors(dest):
        mine = not dest.exists() or (dest.is_file() and b"P2P_SYNTHETIC" in dest.read_bytes()[:_PNG_HEAD])
    if not mine:
        raise OutputError(f"{dest} is in the way and was not exported by p2p", remedy="Move it or choose another destination")


def _require_picture(job: PinnedJob, output: Path) -> None:
    if not encoding(job.target_encoding).is_picture:
        raise RasterError(
            f"{output} holds {job.target_encoding}, measurements that pictures do not show",
            remedy="Export it as COG, which keeps them as they are",
            reason="unsupported",
        )


def _write_tiles(store: OutputStore, place: TileBlock, root: Path, tags: dict[str, str]) -> None:
    for tile, window in place.tiles():
        write_xyz_tile(root, tile, store.read(window))
    write_json(root / _XYZ_MARK, tags)


def _refuse_foreign_tree(dest: Path) -> None:
    with output_errors(dest):
        foreign = dest.exists() and not (dest / _XYZ_MARK).is_file() and any(dest.iterdir())
    if foreign:
        raise OutputError(f"{dest} is in the way and was not exported by p2p", remedy="Move it or choose another destination")


def _provenance(job: PinnedJob, summary: ArchiveSummary) -> dict[str, str]:
    """What marks an export as synthetic and says what made it; the same for the same pixels."""
    return {
        "P2P_SYNTHETIC": "yes",
        "P2P_MODEL_NAME": job.model_name or "unregistered",
        "P2P_MODEL_VERSION": job.model_version or "none",
        "P2P_BUNDLE_DIGEST": job.bundle_digest,
        "P2P_SOURCE_DIGEST": job.source_digest,
        "P2P_JOB_DIGEST": job.digest,
        "P2P_OUTPUT_DIGEST": summary.output_digest,
    }
