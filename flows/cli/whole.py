"""`p2p demo` and `p2p report`: the whole path, and the page about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo", "report"]


def demo(
    out: Annotated[Path, typer.Option(help="Everything goes here.")] = Path("demo-output"),
    minutes: Annotated[float, typer.Option(min=0.1, max=1e5, help="Time for training; it chooses the number of images.")] = 3.0,
    images: Annotated[int | None, typer.Option(min=1, help="Training budget in images, instead of --minutes.")] = None,
) -> None:
    """The whole path on real imagery, in minutes on a CPU.

    Trains a small pix2pix that paints satellite imagery over a relief map of the world, scores it on held-out ground,
    registers it in MLflow, paints South America with it through Dask, and writes report.html. Needs no network and no
    server. Run it again: what is unchanged is reused; a run that was killed goes on.

    \b
    Example:
      p2p demo --out demo-output --minutes 3
    """
    from flows.demo import demo_request, run_demo, tell_demo

    request = demo_request(out, minutes=minutes, images=images)
    print(tell_demo(request, run_demo(request)))


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that `p2p demo` made, or a pair store.")],
) -> None:
    """Write one self-contained page: DIR/report.html about a demo, whatever of it is there; STORE/card/report.html about a
    pair store: some pairs, what was rejected and why, statistics, and how it was built. A card whose files were changed or lost
    is written again.

    \b
    Examples:
      p2p report demo-output
      p2p report pairs
    """
    from p2p_core.pairstore.versions import is_store

    if is_store(directory):
        from p2p_core.card.card import mend_card
        from p2p_core.report.store_page import write_store_report

        mend_card(directory)
        print(write_store_report(directory))
    else:
        from p2p_core.report.page import write_report

        print(write_report(directory))
