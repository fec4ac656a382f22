"""`p2p train`, `p2p import`, `p2p evaluate` and `p2p promote`: from a pair store to the champion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.options import Model, Settings, Store, TrackingUri

__all__ = ["evaluate", "import_model", "promote", "train"]


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="One of those above.")],
    data: Store,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Checkpoints, losses, sheets and the bundle go here.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in RUN, as it began.")] = False,
    settings: Settings = None,
    images: Annotated[int | None, typer.Option(min=1, help="Budget in images; the recipe's unless given.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, max=1e5, help="Let this many minutes choose the budget.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    processes: Annotated[
        int,
        typer.Option(
            "--devices", "--processes", metavar="N", min=1, max=64, help="Train on N GPUs, or in N processes on a CPU."
        ),
    ] = 1,
    tracking_uri: TrackingUri = None,
    experiment: Annotated[str, typer.Option(help="MLflow's experiment.")] = "p2p",
    register: Annotated[str | None, typer.Option(metavar="NAME", help="Register the bundle under this name.")] = None,
) -> None:
    """Train a recipe on a pair store, in a process of its own. RUN/bundle is the model.

    \b
    facades, facades_to_labels          labels -> facade, and back          stores of folders or labels
    cityscapes, cityscapes_to_labels    labels -> street, and back          labels or folders
    camvid, camvid_to_labels            the same of CamVid
    maps                                map <-> aerial, either way          maps or folders
    edges2shoes, edges2handbags         edges or sketch -> photo            edges or folders
    sketches                            the same, from few photos           edges or folders
    colorization                        gray -> colour                      colour or gray
    day2night                           day -> night, or back               folders
    thermal                             thermal -> colour                   frames or folders
    holes                               hole -> filled                      holes
    landmarks                           landmarks -> face, person to person frames or folders
    masks                               portrait -> mask                    labels, folders or frames
    palette                             palette with gaps -> whole palette  palette
    world                               relief map -> Blue Marble           maps or folders

    A store that does not fit is refused, with the command that builds one. docs/recipes.md has every setting and its source;
    --set changes one, --images the budget.

    \b
    Examples:
      p2p train facades --data pairs --out run --set batch_size=4 --images 20000
      p2p train facades --data pairs --out run --resume
      p2p train maps --data pairs --out run --register map2aerial
      p2p train facades --data pairs --out run --devices 4 --set batch_size=16
    """
    from flows.stages.train import TrainRequest, train_and_register
    from p2p_core.errors import UsageError

    if images is not None and minutes is not None:
        raise UsageError("A budget is --images or --minutes, not both", remedy="Leave one of them out")
    request = TrainRequest(
        recipe=recipe,
        data=data,
        run_dir=out,
        settings=None if resume and not settings else tuple(settings or ()),
        images=images,
        minutes=minutes,
        resume=resume,
        device=device,
        processes=processes,
        tracking_uri=tracking_uri,
        experiment=experiment,
        register_as=register,
    )
    made = train_and_register(request)
    print(f"{made.outcome.bundle}: {made.outcome.images_seen} images seen, digest {made.outcome.bundle_digest}")
    _say_registered(made.name, made.version)


def import_model(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="latest_net_G.pth of the reference PyTorch code.")],
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="The bundle; a new directory.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="STORE", help="Its encodings are the model's, its validation pairs the gate pairs."),
    ] = None,
    input_encoding: Annotated[str | None, typer.Option(help="Unless the store's, or the usual one for so many bands.")] = None,
    target_encoding: Annotated[str | None, typer.Option(help="The same of the target.")] = None,
    norm: Annotated[
        Literal["frozen", "instance"],
        typer.Option(help="Statistics of `p2p evaluate`. frozen: as the reference with --eval; instance: as without, batch 1."),
    ] = "frozen",
    no_dropout: Annotated[bool, typer.Option("--no-dropout", help="A U-Net was trained with --no_dropout.")] = False,
    name: Annotated[str | None, typer.Option(help="The model's name on its card; the directory's unless given.")] = None,
    tracking_uri: TrackingUri = None,
    register: Annotated[str | None, typer.Option(metavar="NAME", help="Register the bundle under this name.")] = None,
) -> None:
    """Make a bundle of a U-Net or ResNet generator that the reference PyTorch code trained; the same pixels come out of it.

    Depth or blocks, width, bands and norm are read off the file, from which no code is run. A bundle never drops out.

    \b
    Examples:
      p2p import checkpoints/facades/latest_net_G.pth --out facades
      p2p import latest_net_G.pth --out coloured --data pairs --register gray2colour
      p2p import latest_net_G.pth --out ndvi --input-encoding bands:4:uint8 --target-encoding bands:1:uint8
    """
    from flows.stages.import_model import ImportRequest
    from flows.stages.import_model import import_model as import_stage

    request = ImportRequest(
        checkpoint=checkpoint,
        out=out,
        name=name,
        input_encoding=input_encoding,
        target_encoding=target_encoding,
        norm=norm,
        dropout=not no_dropout,
        data=data,
        register_as=register,
        tracking_uri=tracking_uri,
    )
    made = import_stage(request)
    print(f"{made.bundle}: digest {made.digest}")
    _say_registered(made.name, made.version)


def evaluate(
    model: Model,
    data: Store,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Judge by test.")] = "test",
    json_path: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write every number there.")] = None,
    sheet_path: Annotated[Path | None, typer.Option("--sheet", metavar="PNG", help="Write a picture of pairs there.")] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Score a model beside the baselines it has to beat. A registered version remembers its scores for `p2p promote`.

    \b
    Examples:
      p2p evaluate run/bundle --data pairs --json evaluation.json
      p2p evaluate models:/map2aerial/3 --data pairs
    """
    from flows.stages.evaluate import EvaluateRequest, evaluate_model, table_of_scores

    request = EvaluateRequest(
        model=model, data=data, split=split, json_path=json_path, sheet_path=sheet_path, tracking_uri=tracking_uri
    )
    print(table_of_scores(evaluate_model(request)))


def promote(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The registered model.")],
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version that shall be champion.")],
    tracking_uri: TrackingUri = None,
) -> None:
    """Set the alias champion on a version, if it beats the per-pixel affine colour fit on the test split. Exit 1 if not.

    \b
    Example:
      p2p evaluate models:/map2aerial/3 --data pairs && p2p promote map2aerial 3
    """
    from flows.services.models import default_tracking_uri
    from flows.services.promotion import promote as promote_version

    made = promote_version(name, str(version), tracking_uri=tracking_uri or default_tracking_uri())
    print(f"{name} version {version} {'is champion' if made.promoted else 'is not promoted'}: {made.reason}")
    if not made.promoted:
        raise typer.Exit(1)


def _say_registered(name: str | None, version: str | None) -> None:
    if name:
        print(f"models:/{name}/{version}")
