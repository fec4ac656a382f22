"""The card for people: `README.md` as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from p2p_core.card.about import About
from p2p_core.card.croissant import CROISSANT
from p2p_core.card.facts import attributes, both_bands, rejected_shown, settings, size_mb, sources_digest, title
from p2p_core.encodings import encoding
from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.manifest import Manifest, version_name
from p2p_core.pairstore.reader import PairStore

__all__ = ["PAIRS_PICTURE", "REJECTED_PICTURE", "REJECTED_SHOWN", "markdown_text", "readme"]

PAIRS_PICTURE, REJECTED_PICTURE = "pairs.png", "rejected.png"
REJECTED_SHOWN = 12
"""Rejected items shown of each reason; there may be one for every tile of a country."""
_LISTED, _SOURCES_LISTED = 10, 10


def readme(store: PairStore, about: About, *, has_rejected_picture: bool) -> str:
    """The whole card, of `store` alone: no time and no place is in it."""
    manifest = store.manifest
    num_pairs = sum(manifest.counts.values())
    parts = [
        f"# {markdown_text(title(manifest, about))}",
        markdown_text(about.description) if about.description else "",
        f"{num_pairs:,} pairs of an input and a target picture, for paired image-to-image translation, from "
        f"{manifest.num_sources:,} sources. Made by `p2p build {manifest.builder}`; this page is made anew with every version.",
        _table(("", ""), _facts(manifest, about)),
        f"## Pairs\n\n![Some pairs of each split, input beside target]({PAIRS_PICTURE})",
        _table(("split", "pairs", "share"), _split_rows(manifest)),
        _moved(manifest),
        _rejected(store, has_rejected_picture=has_rejected_picture),
        _statistics(manifest),
        _attributes(store),
        _built(manifest),
        _provenance(store),
        _loading(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(manifest: Manifest, about: About) -> list[tuple[str, str]]:
    source, target = encoding(manifest.input_encoding), encoding(manifest.target_encoding)
    given = {
        "creator": about.creator,
        "home page": about.url,
        "published": about.date_published and about.date_published.isoformat(),
        "cite as": about.cite_as,
    }
    return [
        ("licence", markdown_text(about.licence) if about.licence else "unknown: none was given with the build"),
        *((name, markdown_text(value)) for name, value in given.items() if value),
        ("input", f"`{source.name}`, {', '.join(source.band_names)}, {manifest.dtype}"),
        ("target", f"`{target.name}`, {', '.join(target.band_names)}, {manifest.dtype}"),
        ("size of a picture", f"{manifest.width_px} x {manifest.height_px} px (width x height)"),
        ("size on disk", f"{size_mb(manifest):,.1f} MB in {len(manifest.files):,} files"),
        ("digest (sha256)", f"`{manifest.digest}`"),
    ]


def _split_rows(manifest: Manifest) -> list[tuple[str, str, str]]:
    num_pairs = sum(manifest.counts.values())
    counts = [(split, manifest.counts[split]) for split in SPLITS]
    return [(split, f"{count:,}", f"{100 * count / num_pairs:.1f} %") for split, count in counts]


def _moved(manifest: Manifest) -> str:
    if not manifest.num_moved:
        return ""
    return f"{manifest.num_moved:,} of them are not in the split of the rule, because a near duplicate is in another."


def _rejected(store: PairStore, *, has_rejected_picture: bool) -> str:
    counts = store.manifest.rejected
    if not counts:
        return "## Rejected\n\nNothing was rejected."
    shown = rejected_shown(store, _LISTED)
    rows = [
        (
            markdown_text(reason) if not i else "",
            f"{counts[reason]:,}" if not i else "",
            markdown_text(record.item),
            markdown_text(record.detail),
        )
        for reason, records in shown.items()
        for i, record in enumerate(records)
    ]
    picture = f"![Some rejected items, by reason]({REJECTED_PICTURE})" if has_rejected_picture else ""
    told = f"Left out: {sum(counts.values()):,}. At most {_LISTED} of each reason are here; `rejected.parquet` has all of them."
    parts = ["## Rejected", told, picture, _table(("reason", "items", "for example", "detail"), rows)]
    return "\n\n".join(part for part in parts if part)


def _statistics(manifest: Manifest) -> str:
    rows = [(side, band.name, f"{band.mean:.2f}", f"{band.std:.2f}") for side, band in both_bands(manifest)]
    if not rows:
        return ""
    told = "Of the training split's stored pixels, in grey levels of 0 to 255."
    return f"## Statistics\n\n{told}\n\n{_table(('', 'band', 'mean', 'standard deviation'), rows)}"


def _attributes(store: PairStore) -> str:
    rows = [(f"`{a.name}`", f"{a.num_pairs:,}", markdown_text(a.text)) for a in attributes(store.pairs)]
    if not rows:
        return ""
    told = "What the builder noted of pairs, in the column `attributes_json` of `pairs.parquet`."
    return f"## Attributes\n\n{told}\n\n{_table(('attribute', 'pairs that have it', 'values'), rows)}"


def _built(manifest: Manifest) -> str:
    rows = [(f"`{name}`", markdown_text(value)) for name, value in settings(manifest).items()]
    return f"## How it was built\n\n{_table(('setting', 'value'), rows)}"


def _provenance(store: PairStore) -> str:
    sources, manifest = store.sources, store.manifest
    rows = [(markdown_text(source.source_id), f"`{source.digest}`") for source in sources[:_SOURCES_LISTED]]
    more = f" The first {len(rows)} are listed here." if len(sources) > len(rows) else ""
    lines = [
        f"{len(sources):,} sources; `sources.parquet` has each with its digest and the sha256 of its files.{more} "
        f"All digests together have the sha256 `{sources_digest(sources)}`."
    ]
    if manifest.detector_weights_sha256:
        lines.append(f"A trained network took part; its weights have the sha256 `{manifest.detector_weights_sha256}`.")
    lines.append("The same sources and settings give the same bytes: `p2p verify` re-hashes every file against the manifest.")
    return "\n\n".join(["## Provenance", *lines, _table(("source", "digest"), rows)])


_LOADING = """## How to load it

