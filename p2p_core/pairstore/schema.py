"""What is written about each pair, each rejected item and each source, and the three Parquet tables that hold it.

The tables are sorted and carry no time or machine, so the same rows are the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from p2p_core.geometry import Window

__all__ = [
    "ASSIGNED_SCHEMA",
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
    "assigned_table",
    "pairs_from_parquet",
    "pairs_table",
    "rejected_from_parquet",
    "rejected_table",
    "sources_from_parquet",
    "sources_table",
    "to_parquet",
]

# Arrow's own pools keep what was freed: of 100,000 pairs 60 MB (docs/log.md).
pa.set_memory_pool(pa.system_memory_pool())

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
ASSIGNED_SCHEMA = pa.schema([*[(name, _TEXT) for name in ("pair_id", "source_id", "split")], ("fingerprint", pa.binary())])
SOURCES_SCHEMA = pa.schema([("source_id", _TEXT), ("digest", _TEXT), ("files_json", _TEXT)])
_ORDER = {
    PAIRS_SCHEMA: ("split", "slot"),
    REJECTED_SCHEMA: ("source_id", "item", "reason", "detail"),
    SOURCES_SCHEMA: ("source_id",),
}
_PART = _ROW_GROUP = 4096


def assigned_table(records: Iterable[AssignedRecord]) -> pa.Table:
    return _table(records, ASSIGNED_SCHEMA)


def pairs_table(records: Iterable[PairRecord]) -> pa.Table:
    return _table(records, PAIRS_SCHEMA, attributes_json=lambda record: _json(record.attributes))


def rejected_table(records: Iterable[RejectedRecord]) -> pa.Table:
    return _table(records, REJECTED_SCHEMA)


def sources_table(records: Iterable[SourceRecord]) -> pa.Table:
    return _table(records, SOURCES_SCHEMA, files_json=lambda record: _json(record.files))


def to_parquet(tables: list[pa.Table]) -> bytes:
    """The rows of tables of one kind, in the order they have in a file. Takes the tables out of the list."""
    table, arrays = pa.concat_tables(tables), []
    schema = table.schema
    tables.clear()
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in _ORDER[schema]])
    for name in schema.names:  # one at a time, so that only one is there twice
        arrays.append(table[name].combine_chunks())
        table = table.drop_columns([name])
    table = pa.Table.from_arrays(arrays, schema=schema)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for first in range(0, max(1, len(table)), _ROW_GROUP):  # each is sorted and encoded in memory
            writer.write_table(table.take(order.slice(first, _ROW_GROUP)))
    data: bytes = sink.getvalue().to_pybytes()
    return data


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


def _table(records: Iterable[Any], schema: pa.Schema, **columns: Callable[[Any], Any]) -> pa.Table:
    """Part by part, for a hundred thousand records would be most of a build's memory; column by column, for so would rows."""
    of_window = {name: _of_window(name) for name in _WINDOW}
    values = {name: columns.get(name) or of_window.get(name) or attrgetter(name) for name in schema.names}
    rest, parts = iter(records), []
    while part := list(islice(rest, _PART)):
        parts.append([pa.array(map(values[field.name], part), type=field.type, size=len(part)) for field in schema])
    return pa.Table.from_batches([pa.RecordBatch.from_arrays(part, schema=schema) for part in parts], schema)


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
