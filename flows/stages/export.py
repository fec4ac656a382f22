"""Export what a directory holds: a translation as one file or tiles, a pair store as pictures, a model for other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from flows.services.models import parse_model_uri, resolve_model
from flows.verify import Kind, kind_of
from p2p_core.errors import UsageError
from p2p_core.pairstore.versions import named_version

__all__ = ["ExportFormat", "export"]

ExportFormat = Literal["cog", "xyz", "png", "folders", "onnx"]

_EXPORTED: dict[ExportFormat, Kind] = {
    "cog": "archive output",
    "xyz": "archive output",
    "png": "archive output",
    "folders": "pair store",
    "onnx": "model bundle",
}


def export(source: Path, dest: Path, to: ExportFormat, *, input_side: Literal["left", "right"] | None = None) -> str:
    """Export `source` and say what is where.

    Raises:
        EmptySourceError: `source` is nothing that could be exported.
        UsageError: it is of another kind than the format, or `input_side` is given for a format without sides.
        P2PError: what the format's export raises.
    """
    source = _found(source)
    kind = kind_of(source)
    if _EXPORTED[to] != kind:
        formats = [name for name, owner in _EXPORTED.items() if owner == kind]
        own = " or ".join(filter(None, [", ".join(formats[:-1]), *formats[-1:]]))
        raise UsageError(
            f"{source} holds {_ARTICLE[kind]} {kind}; --to {to} exports {_ARTICLE[_EXPORTED[to]]} {_EXPORTED[to]}",
            remedy=f"Use --to {own}" if own else "Give a pair store, a model bundle or an archive output",
        )
    if to == "folders":
        return _export_folders(source, dest, input_side or "left")
    if input_side is not None:
        raise UsageError(f"--to {to} knows no sides", remedy="Leave --input-side out")
    if to == "onnx":
        return _export_onnx(source, dest)

    from flows.stages.translate import EXPORTS

    return str(EXPORTS[to](source, dest))


_ARTICLE: dict[Kind, str] = {"pair store": "a", "picture export": "a", "model bundle": "a", "archive output": "an"}


def _found(source: Path) -> Path:
    """The directory that is meant: of a store's version, or of a registered model."""
    if parse_model_uri(str(source)) is None:
        return named_version(source)
    return resolve_model(str(source)).bundle


def _export_onnx(source: Path, dest: Path) -> str:
    from p2p_core.inference.onnx_export import MAX_DIFFERENCE, export_onnx

    made = export_onnx(source, dest)
    return (
        f"{dest}: differs from PyTorch by {made.max_difference:.1g} of {MAX_DIFFERENCE:g} allowed, model {made.bundle_digest}"
    )


def _export_folders(source: Path, dest: Path, input_side: Literal["left", "right"]) -> str:
    from p2p_core.pairstore.export import export_folders
    from p2p_core.pairstore.reader import PairStore
    from p2p_core.progress import ProgressLine

    store = PairStore.open(source)
    with ProgressLine("export", sum(store.manifest.counts.values()), "pictures") as progress:
        made = export_folders(store, dest, input_side=input_side, progress=progress)
    counts = ", ".join(f"{count} {split}" for split, count in made.counts.items())
    return f"{dest}: {counts} pictures, {made.num_there} of them there before"
