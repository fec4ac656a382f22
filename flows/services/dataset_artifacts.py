"""What a built dataset shows on its run's page in Prefect: its counts, why items were rejected, and some of its pairs.

Legend: N pairs, H W pixels, C bands; pixels are uint8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flows.services.artifacts import publish_markdown, publish_table
from p2p_core.card import facts
from p2p_core.card.facts import spread
from p2p_core.card.pictures import read_pairs, shrunk
from p2p_core.encodings import encoding
from p2p_core.evaluation.sheets import contact_sheet
from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.manifest import version_name
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import PairRecord
from p2p_core.report.pictures import Picture, picture
from preprocessing.build import BuildSummary
from preprocessing.drift import StoreDrift

__all__ = ["REJECTED_SHOWN", "pairs_sheet", "pairs_shown", "publish_dataset", "publish_drift", "rejected_shown"]

REJECTED_SHOWN = 20
"""Rejected items listed of each reason; there may be one for every tile of a country."""
# The picture lies in Prefect's database, with every run's. As these are, even pure noise stays below 200 kB.
_PAIRS_SHOWN = 5
_LONGEST_PX = 128


def publish_dataset(out: Path, made: BuildSummary) -> None:
    """Publish the artifacts `dataset`, `dataset-rejections` and `dataset-pairs` of the version that `made` names, and
    `dataset-drift` where it was measured.

    Raises:
        StoreError: the store is damaged.
    """
    of = f"{out}, dataset {version_name(made.digest)}"
    store = PairStore.open(Path(f"{out}@{made.digest}"))  # also where the store was moved since
    counts = [{"what": split, "count": count} for split, count in made.counts.items()]
    counts += [{"what": f"rejected: {reason}", "count": count} for reason, count in made.rejected.items()]
    publish_table("dataset", counts, f"Pairs of {of}")
    rejected, num_rejected = rejected_shown(store), sum(made.rejected.values())
    listed = f"{len(rejected)} of {num_rejected}, at most {REJECTED_SHOWN} of each reason; rejected.parquet has all"
    publish_table("dataset-rejections", rejected, f"Rejected items of {of}: {listed}")
    records = pairs_shown(store)
    sheet = pairs_sheet(store, records)
    names = "\n".join(f"{row}  {record.split}  {record.pair_id}" for row, record in enumerate(records, 1))
    # In a fence a name is no markdown, whatever characters it has.
    publish_markdown("dataset-pairs", f"![{sheet.alt}]({sheet.uri})\n\n```text\n{names}\n```\n", f"Pairs of {of}")
    if made.drift is not None:
        publish_drift(out, made.drift)


def publish_drift(out: Path, drift: StoreDrift) -> None:
    """Publish the artifact `dataset-drift`: every measure, and which are beyond their limits."""
    versions = f"{out} from {drift.before.name} to {drift.after.name}"
    publish_table("dataset-drift", drift.rows(), f"Drift of {versions}: {len(drift.beyond)} measures are beyond their limits")


def rejected_shown(store: PairStore) -> list[dict[str, str]]:
    """The rejected items of each reason that the card shows, too, as (reason, item, detail), by reason."""
    shown = facts.rejected_shown(store, REJECTED_SHOWN)
    return [{"reason": r.reason, "item": r.item, "detail": r.detail} for records in shown.values() for r in records]


def pairs_shown(store: PairStore) -> list[PairRecord]:
    """Pairs evenly spread over the whole store, splits in their order: the same ones for the same version."""
    return spread(sorted(store.pairs, key=lambda record: SPLITS.index(record.split)), _PAIRS_SHOWN)


def pairs_sheet(store: PairStore, records: list[PairRecord]) -> Picture:
    """Inputs beside targets, a pair a row, each made smaller by a whole factor until no side is above 128 px."""
    pairs = read_pairs(store, records)
    source, target = (encoding(name) for name in (store.manifest.input_encoding, store.manifest.target_encoding))
    columns = {
        "input": np.stack([shrunk(input_HWC, source, _LONGEST_PX) for input_HWC, _ in pairs]),
        "target": np.stack([shrunk(target_HWC, target, _LONGEST_PX) for _, target_HWC in pairs]),
    }
    return picture(contact_sheet(columns), "Inputs and targets of some pairs")
