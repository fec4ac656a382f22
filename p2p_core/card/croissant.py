"""The card for programs: Croissant 1.0, MLCommons' description of datasets as JSON-LD (docs.mlcommons.org/croissant).

Places are relative to the description's own: the version lies beside `card/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from p2p_core.card.about import About
from p2p_core.card.facts import title
from p2p_core.encodings import encoding
from p2p_core.pairstore.layout import ROLES, SPLITS, array_path
from p2p_core.pairstore.manifest import MANIFEST, FileEntry, Manifest, version_name
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import PAIRS_TABLE, REJECTED_TABLE, SOURCES_TABLE
from p2p_core.pairstore.versions import VERSIONS

__all__ = ["COLUMNS", "CROISSANT", "croissant"]

CROISSANT = "croissant.json"

Json = dict[str, Any]

_CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The specification's own, word for word: readers compare it."""

_TABLES = {
    PAIRS_TABLE: ("pairs", "Every pair: where it lies in the arrays, where it came from, and the sha256 of its pixels."),
    REJECTED_TABLE: ("rejected", "Every item that is not in the dataset, and why."),
    SOURCES_TABLE: ("sources", "Every source the dataset was built from, with the digest of what was read of it."),
}
_MANIFEST = "The builder and every setting, counts, statistics, and the sha256 and size of every file."
_KEYS = {"pairs": "pair_id", "sources": "source_id"}

COLUMNS = {
    "pair_id": "The pair's name; no other pair has it.",
    "source_id": "The source the item came from.",
    "split": "The split the pair is in.",
    "slot": "The index of the pair in both arrays of its split.",
    "input_sha256": "sha256 of the input's pixels in C order.",
    "target_sha256": "sha256 of the target's pixels in C order.",
    "y_px": "First row of its place in the target raster; absent for whole pictures.",
    "x_px": "First column of its place in the target raster; absent for whole pictures.",
    "height_px": "Rows of its place in the target raster; absent for whole pictures.",
    "width_px": "Columns of its place in the target raster; absent for whole pictures.",
    "attributes_json": "What the builder noted of the pair: a JSON object of texts.",
    "item": "The item's name.",
    "reason": "Why it was rejected, as a short word to count by.",
    "detail": "Why it was rejected, for people.",
    "thumbnail": "A small picture of the item, as JPEG; absent where there is none.",
    "digest": "sha256 of everything that was read of the source.",
    "files_json": "The sha256 of each of its files: a JSON object by name.",
}
"""What each column of the tables means."""

_SPLIT_URLS = {"train": "cr:TrainingSplit", "val": "cr:ValidationSplit", "test": "cr:TestSplit"}


def croissant(store: PairStore, about: About) -> Json:
    """The description of one version. What is not known (licence, creator, date) is left out."""
    manifest = store.manifest
    given = {
        "license": about.licence,
        "creator": about.creator and {"@type": "Organization", "name": about.creator},
        "citeAs": about.cite_as,
        "url": about.url,
        "datePublished": about.date_published and about.date_published.isoformat(),
    }
    return {
        "@context": _CONTEXT,
        "@type": "Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": title(manifest, about),
        "description": about.description or _description(manifest),
        "version": f"{manifest.schema_version}.0.0+{version_name(manifest.digest)}",
        "identifier": f"sha256:{manifest.digest}",
        "keywords": ["image-to-image translation", "pix2pix", manifest.builder],
        "isLiveDataset": False,
        **{name: value for name, value in given.items() if value},
        "distribution": [*_file_objects(store), *_file_sets(manifest)],
        "recordSet": [_split_records(), *(_table_records(store, table) for table in _TABLES)],
    }


def _description(manifest: Manifest) -> str:
    counts = ", ".join(f"{manifest.counts[split]:,} {split}" for split in SPLITS)
    return (
        f"Pairs of an input ({manifest.input_encoding}) and a target picture ({manifest.target_encoding}) of "
        f"{manifest.width_px} x {manifest.height_px} px for paired image-to-image translation: {counts}. "
        f"Made by the builder {manifest.builder} from {manifest.num_sources:,} sources."
    )


def _file_objects(store: PairStore) -> list[Json]:
    manifest = store.manifest
    place = f"../{VERSIONS}/{version_name(manifest.digest)}"
    directory = {
        "@type": "cr:FileObject",
        "@id": "version",
        "name": "version",
        "description": "The directory of this version. Its sha256 is the digest in the manifest, which covers every file.",
        "contentUrl": place,
        "encodingFormat": "application/vnd+zarr",
        "sha256": manifest.digest,
    }
    described = {
        MANIFEST: (FileEntry.of((store.version_path / MANIFEST).read_bytes()), "application/json", _MANIFEST),
        **{table: (manifest.files[table], "application/x-parquet", text) for table, (_, text) in _TABLES.items()},
    }
    files = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "description": description,
            "contentUrl": f"{place}/{name}",
            "contentSize": f"{entry.size_bytes} B",
            "encodingFormat": kind,
            "sha256": entry.sha256,
        }
        for name, (entry, kind, description) in described.items()
    ]
    return [directory, *files]


def _file_sets(manifest: Manifest) -> list[Json]:
    names = {"input": encoding(manifest.input_encoding), "target": encoding(manifest.target_encoding)}
    return [
        {
            "@type": "cr:FileSet",
            "@id": array_path(split, role),
            "name": array_path(split, role),
            "description": (
                f"The {role}s of the {split} split: a Zarr v3 array of {manifest.dtype}, shape ({manifest.num_slots}, "
                f"{manifest.height_px}, {manifest.width_px}, {names[role].bands}) = (slot, y, x, band), one pair a chunk, "
                f"{manifest.layout.pairs_per_shard} pairs a shard; encoding {names[role].name}."
            ),
            "containedIn": {"@id": "version"},
            "encodingFormat": "application/vnd+zarr",
            "includes": f"{array_path(split, role)}/**",
        }
        for split in SPLITS
        if manifest.counts[split]
        for role in ROLES
    ]


def _split_records() -> Json:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits and what each is for.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "name": "url", "dataType": "sc:URL"},
        ],
        "data": [{"splits/name": split, "splits/url": url} for split, url in _SPLIT_URLS.items()],
    }


def _table_records(store: PairStore, table: str) -> Json:
    name, description = _TABLES[table]
    key = {"key": {"@id": f"{name}/{_KEYS[name]}"}} if name in _KEYS else {}
    fields = [_field(name, table, column) for column in _columns(store.version_path / table)]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": description, **key, "field": fields}


def _columns(path: Path) -> list[pa.Field]:
    return list(pq.read_schema(path))


def _field(name: str, table: str, column: pa.Field) -> Json:
    field = {
        "@type": "cr:Field",
        "@id": f"{name}/{column.name}",
        "name": column.name,
        "description": COLUMNS[column.name],
        "dataType": _data_type(column.type),
        "source": {"fileObject": {"@id": table}, "extract": {"column": column.name}},
    }
    return field | ({"references": {"field": {"@id": "splits/name"}}} if column.name == "split" else {})


def _data_type(kind: pa.DataType) -> str:
    """Bytes are pictures: no table of a store has any other."""
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:ImageObject" if pa.types.is_binary(kind) else "sc:Text"
