"""A directory of photos to a directory of edge pictures: incremental, parallel, and nothing half-written.

Every picture carries, in its own text, the digests of the photo and of everything that shaped it. A run makes what is
missing or carries other digests and leaves the rest alone.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from p2p_core.config import Config
from p2p_core.errors import RasterError, UsageError
from p2p_core.executor import Executor
from p2p_core.files import write_atomic
from p2p_core.pairstore.schema import RejectedRecord
from p2p_core.progress import Progress
from p2p_core.rasters.registry import source_digest
from preprocessing.edges.detect import WeightsChoice, detector_for
from preprocessing.edges.drawing import EdgesConfig, edge_picture, edges_key
from preprocessing.edges.weights import read_weights
from preprocessing.matching import find_pictures
from preprocessing.photos import read_photo

__all__ = ["EdgesSummary", "draw_edges"]

_PHOTO, _KEY = "p2p:photo_sha256", "p2p:edges_key"
_AT_ONCE = 4


class EdgesSummary(Config):
    """What a run did. `key`: of all that shapes the pictures besides the photos. `failures`: photos left out, and why."""

    num_photos: int
    num_made: int
    num_unchanged: int
    failures: tuple[RejectedRecord, ...]
    weights_sha256: str
    key: str
    elapsed_s: float


def draw_edges(
    photos: Path,
    out: Path,
    config: EdgesConfig,
    weights: WeightsChoice,
    *,
    executor: Executor | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> EdgesSummary:
    """Write `out/NAME.png` for every photo `photos/NAME.*`, also in subdirectories.

    Args:
        executor: where photos are worked on; this process unless given.
        device: of the engine `torch`.
        progress: told the number of photos that are settled.

    Raises:
        UsageError: the results would lie among the photos.
        EmptySourceError, PairingError: there are no photos, or two of one name.
        MissingDependencyError, WeightsError: the weights cannot be used.
        OutputError: `out` cannot be written. What was made is kept.
    """
    started_s = time.monotonic()
    found = find_pictures(photos)
    where, among = out.resolve(), photos.resolve()
    # Below a directory that holds the photos', a name can lead back into it.
    if any((where / name).is_relative_to(among) for name in found.by_name):
        raise UsageError(f"{out} lies in {photos}: the next run would take edges for photos", remedy="Choose a place outside")
    digest = read_weights(weights.path, sha256=weights.sha256).sha256
    work = _Work(config, WeightsChoice(path=weights.path, sha256=digest), edges_key(config, digest), device)
    jobs = [_Job(name, path, out / f"{name}.png") for name, path in sorted(found.by_name.items())]
    settled: list[_Settled] = []
    for batch in _batches(jobs, work, executor):
        settled += batch
        if progress:
            num_failed = sum(item.rejected is not None for item in settled)
            progress.update(len(settled), f"{num_failed} failed" if num_failed else "")
    failures = sorted((item.rejected for item in settled if item.rejected), key=lambda rejected: rejected.item)
    num_unchanged = sum(item.unchanged for item in settled)
    return EdgesSummary(
        num_photos=len(jobs),
        num_made=len(jobs) - num_unchanged - len(failures),
        num_unchanged=num_unchanged,
        failures=tuple(failures),
        weights_sha256=digest,
        key=work.key,
        elapsed_s=time.monotonic() - started_s,
    )


def _batches(jobs: Sequence[_Job], work: _Work, executor: Executor | None) -> Iterator[list[_Settled]]:
    batches = [tuple(jobs[start : start + _AT_ONCE]) for start in range(0, len(jobs), _AT_ONCE)]
    yield from executor.map(work, batches) if executor else map(work, batches)


@dataclass(frozen=True)
class _Job:
    name: str
    photo: Path
    picture: Path


@dataclass(frozen=True)
class _Settled:
    """A photo that was worked on, or left alone as `unchanged`, or `rejected`."""

    unchanged: bool = False
    rejected: RejectedRecord | None = None


@dataclass(frozen=True)
class _Work:
    """What a worker does with some photos; they share forward passes where their sizes are the same."""

    config: EdgesConfig
    weights: WeightsChoice
    key: str
    device: str

    def __call__(self, jobs: Sequence[_Job]) -> list[_Settled]:
        settled: list[_Settled] = []
        to_do = []
        for job in jobs:
            try:
                digest = source_digest(job.photo)
                if self._is_done(job.picture, digest):
                    settled.append(_Settled(unchanged=True))
                else:
                    to_do.append((job, digest, read_photo(job.photo)))
            except RasterError as error:
                settled.append(_rejected(job, error.reason, error.problem))
        if to_do:
            detector = detector_for(self.config.detector, self.weights, self.device)
            probabilities = detector.probabilities([photo_HWC for _, _, photo_HWC in to_do])
            for (job, digest, _), probability_HW in zip(to_do, probabilities, strict=True):
                self._write(job.picture, edge_picture(probability_HW, self.config), digest)
                settled.append(_Settled())
        return settled

    def lost(self, jobs: Sequence[_Job], reason: str) -> list[_Settled]:
        """The result for photos whose workers kept dying on them."""
        return [_rejected(job, "lost", f"Together with {len(jobs) - 1} others {reason}") for job in jobs]

    def _is_done(self, picture: Path, digest: str) -> bool:
        """Whether the picture there is the one this run would write.

        Raises:
            RasterError: there is something that no run of this project wrote: it is not ours to replace.
        """
        if not picture.exists():
            return False
        try:
            with Image.open(picture) as image:
                text = {name: image.info.get(name) for name in (_PHOTO, _KEY)}
        except (OSError, SyntaxError, ValueError):
            text = {}
        if not text.get(_KEY):
            raise RasterError(
                f"{picture} is in the way: it was not made by this command",
                remedy="Move it away, or choose another directory for the edges",
                reason="in_the_way",
            )
        return text == {_PHOTO: digest, _KEY: self.key}

    def _write(self, picture: Path, gray_HW: Any, digest: str) -> None:
        text = PngImagePlugin.PngInfo()
        text.add_text(_PHOTO, digest)
        text.add_text(_KEY, self.key)
        data = io.BytesIO()
        Image.fromarray(gray_HW).save(data, "PNG", pnginfo=text)
        write_atomic(picture, data.getvalue())


def _rejected(job: _Job, reason: str, detail: str) -> _Settled:
    return _Settled(rejected=RejectedRecord(job.name, job.name, reason, detail))
