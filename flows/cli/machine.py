"""`p2p doctor`: what works on this machine."""

from __future__ import annotations

import typer

from flows.cli.options import AsJson, print_json

__all__ = ["doctor"]


def doctor(as_json: AsJson = False) -> None:
    """What works on this machine: versions, devices, weights, servers, disk. Exit 1 if something is broken.

    \b
    Example:
      p2p doctor
    """
    from flows.doctor import examine

    findings = examine()
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            print(f"{finding.state:<7} {finding.what:<{width}}  {finding.detail}")
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
