"""A dataset as pictures: DEST/{train,val,test}/NAME.png, input and target side by side: 8-bit RGB, or measurements as they are.

The layout that pix2pix's datasets come in, so other programs read it, and so does the builder `folders`. A picture appears
whole or not at all; its bytes depend on its pair alone. It carries the pair's id as text; its name is `file_stems`'.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from p2p_core.config import Config
from p2p_core.encodings import Encoding, encoding
from p2p_core.errors import ConfigError, OutputError, RasterError, StoreError, UsageError
from p2p_core.files import canonical_json, locked, output_errors, sha256_bytes, sha256_file, write_atomic
from p2p_core.pairstore.checksums import CHECKSUMS, write_checksums
from p2p_core.pairstore.file_names import file_stems
from p2p_core.pairstore.layout import ROLES, SPLITS
from p2p_core.pairstore.reader import PairSplit, PairStore
from p2p_core.pairstore.schema import PairRecord
from p2p_core.progress import Progress
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.png import png_bytes
from p2p_core.rasters.png16 import encode_16_bit
from p2p_core.rasters.protocol import full_window

__all__ = ["PAIR_ID", "FoldersExport", "Side", "export_folders"]

Side = Literal["left", "right"]
T = TypeVar("T")
R = TypeVar("R")

PAIR_ID = "p2p:pair_id"
"""The key of a picture's text."""

_MARK, _LOCK = ".p2p-export.json", ".p2p-export.lock"  # hidden: no program takes them for pictures
_MEASUREMENTS_OF_PNG = {(bands, dtype) for bands in (1, 3) for dtype in ("uint8", "uint16")}
_PARTIAL = re.compile(r"\.(.+)\.[0-9a-f]{32}\.partial")


class FoldersExport(Config):
    """What an export did. `num_there`: pictures that an earlier run had written."""

    counts: dict[str, int]
    num_there: int


@dataclass(frozen=True)
class _Plan:
    """What goes where: a split's pictures by its pairs' ids."""

    store: PairStore
    dest: Path
    input_side: Side
    encodings: Mapping[str, Encoding]
    paths: Mapping[str, Path]


@dataclass(frozen=True)
class _Picture:
    """A picture that is there now; `was_there`: before this run too."""

    path: Path
    sha256: str
    was_there: bool


def export_folders(
    store: PairStore, dest: Path, *, input_side: Side = "left", progress: Progress | None = None
) -> FoldersExport:
    """Write every pair as a picture below `dest`. Run again it writes what is missing and reads the rest to be sure of it.

    Splits without pairs get no directory. Lab targets are exported as the RGB pictures they are stored as.

    Args:
        input_side: where a picture's input is.
        progress: told the number of pictures that are there.

    Raises:
        StoreError: the store is damaged, or a PNG does not hold its pixels.
        OutputError: `dest` cannot be written, or holds anything that this export would not have written. Nothing is
            replaced; what was written is kept for the next run.
        UsageError: `dest` lies in the store.
    """
    plan = _planned(store, dest, input_side)
    with output_errors(dest):
        _refuse_strangers(plan)
        dest.mkdir(parents=True, exist_ok=True)
    busy = OutputError(f"Another process is exporting to {dest}", remedy="Wait until it is done, or choose another directory")
    with locked(dest / _LOCK, busy=busy):
        _sweep(plan)
        write_atomic(dest / _MARK, _mark(plan, complete=False))
        pictures = _write(plan, progress)
        complete = _mark(plan, complete=True)
        write_atomic(dest / _MARK, complete)
        sha256_of = {picture.path.relative_to(dest).as_posix(): picture.sha256 for picture in pictures}
        write_checksums(dest, {_MARK: sha256_bytes(complete), **sha256_of})
    num_there = sum(picture.was_there for picture in pictures)
    return FoldersExport(counts={split: store.manifest.counts[split] for split in SPLITS}, num_there=num_there)


def _planned(store: PairStore, dest: Path, input_side: Side) -> _Plan:
    root = store.path
    if dest.resolve().is_relative_to(root):
        raise UsageError(f"{dest} lies in the store {root}, which never changes", remedy="Choose a place outside the store")
    manifest = store.manifest
    names = {"input": manifest.input_encoding, "target": manifest.target_encoding}
    shown = {role: _shown(name, f"The {role} of {root}") for role, name in names.items()}
    _require_one_picture(shown, root)
    return _Plan(store, dest, input_side, shown, _paths(store.pairs, dest))


def _shown(name: str, what: str) -> Encoding:
    try:
        return encoding(name)
    except ConfigError:
        raise StoreError(
            f"{what} is encoded as {name!r}, which this program cannot show as RGB",
            remedy="Use the version of this program that built the store",
        ) from None


def _require_one_picture(encodings: Mapping[str, Encoding], root: Path) -> None:
    """Both halves share a PNG: they are pictures, or measurements of one kind that PNG holds."""
    halves = list(encodings.values())
    if all(own.is_picture for own in halves):
        return
    kinds = {(own.bands, str(own.dtype)) for own in halves}
    if len(kinds) > 1 or not kinds <= _MEASUREMENTS_OF_PNG:
        names = " and ".join(own.name for own in halves)
        raise StoreError(
            f"{root} pairs {names}, which no PNG holds side by side",
            remedy="Read the store itself (`PairStore.open`), or export one whose halves have the same 1 or 3 bands, both of "
            "uint8 or both of uint16",
        )


