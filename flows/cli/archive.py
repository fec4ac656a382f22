"""`p2p translate`, `p2p export` and `p2p status`: any raster through a model, and out again; stores and models out too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.options import AsJson, Model, SchedulerAddress, TrackingUri, print_json

__all__ = ["export", "status", "translate"]

Output = Annotated[Path, typer.Argument(metavar="OUTPUT", help="The directory that `p2p translate` wrote.")]


def translate(
    model: Model,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image, GeoTIFF, VRT, XYZ tree or Zarr array.")],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="A directory for the Zarr array and its ledger; or, NAME.png, one picture.")
    ],
    workers: Annotated[int | None, typer.Option(min=0, help="Processes, one per CPU unless given; 0: this one.")] = None,
    scheduler: SchedulerAddress = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda on every worker.")] = "cpu",
    tracking_uri: TrackingUri = None,
) -> None:
    """Translate a whole raster without seams, into Zarr. Run it again: only missing or stale blocks are done.

    Where OUTPUT ends in .png, the result is that picture: for photos and drawings, done in one go.

    \b
    Examples:
      p2p translate models:/map2aerial@champion region.tif out
      p2p translate run/bundle tiles/ out --scheduler tcp://10.0.0.5:8786
      p2p translate run/bundle sketch.jpg shoe.png
    """
    from flows.stages.executors import Workers, available_cpus
    from flows.stages.translate import TranslateRequest, is_picture, translate_picture
    from flows.stages.translate import translate as translate_stage

    request = TranslateRequest(
        model=model,
        source=source,
        output=output,
        tracking_uri=tracking_uri,
        workers=Workers(count=available_cpus() if workers is None else workers, scheduler=scheduler),
        device=device,
    )
    if is_picture(output):
        print(translate_picture(request))
        return
    made = translate_stage(request)
    if made.changed_pins:
        print(f"{output} was made anew: changed since the earlier run: {', '.join(made.changed_pins)}")
    print(f"{output}: {made.num_done} blocks, {made.num_reused} of them done before\noutput {made.output_digest}")


def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT|STORE|MODEL",
            help="What `p2p translate` or `p2p build` wrote, STORE@VERSION, or a bundle or its URI.",
        ),
    ],
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="The file or directory to write.")],
    to: Annotated[
        Literal["cog", "xyz", "png", "folders", "onnx"],
        typer.Option(
            help="Of an OUTPUT: a Cloud Optimized GeoTIFF, z/x/y.png tiles, or one PNG. Of a STORE: side-by-side pictures. Of a"
            " MODEL: one ONNX file."
        ),
    ],
    input_side: Annotated[
        Literal["left", "right"] | None, typer.Option(help="Of folders: where a picture's input is; left unless given.")
    ] = None,
) -> None:
    """Export a finished translation, with its CRS and what made it; a pair store, as pix2pix distributes them; or a model.

    --to folders writes DEST/{train,val,test}/NAME.png, 8-bit RGB. Run it again: only missing pictures are written. What is
    not of the same export is never replaced. --to onnx writes the network with fixed statistics, if ONNX Runtime makes the
    same of it as PyTorch: exit 1 if not.

    \b
    Examples:
      p2p export out region.tif --to cog
      p2p export out tiles --to xyz
      p2p export out region.png --to png
      p2p export pairs pictures --to folders --input-side right
      p2p export models:/map2aerial@champion map2aerial.onnx --to onnx
    """
    from flows.stages.export import export as export_stage

    print(export_stage(source, dest, to, input_side=input_side))


def status(output: Output, as_json: AsJson = False) -> None:
    """How far a translation is, also while it runs: planned, done, failed, remaining, time left.

    \b
    Example:
      p2p status out --json
    """
    from p2p_core.archive.status import output_status
    from p2p_core.progress import format_duration

    found = output_status(output)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    left = "unknown" if found.eta_s is None else format_duration(found.eta_s)
    model = f"{found.model_name} version {found.model_version}" if found.model_name else "a bundle"
    print(f"{output}: {found.source} through {model}")
    print(f"{found.done} of {found.planned} blocks done, {found.failed} failed, {found.remaining} remaining, {left} left")
