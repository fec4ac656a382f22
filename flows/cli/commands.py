"""The application: every command under its name, in the order in which a newcomer meets them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from flows.cli import archive, data, diff, draw, drift, edges, machine, model, whole

__all__ = ["app"]

app = typer.Typer(
    name="p2p",
    help="Paired image-to-image translation (pix2pix) as a pipeline: pairs, training, a registry, archives.",
    epilog="Begin with `p2p demo`. Every command explains itself: p2p COMMAND --help",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": whole.demo,
    "build": data.build,
    "draw": draw.draw,
    "edges": edges.edges,
    "train": model.train,
    "import": model.import_model,
    "evaluate": model.evaluate,
    "promote": model.promote,
    "translate": archive.translate,
    "export": archive.export,
    "verify": data.verify,
    "diff": diff.diff,
    "drift": drift.drift,
    "use": drift.use,
    "status": archive.status,
    "report": whole.report,
    "doctor": machine.doctor,
}


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"p2p {version('p2p-pipeline')}")
        raise typer.Exit


@app.callback()
def _whole(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version and exit.")
    ] = False,
) -> None: ...


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
