"""What is written about each pair, each rejected item and each source, and the three Parquet tables that hold it.

The tables are sorted and carry no time or machine, so the same rows are the same bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from p2p_core.geometry import Window

__all__ = [
    "PAIRS_TABLE",
    "READABLE_VERSIONS",
    "REJECTED_TABLE",
    "SCHEMA_VERSION",
    "SOURCES_TABLE",
    "AssignedRecord",
    "PairRecord",
    "RejectedRecord",
    "Settlement",
    "SourceRecord",
    "pairs_from_parquet",
    "pairs_to_parquet",
    "rejected_from_parquet",
    "rejected_to_parquet",
    "sources_from_parquet",
    "sources_to_parquet",
]

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""1 had no thumbnails of rejected items, and no fingerprints in its buckets."""
PAIRS_TABLE, REJECTED_TABLE, SOURCES_TABLE = "pairs.parquet", "rejected.parquet", "sources.parquet"


@dataclass(frozen=True)
class PairRecord:
    """One pair: where it lies in the arrays (`split`, `slot`), where it came from, and the sha256 of its pixels.

    `window` is its place in the target raster's pixel grid; None for whole pictures.
    """

    pair_id: str
    source_id: str
    split: str
    slot: int
    input_sha256: str
    target_sha256: str
    window: Window | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RejectedRecord:
    """An item that is not in the dataset. `reason` is a short word to count by, `detail` is for people.

    `thumbnail`: a small JPEG of it. Some items of each reason have one, where there is something to be seen.
    """

    source_id: str
    item: str
    reason: str
    detail: str
    window: Window | None = None
    thumbnail: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class AssignedRecord:
    """Where the split rule put a pair, before near duplicates were settled, and what it looks like."""

    pair_id: str
    source_id: str
    split: str
    fingerprint: bytes


@dataclass(frozen=True)
class Settlement:
    """What became of a near duplicate: it moved to `split`, or was rejected where that is None.

    `near`: the pair it is nearly the same as; of one that moved, directly or through others.
    """

    split: str | None
    near: str
    similarity: float | None = None


@dataclass(frozen=True)
class SourceRecord:
    """A source the dataset was built from. `files` maps each file's name (not its place) to the sha256 of its bytes."""

    source_id: str
    digest: str
    files: Mapping[str, str] = field(default_factory=dict)


_WINDOW = ("y_px", "x_px", "height_px", "width_px")
_WINDOW_FIELDS = [(name, pa.int64()) for name in _WINDOW]
_TEXT = pa.string()
PAIRS_SCHEMA = pa.schema(
    [
        *[(name, _TEXT) for name in ("pair_id", "source_id", "split")],
        ("slot", pa.int64()),
        *[(name, _TEXT) for name in ("input_sha256", "target_sha256")],
        *_WINDOW_FIELDS,
        ("attributes_json", _TEXT),
    ]
)
REJECTED_SCHEMA = pa.schema(
    [*[(name, _TEXT) for name in ("source_id", "item", "reason", "detail")], *_WINDOW_FIELDS, ("thumbnail", pa.binary())]
)
SOURCES_SCHEMA = pa.schema([("source_id", _TEXT), ("digest", _TEXT), ("files_json", _TEXT)])


def pairs_to_parquet(records: Iterable[PairRecord]) -> bytes:
    rows = sorted(records, key=lambda record: (record.split, record.slot))
    return _to_bytes(rows, PAIRS_SCHEMA, attributes_json=lambda record: _json(record.attributes))


def rejected_to_parquet(records: Iterable[RejectedRecord]) -> bytes:
    rows = sorted(records, key=lambda record: (record.source_id, record.item, record.reason, record.detail))
    return _to_bytes(rows, REJECTED_SCHEMA)


def sources_to_parquet(records: Iterable[SourceRecord]) -> bytes:
    rows = sorted(records, key=lambda record: record.source_id)
    return _to_bytes(rows, SOURCES_SCHEMA, files_json=lambda record: _json(record.files))


def pairs_from_parquet(data: bytes) -> list[PairRecord]:
    return [PairRecord(**_fields(row, attributes="attributes_json")) for row in _rows(data, PAIRS_SCHEMA)]


def rejected_from_parquet(data: bytes) -> list[RejectedRecord]:
    return [RejectedRecord(**_fields(row)) for row in _rows(data, REJECTED_SCHEMA)]


def sources_from_parquet(data: bytes) -> list[SourceRecord]:
    return [SourceRecord(**_fields(row, files="files_json")) for row in _rows(data, SOURCES_SCHEMA)]


def _json(mapping: Mapping[str, str]) -> str:
    return json.dumps(dict(mapping), sort_keys=True, ensure_ascii=False)


def _fields(row: dict[str, Any], **json_columns: str) -> dict[str, Any]:
    place = {name: row.pop(name) for name in _WINDOW if name in row}
    if place:
        row["window"] = None if place["y_px"] is None else Window(**place)
    for name, column in json_columns.items():
        row[name] = json.loads(row.pop(column))
    return row


def _to_bytes(records: Sequence[Any], schema: pa.Schema, **columns: Callable[[Any], Any]) -> bytes:
    """Column by column, not row by row: a hundred thousand rows as dictionaries would be most of a build's memory."""
    of_window = {name: _of_window(name) for name in _WINDOW}
    values = {name: columns.get(name) or of_window.get(name) or attrgetter(name) for name in schema.names}
    arrays = [pa.array(map(values[field.name], records), type=field.type, size=len(records)) for field in schema]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, compression="zstd")
    return sink.getvalue()


def _of_window(name: str) -> Callable[[Any], int | None]:
    return lambda record: getattr(record.window, name, None)


def _rows(data: bytes, schema: pa.Schema) -> list[dict[str, Any]]:
    # Not `pq.read_table`: its scanner's threads may outlive it and abort the process at its end (apache/arrow#34314).
    file = pq.ParquetFile(pa.BufferReader(data))
    table = file.read(columns=schema.names, use_threads=False)
    for column in schema:
        if column.name not in table.column_names:  # of a schema version before the column
            table = table.append_column(column, pa.nulls(len(table), column.type))
    rows: list[dict[str, Any]] = table.select(schema.names).cast(schema).to_pylist()
    return rows