`STORE` is the directory that holds `card/`. With this project's reader, which takes the current version:

```python
from pathlib import Path

from p2p_core.pairstore import PairStore

store = PairStore.open(Path("STORE"))
split = store.split("{split}")
input_HWC, target_HWC = split.read(0)  # {dtype}, {input_shape} and {target_shape}
```

With zarr and pyarrow alone, from this very version:

```python
import pyarrow.parquet
import zarr

version = "STORE/versions/{version}"
pairs = pyarrow.parquet.ParquetFile(f"{{version}}/pairs.parquet").read().to_pylist()
pair = next(pair for pair in pairs if pair["split"] == "{split}")
input_HWC = zarr.open_array(f"{{version}}/{split}/input", mode="r")[pair["slot"]]
target_HWC = zarr.open_array(f"{{version}}/{split}/target", mode="r")[pair["slot"]]
```

Slots that no row of `pairs.parquet` names are empty. [{croissant}]({croissant}) says the same for programs (Croissant 1.0)."""


def _loading(manifest: Manifest) -> str:
    height_px, width_px = manifest.height_px, manifest.width_px
    return _LOADING.format(
        split=next(split for split in SPLITS if manifest.counts[split]),
        version=version_name(manifest.digest),
        dtype=manifest.dtype,
        input_shape=(height_px, width_px, encoding(manifest.input_encoding).bands),
        target_shape=(height_px, width_px, encoding(manifest.target_encoding).bands),
        croissant=CROISSANT,
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """A name or a sentence as it is: on one line, no character of it Markdown or HTML."""
    return re.sub(r"([\\`*\[\]<>|#~$]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split()))
