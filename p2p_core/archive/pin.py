"""Turn a request into a pinned job: open the source and the model once, check that they fit, write down what they are."""

from __future__ import annotations

import importlib.metadata

from p2p_core.archive.job import ArchiveJob, PinnedJob
from p2p_core.archive.nodata import nodata_of
from p2p_core.archive.plan import ArchivePlan, plan_archive
from p2p_core.encodings import encoding
from p2p_core.errors import BundleError, SizeMismatchError, UsageError
from p2p_core.geometry import Window
from p2p_core.inference.bundle import ModelBundle, load_bundle
from p2p_core.model.device import named_device
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.protocol import Raster
from p2p_core.rasters.registry import open_raster, source_digest

__all__ = ["pin_job"]


def pin_job(job: ArchiveJob) -> PinnedJob:
    """Open the source and the model once, check that they fit, and pin both.

    Raises:
        RasterError, BundleError: one of them cannot be read. Blocks of a GeoTIFF and tiles of a tree may still turn out
            damaged: what lies in them alone is lost then.
        SizeMismatchError: the source's bands or depth are not the model's.
        PlanError: the sizes are not aligned.
        UsageError: the output lies in the source, or there is no device of that name.
    """
    source, output = job.source.resolve(), job.output.resolve()
    if output == source or source in output.parents:
        raise UsageError(
            f"The output {job.output} lies in the source {job.source}, which would change by it",
            remedy="Choose an output outside the source",
        )
    named_device(job.device)  # the workers find out whether they have it
    bundle = load_bundle(job.bundle)
    with open_raster(job.source, zoom=job.zoom) as raster:
        _check_fit(raster, bundle)
        if isinstance(raster, ImageRaster):
            raster.read(Window(0, 0, 1, 1))  # it is decoded whole or not at all: if not, no block needs to be tried
        return PinnedJob(
            p2p_version=importlib.metadata.version("p2p-pipeline"),
            source=source,
            source_digest=source_digest(job.source),
            zoom=job.zoom,
            height_px=raster.height_px,
            width_px=raster.width_px,
            crs=raster.crs,
            transform=raster.transform,
            nodata=nodata_of(raster),
            bundle=job.bundle.resolve(),
            bundle_digest=bundle.digest,
            model_name=job.model_name,
            model_version=job.model_version,
            input_encoding=bundle.spec.input_encoding,
            target_encoding=bundle.spec.target_encoding,
            engine_version=importlib.metadata.version("torch").partition("+")[0],
            device=job.device,
            threads=job.threads,
            norm=job.norm,
            tiling=job.tiling,
            lattice_px=bundle.spec.lattice_px,
            halo_px=bundle.spec.halo_px,
            core_px=job.core_px,
            window_px=_plan(job, raster, bundle).window_px,
            shard_px=job.shard_px,
            chunk_px=job.chunk_px,
        )


def _plan(job: ArchiveJob, raster: Raster, bundle: ModelBundle) -> ArchivePlan:
    return plan_archive(
        raster.height_px,
        raster.width_px,
        lattice_px=bundle.spec.lattice_px,
        halo_px=bundle.spec.halo_px,
        core_px=job.core_px,
        shard_px=job.shard_px,
        chunk_px=job.chunk_px,
    )


def _check_fit(raster: Raster, bundle: ModelBundle) -> None:
    if bundle.spec.architecture.instance_norm:
        raise BundleError(
            f"The model {bundle.spec.name} normalises each picture by itself: windows of a raster would not agree",
            remedy="Use a model trained with batch norm; this one translates whole pictures (p2p_core.inference.translator)",
        )
    expected = encoding(bundle.spec.input_encoding)
    if raster.bands not in expected.takes:  # the translator brings gray and RGB to each other
        raise SizeMismatchError(
            f"{raster.name} has {raster.bands} bands; the model takes {expected.bands} ({', '.join(expected.band_names)})",
            remedy=f"Give a source of {' or '.join(map(str, expected.takes))} bands, or a model trained on this kind of source",
        )
    if not expected.takes_dtype(raster.dtype):
        raise SizeMismatchError(
            f"{raster.name} holds {raster.dtype} pixels; the model takes {expected.dtype}",
            remedy="Scale the source to 8 bits, for example with gdal_translate -ot Byte -scale"
            if expected.is_picture
            else f"Give a source of the kind it was trained on, {expected.name}",
        )
