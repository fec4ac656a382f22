"""Options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["Model", "SchedulerAddress", "Settings", "TrackingUri", "print_json"]

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A bundle directory, models:/NAME@champion or models:/NAME/VERSION.")
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI",
        show_envvar=True,
        help="MLflow: http://host:5000, or sqlite:////abs/mlflow.db. Registry commands default to ./mlflow.db.",
    ),
]
SchedulerAddress = Annotated[str | None, typer.Option(help="A running Dask scheduler, tcp://host:8786.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one value; dots reach groups. Repeatable.")
]
Store = Annotated[Path, typer.Option("--data", metavar="STORE", help="The pair store, or STORE@VERSION.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, sort_keys=True, default=str))
