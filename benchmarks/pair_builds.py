"""Claim: a rebuild costs what changed: next to nothing where nothing did, one bucket where one source did.

Sources are side-by-side JPEG pictures of 1200x600 px, made from those of MAPS_DIR: each is mirrored, turned about and
shifted in brightness by its own number, so that no two are alike. What a build itself costs, `pair_rates` measures.

    python -m benchmarks.pair_builds MAPS_DIR [--sources 2000]
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from p2p_core.pairstore.layout import StoreLayout
from preprocessing.build import BuildSummary, build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import NameSplit

_LAYOUT = StoreLayout()


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.work) as directory:
        work = Path(directory)
        _make_sources(options.maps, work / "sources", options.sources)
        rebuilds = _rebuilds(work, options.sources)
    write_result("pair-builds", _page(rebuilds, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("maps", type=Path, metavar="MAPS_DIR", help="a directory of 1200x600 px JPEG pictures")
    parser.add_argument("--sources", type=int, default=2000)
    parser.add_argument("--work", type=Path, default=None, metavar="DIR", help="where sources and stores are made")
    return parser.parse_args()


def _make_sources(maps: Path, out: Path, count: int) -> None:
    found = sorted(maps.rglob("*.jpg"))
    out.mkdir()
    for number in range(count):
        with Image.open(found[number % len(found)]) as picture:
            turn = number // len(found)
            varied = ImageEnhance.Brightness(picture.convert("RGB")).enhance(1 - 0.01 * (turn % 8))
            varied = ImageOps.mirror(varied) if turn % 2 else varied
            (ImageOps.flip(varied) if turn % 4 > 1 else varied).save(out / f"{number:05d}.jpg", quality=90)


def _build(sources: Path, store: Path) -> BuildSummary:
    builder = FoldersBuilder((sources,), FoldersParameters(layout="side_by_side"))
    # Thousands of sources made of 150 pictures are near duplicates: moving them would build most pairs twice.
    return build_dataset(builder, store, NameSplit(near_duplicates="keep"), layout=_LAYOUT)


def _rebuilds(work: Path, count: int) -> dict[str, float]:
    sources, store = work / "sources", work / "store"
    full_s, _ = _timed(sources, store)
    unchanged_s = []
    for _ in range(3):
        took_s, summary = _timed(sources, store)
        assert summary.unchanged
        unchanged_s.append(took_s)
    before = _shards(store)
    changed = sources / f"{count // 2:05d}.jpg"
    with Image.open(changed) as picture:
        buffer = io.BytesIO()
        ImageOps.invert(picture.convert("RGB")).save(buffer, "JPEG", quality=90)
    changed.write_bytes(buffer.getvalue())
    one_s, summary = _timed(sources, store)
    after = _shards(store)
    return {
        "full_s": full_s,
        "unchanged_s": statistics.median(unchanged_s),
        "one_s": one_s,
        "shards": len(after),
        "rewritten": sum(before.get(name) != inode for name, inode in after.items()),
        "buckets_built": summary.num_buckets_built,
    }


def _timed(sources: Path, store: Path) -> tuple[float, BuildSummary]:
    started_s = time.perf_counter()
    summary = _build(sources, store)
    return time.perf_counter() - started_s, summary


def _shards(store: Path) -> dict[str, bytes]:
    """The shard files of the current version and their digests as the manifest has them."""
    from p2p_core.pairstore.reader import PairStore

    files = PairStore.open(store).manifest.files
    return {name: entry.sha256.encode() for name, entry in files.items() if "/c/" in name}


def _page(rebuilds: dict[str, float], options: argparse.Namespace) -> str:
    share = 100 * rebuilds["unchanged_s"] / rebuilds["full_s"]
    rows = [
        ("full", f"{rebuilds['full_s']:.1f}", f"{_LAYOUT.num_buckets}"),
        ("nothing changed", f"{rebuilds['unchanged_s']:.2f}", "0"),
        ("one source changed", f"{rebuilds['one_s']:.1f}", f"{rebuilds['buckets_built']:.0f}"),
    ]
    return f"""# Rebuilding a dataset of side-by-side pictures of 1200x600 px, in one process

{table(("build", "seconds", "buckets built"), rows)}

{options.sources} sources. With nothing changed: median of 3, {share:.1f} % of the full build. With one source changed
{rebuilds["rewritten"]:.0f} of {rebuilds["shards"]:.0f} shard files have other bytes.

{hardware_name()}.

    python -m benchmarks.pair_builds MAPS_DIR --sources {options.sources}
"""


if __name__ == "__main__":
    main()
