"""Has the data drifted from one version of a dataset to the next, and by how much?

Counts, rejections and sources are compared by the tables, means and standard deviations by the manifests, exactly. The
distributions of grey levels come from a sample of training pairs: those with the smallest hashes of their ids, so that a
pair of both versions is drawn in both and what did not change does not show. Small steps add up unseen, each within its limit:
compare with an older version to see them. Legend: H W pixels, C bands, L bins of grey levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from p2p_core.config import Config
from p2p_core.encodings import Encoding, encoding
from p2p_core.errors import StoreError
from p2p_core.files import stable_hash
from p2p_core.pairstore.layout import ROLES, SPLITS
from p2p_core.pairstore.manifest import BandStatistics, Manifest
from p2p_core.pairstore.reader import PairStore

__all__ = ["DriftError", "DriftLimits", "Measured", "StoreDrift", "measure_drift", "refuse_drift"]

Measure = Literal["pairs", "rejected", "sources_gone", "mean_shift", "std_ratio", "distribution"]

NUM_BINS = 32
SAMPLED_PAIRS = 128
_SHOWN = 3


class DriftLimits(Config):
    """How far a version may be from the one before. The defaults are between what halves of one dataset differ by and what
    other scenes, another sensor or the night do: docs/log.md, "Drift of datasets".

    Attributes:
        pairs: change of a split's number of pairs, as a share of what it was.
        rejected: change of the share of items that are rejected, of all reasons together and of each.
        sources_gone: share of the sources that are there no longer.
        mean_shift: of a band's mean, in units of its standard deviation as it was.
        std_ratio: of a band's standard deviations, the larger over the smaller.
        distribution: total variation distance of a band's grey levels in 32 bins: 0 the same, 1 nothing in common.
    """

    pairs: float = Field(0.5, ge=0)
    rejected: float = Field(0.05, ge=0)
    sources_gone: float = Field(0.1, ge=0)
    mean_shift: float = Field(0.25, ge=0)
    std_ratio: float = Field(1.25, ge=1)
    distribution: float = Field(0.15, ge=0)


class Measured(Config):
    """One measure of one thing (a split, a reason, a band). `before` and `after` are None where there is no single number."""

    measure: Measure
    of: str
    before: float | None = None
    after: float | None = None
    drift: float
    limit: float

    @property
    def beyond(self) -> bool:
        return self.drift > self.limit

    def __str__(self) -> str:
        values = "" if self.before is None or self.after is None else f" ({self.before:.4g} -> {self.after:.4g})"
        return f"{self.measure} of {self.of} is {self.drift:.3g}{values}, limit {self.limit:g}"


class StoreDrift(Config):
    """Everything that was measured between two versions, given by their directories."""

    before: Path
    after: Path
    measured: tuple[Measured, ...]

    @property
    def beyond(self) -> tuple[Measured, ...]:
        return tuple(measured for measured in self.measured if measured.beyond)

    def rows(self) -> list[dict[str, Any]]:
        """As a table of plain values."""
        return [{**measured.model_dump(), "beyond": measured.beyond} for measured in self.measured]


class DriftError(StoreError):
    """A version drifted beyond its limits. `drift` has every measure."""

    def __init__(self, problem: str, *, remedy: str, drift: StoreDrift) -> None:
        super().__init__(problem, remedy=remedy)
        self.drift = drift

    def __reduce__(self) -> tuple[object, ...]:
        return _drift_error, (self.problem, self.remedy, self.drift)


def _drift_error(problem: str, remedy: str, drift: StoreDrift) -> DriftError:
    return DriftError(problem, remedy=remedy, drift=drift)


def refuse_drift(current: Path, candidate: Path, limits: DriftLimits) -> StoreDrift:
    """The drift from one version of a store to another, where it is within `limits`.

    Raises:
        DriftError: it is not.
        StoreError: one of the versions is damaged, or they cannot be compared.
    """
    store = candidate.parents[1]
    look, accept = f"`p2p diff {store}@{current.name} {store}@{candidate.name}`", f"`p2p use {store}@{candidate.name}`"
    try:
        drift = measure_drift(PairStore.open(current), PairStore.open(candidate), limits)
    except StoreError as error:
        raise StoreError(
            f"{store}: how far the new version {candidate.name} drifted cannot be told, so it was not made current: "
            f"{error.problem}",
            remedy=f"Look at it, then accept it with {accept}",
        ) from error
    if not drift.beyond:
        return drift
    worst = sorted(drift.beyond, key=lambda measured: measured.drift / (measured.limit or 1e-9), reverse=True)
    limits_beyond = ", ".join(dict.fromkeys(f"drift.{measured.measure}" for measured in worst))
    more = f"; and {len(worst) - _SHOWN} more" if len(worst) > _SHOWN else ""
    raise DriftError(
        f"{store}: the new version {candidate.name} drifted from {current.name}, which stays current: "
        f"{'; '.join(map(str, worst[:_SHOWN]))}{more}",
        remedy=f"Look at it with {look}, then accept it with {accept}, mend the sources, or raise the limit of {limits_beyond}",
        drift=drift,
    )


def measure_drift(before: PairStore, after: PairStore, limits: DriftLimits) -> StoreDrift:
    """Every measure of two versions.

    Raises:
        StoreError: one of them is damaged, or their pictures do not have the same encodings.
    """
    was, now = before.manifest, after.manifest
    for role in ROLES:
        encodings = [str(getattr(manifest, f"{role}_encoding")) for manifest in (was, now)]
        if encodings[0] != encodings[1]:
            raise StoreError(
                f"The {role} of {before.version_path} is encoded as {encodings[0]!r}, that of {after.version_path} "
                f"as {encodings[1]!r}",
                remedy="Compare versions of one encoding",
            )
    sources = [{source.source_id for source in store.sources} for store in (before, after)]
    measured = [
        *_pairs(was.counts, now.counts, limits.pairs),
        *_rejected(was, now, limits.rejected),
        _sources_gone(*sources, limit=limits.sources_gone),
    ]
    statistics = {
        "input": (was.input_statistics, now.input_statistics),
        "target": (was.target_statistics, now.target_statistics),
    }
    old_histograms, new_histograms = (_sampled_histograms(store) for store in (before, after))
    for role, (old, new) in statistics.items():
        if old is None or new is None:  # no training pair
            continue
        own = encoding(getattr(was, f"{role}_encoding"))
        bands = [f"{role} {band}" for band in own.band_names]
        measured += _bands(bands, old, new, limits, level=_grey_level(own))
        measured += _distributions(bands, old_histograms[role], new_histograms[role], limit=limits.distribution)
    return StoreDrift(before=before.version_path, after=after.version_path, measured=tuple(measured))


def _pairs(was: Mapping[str, int], now: Mapping[str, int], limit: float) -> Iterator[Measured]:
    for split in SPLITS:
        before, after = was[split], now[split]
        drift = abs(after - before) / max(before, 1)
        yield Measured(measure="pairs", of=f"split {split}", before=before, after=after, drift=drift, limit=limit)


def _rejected(was: Manifest, now: Manifest, limit: float) -> Iterator[Measured]:
    shares = [_rejected_shares(manifest) for manifest in (was, now)]
    for of in ("all items", *sorted((shares[0].keys() | shares[1].keys()) - {"all items"})):
        before, after = (share.get(of, 0.0) for share in shares)
        yield Measured(measure="rejected", of=of, before=before, after=after, drift=abs(after - before), limit=limit)


def _rejected_shares(manifest: Manifest) -> dict[str, float]:
    """Of all items, pairs and rejected ones."""
    num_rejected = sum(manifest.rejected.values())
    num_items = max(num_rejected + sum(manifest.counts.values()), 1)
    by_reason = {f"reason {reason}": count / num_items for reason, count in manifest.rejected.items()}
    return {"all items": num_rejected / num_items, **by_reason}


def _sources_gone(was: set[str], now: set[str], *, limit: float) -> Measured:
    gone = len(was - now) / max(len(was), 1)
    return Measured(measure="sources_gone", of="sources", before=len(was), after=len(now), drift=gone, limit=limit)


def _grey_level(own: Encoding) -> float:
    """One of 255 of the range, in units of pixels."""
    low, high = own.of_grey_levels(np.array([0.0, 255.0])).astype(float)
    return float(high - low) / 255


def _bands(
    bands: list[str], was: BandStatistics, now: BandStatistics, limits: DriftLimits, *, level: float
) -> Iterator[Measured]:
    """A band without contrast counts as one of a standard deviation of one grey level."""
    for of, mean, std, new_mean, new_std in zip(bands, was.mean, was.std, now.mean, now.std, strict=True):
        shift = abs(new_mean - mean) / max(std, level)
        yield Measured(measure="mean_shift", of=of, before=mean, after=new_mean, drift=shift, limit=limits.mean_shift)
        low, high = sorted((max(std, level), max(new_std, level)))
        yield Measured(measure="std_ratio", of=of, before=std, after=new_std, drift=high / low, limit=limits.std_ratio)


def _distributions(bands: list[str], was_CL: NDArray[Any], now_CL: NDArray[Any], *, limit: float) -> Iterator[Measured]:
    shares = [counts_CL / counts_CL.sum(axis=1, keepdims=True) for counts_CL in (was_CL, now_CL)]
    for of, distance in zip(bands, np.abs(shares[1] - shares[0]).sum(axis=1) / 2, strict=True):
        yield Measured(measure="distribution", of=of, drift=float(distance), limit=limit)


def _sampled_histograms(store: PairStore) -> dict[str, NDArray[np.int64]]:
    """Of each role: (C, L), how many pixels of the sampled training pairs are in each bin. Empty without such a pair."""
    if not store.manifest.counts["train"]:
        return {}
    split = store.split("train")
    ranked = sorted(range(len(split)), key=lambda i: stable_hash(split.records[i].pair_id))
    own = {role: encoding(getattr(store.manifest, f"{role}_encoding")) for role in ROLES}
    sums: dict[str, NDArray[np.int64]] = {}
    for i in ranked[:SAMPLED_PAIRS]:
        for role, pixels_HWC in zip(ROLES, split.read(i), strict=True):
            sums[role] = sums.get(role, 0) + _histogram(own[role].to_grey_levels(pixels_HWC))
    return sums


def _histogram(levels_HWC: NDArray[Any]) -> NDArray[np.int64]:
    """(H, W, C) grey levels of 0..255 -> (C, L)."""
    bins_HWC = (levels_HWC * (NUM_BINS / 256)).astype(np.int64)
    return np.stack([np.bincount(bins_HWC[..., band].ravel(), minlength=NUM_BINS) for band in range(bins_HWC.shape[2])])
