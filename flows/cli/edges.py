"""`p2p edges`: photos to edge pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.options import AsJson, SchedulerAddress, Settings, print_json

__all__ = ["edges"]


def edges(
    photos: Annotated[Path, typer.Argument(metavar="IN_DIR", help="Photos, also in subdirectories: PNG, JPEG, WebP, TIFF.")],
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="The edges of IN_DIR/a/b.jpg become OUT_DIR/a/b.png.")],
    output: Annotated[
        Literal["lines", "strength", "probability"],
        typer.Option(help="Lines of one pixel; the same as dark as they are sure; or before thinning."),
    ] = "lines",
    background: Annotated[Literal["white", "black"], typer.Option(help="white: black lines, as in the paper.")] = "white",
    engine: Annotated[Literal["ncnn", "torch"], typer.Option(help="ncnn for CPUs; torch for GPUs.")] = "ncnn",
    device: Annotated[str, typer.Option(help="cpu, or cuda with --engine torch.")] = "cpu",
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="network-bsds500.pytorch or ControlNetHED.pth instead of the installed weights."),
    ] = None,
    settings: Settings = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes, one per CPU unless given; 0: this one.")] = None,
    scheduler: SchedulerAddress = None,
    as_json: AsJson = False,
) -> None:
    """Draw the edges of photos as the paper did for edges2shoes: HED, thinned to lines of one pixel.

    Run it again: only photos that are new or changed are done, or all if a setting changed. A broken photo is named and
    skipped; exit 1 if there was any.

    \b
    Examples:
      p2p edges photos/ edges/
      p2p edges photos/ edges/ --output strength --set thinning.threshold=0.2
      p2p edges photos/ edges/ --engine torch --device cuda --workers 0
    """
    from flows.stages.edges import EdgesRequest, tell_edges
    from flows.stages.edges import edges as edges_stage
    from flows.stages.executors import Workers, available_cpus
    from p2p_core.config import with_settings
    from preprocessing.edges.detect import DetectorConfig, WeightsChoice
    from preprocessing.edges.drawing import EdgesConfig

    config = EdgesConfig(output=output, background=background, detector=DetectorConfig(engine=engine))
    made = edges_stage(
        EdgesRequest(
            photos=photos,
            out=out,
            parameters=with_settings(config, settings or ()).model_dump(mode="json"),
            weights=WeightsChoice(path=weights),
            workers=Workers(count=available_cpus() if workers is None else workers, scheduler=scheduler),
            device=device,
        )
    )
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        print(f"{out}: {tell_edges(made)}")
    for failure in made.failures:
        print(f"{failure.item}: {failure.detail}", file=sys.stderr)
    if made.failures:
        raise typer.Exit(1)