def _paths(pairs: tuple[PairRecord, ...], dest: Path) -> dict[str, Path]:
    """Pair id -> file. `train/1` in train is 1.png, if all are called so: built from it, it is `train/1` again."""
    by_directory = all(pair.pair_id.startswith(f"{pair.split}/") for pair in pairs)
    paths: dict[str, Path] = {}
    for split in SPLITS:
        prefix = f"{split}/" if by_directory else ""
        stems = file_stems([pair.pair_id.removeprefix(prefix) for pair in pairs if pair.split == split])
        paths |= {f"{prefix}{rest}": dest / split / f"{stem}.png" for rest, stem in stems.items()}
    return paths


def _mark(plan: _Plan, *, complete: bool) -> bytes:
    """What is exported, and how. Written first, so that a killed export knows its own, and last, when it is complete."""
    manifest = plan.store.manifest
    return canonical_json(
        {
            "format": "folders",
            "dataset": manifest.digest,
            "input_side": plan.input_side,
            "encodings": {role: plan.encodings[role].name for role in ROLES},
            "counts": manifest.counts,
            "complete": complete,
        }
    )


def _refuse_strangers(plan: _Plan) -> None:
    """Before anything is written: `dest` is new, empty, or holds this export and in its splits nothing else.

    A picture of another dataset or version would become part of this one, or of another split of it.
    """
    mark = plan.dest / _MARK
    if mark.is_file():
        if mark.read_bytes() not in (_mark(plan, complete=False), _mark(plan, complete=True)):
            raise OutputError(
                f"{plan.dest} holds the export of another dataset or version, or with the halves the other way round",
                remedy="Choose a new directory, or remove that one first",
            )
        found = [file for split in SPLITS for file in (plan.dest / split).rglob("*")]
        known = {*plan.paths.values()}
        strangers = [file for file in found if file not in known and not _is_partial(file, known)]
    else:
        there = list(plan.dest.iterdir()) if plan.dest.exists() else []
        strangers = [file for file in there if file.name != _LOCK and not _is_partial(file, {mark})]
    if strangers:
        raise OutputError(
            f"{min(strangers)} is in the way: it is not of this export ({len(strangers)} such)",
            remedy="Move it away, or choose a new directory",
        )


def _is_partial(file: Path, known: set[Path]) -> bool:
    """Whether a killed export left it, while it wrote one of the files `known`."""
    named = _PARTIAL.fullmatch(file.name)
    return named is not None and file.with_name(named[1]) in known


def _sweep(plan: _Plan) -> None:
    known = {plan.dest / _MARK, plan.dest / CHECKSUMS, *plan.paths.values()}
    with output_errors(plan.dest):
        (plan.dest / CHECKSUMS).unlink(missing_ok=True)
        for directory in (plan.dest, *(plan.dest / split for split in SPLITS)):
            for file in directory.glob(".*.partial"):
                if _is_partial(file, known):
                    file.unlink()


def _write(plan: _Plan, progress: Progress | None) -> list[_Picture]:
    """Threads, since the decoder, the encoder and the disk all let go of the interpreter."""
    counts = plan.store.manifest.counts
    wanted = ((split, i) for split in map(plan.store.split, filter(counts.get, SPLITS)) for i in range(len(split)))
    done: list[_Picture] = []
    num_there = 0
    if progress:
        progress.update(0)
    with ThreadPoolExecutor(_num_threads()) as pool:
        for picture in _in_order(pool, lambda place: _write_picture(plan, *place), wanted, room=2 * _num_threads()):
            done.append(picture)
            num_there += picture.was_there
            if progress:
                progress.update(len(done), f"{num_there} there before" if num_there else "")
    return done


def _num_threads() -> int:
    return (os.cpu_count() or 1) + 2  # some wait for the disk


def _in_order(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], *, room: int) -> Iterator[R]:
    """As `pool.map`, but at most `room` items are under way: an error leaves no long queue to be worked off behind it."""
    running: deque[Future[R]] = deque()
    try:
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) == room:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def _write_picture(plan: _Plan, split: PairSplit, i: int) -> _Picture:
    """See that a picture is there.

    Raises:
        OutputError: there is something else in its place.
    """
    record = split.records[i]
    path = plan.paths[record.pair_id]
    picture_HWC = _side_by_side(plan, *split.read(i))
    with output_errors(path):
        if not (path.exists() or path.is_symlink()):
            data = _png(picture_HWC, path, {PAIR_ID: record.pair_id})
            write_atomic(path, data)
            return _Picture(path, sha256_bytes(data), was_there=False)
    if not _shows(path, picture_HWC):
        raise OutputError(
            f"{path} is in the way: it does not show the pair {record.pair_id!r}",
            remedy="Remove it and run the same export again, or choose a new directory",
        )
    return _Picture(path, sha256_file(path), was_there=True)


def _png(picture_HWC: NDArray[Any], path: Path, text: Mapping[str, str]) -> bytes:
    return encode_16_bit(picture_HWC, text) if picture_HWC.dtype == np.uint16 else png_bytes(picture_HWC, path, text)


def _side_by_side(plan: _Plan, input_HWC: NDArray[Any], target_HWC: NDArray[Any]) -> NDArray[Any]:
    halves = [input_HWC, target_HWC]
    if all(own.is_picture for own in plan.encodings.values()):
        halves = [plan.encodings["input"].to_rgb(input_HWC), plan.encodings["target"].to_rgb(target_HWC)]
    return np.concatenate(halves if plan.input_side == "left" else halves[::-1], axis=1)


def _shows(path: Path, picture_HWC: NDArray[Any]) -> bool:
    """Pixels are compared, not bytes: another version of the compressor writes other bytes."""
    try:
        with ImageRaster(path) as raster:
            return raster.dtype == picture_HWC.dtype and np.array_equal(raster.read(full_window(raster)), picture_HWC)
    except RasterError:
        return False
