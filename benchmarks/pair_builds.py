"""Claim: what a dataset build costs beside the codecs alone and beside a plain PIL loop, and what a rebuild costs.

Sources are side-by-side JPEG pictures of 1200x600 px, made from those of MAPS_DIR: each is mirrored, turned about and
shifted in brightness by its own number, so that no two are alike.

- Rates, on a share of the sources, interleaved: the build (library call, this process); the codecs alone (the same JPEG
  decoded, the same shards compressed); the plain loop (PIL opens, cuts in two, saves two PNG files with its defaults).
- Rebuilds, on all sources: nothing changed; one source changed.

    python -m benchmarks.pair_builds MAPS_DIR [--sources 2000] [--rounds 5] [--share 160]
"""

from __future__ import annotations

import argparse
import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numcodecs.zstd import Zstd
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.protocol import full_window
from preprocessing.build import BuildSummary, build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import NameSplit

_LAYOUT = StoreLayout()
_ZSTD = Zstd(level=1, checksum=True)  # as the store compresses pairs


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.work) as directory:
        work = Path(directory)
        _make_sources(options.maps, work / "sources", options.sources)
        rates = _rates(work, options.share, options.rounds)
        rebuilds = _rebuilds(work, options.sources)
    write_result("pair-builds", _page(rates, rebuilds, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("maps", type=Path, metavar="MAPS_DIR", help="a directory of 1200x600 px JPEG pictures")
    parser.add_argument("--sources", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=int, default=160, help="so many sources for the rates")
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


def _rates(work: Path, share: int, rounds: int) -> dict[str, list[float]]:
    """Sources a second of each way, a figure a round after one that is not counted."""
    few = work / "few"
    few.mkdir()
    for path in sorted((work / "sources").iterdir())[:share]:
        shutil.copy(path, few / path.name)
    paths = sorted(few.iterdir())
    ways: dict[str, Callable[[Path], object]] = {
        "build": lambda place: _build(few, place / "store"),
        "codecs alone": lambda place: _codecs(paths, place),
        "PIL loop": lambda place: _plain_loop(paths, place),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            place = work / "round"
            place.mkdir()
            started_s = time.perf_counter()
            way(place)
            if number:
                rates[name].append(share / (time.perf_counter() - started_s))
            shutil.rmtree(place)
    return rates


def _codecs(paths: Sequence[Path], place: Path) -> None:
    """Decode and compress as the build does, in shards of the same size, written plainly."""
    per_shard = min(_LAYOUT.pairs_per_shard, max(1, len(paths) // _LAYOUT.num_buckets))
    for start in range(0, len(paths), per_shard):
        halves: list[list[np.ndarray]] = [[], []]
        for path in paths[start : start + per_shard]:
            with ImageRaster(path) as raster:
                pixels_HWC = raster.read(full_window(raster))
            middle = pixels_HWC.shape[1] // 2
            halves[0].append(pixels_HWC[:, :middle])
            halves[1].append(pixels_HWC[:, middle:])
        for side, images in enumerate(halves):
            (place / f"{start}-{side}").write_bytes(b"".join(_ZSTD.encode(np.ascontiguousarray(image)) for image in images))


def _plain_loop(paths: Sequence[Path], place: Path) -> None:
    for path in paths:
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
        middle = rgb.width // 2
        rgb.crop((0, 0, middle, rgb.height)).save(place / f"{path.stem}_A.png")
        rgb.crop((middle, 0, rgb.width, rgb.height)).save(place / f"{path.stem}_B.png")


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


def _page(rates: dict[str, list[float]], rebuilds: dict[str, float], options: argparse.Namespace) -> str:
    medians = {name: statistics.median(values) for name, values in rates.items()}
    head = ("way", "sources/s (median)", "slowest", "fastest", "build is")
    rows = [
        (name, f"{medians[name]:.1f}", f"{min(v):.1f}", f"{max(v):.1f}", f"{medians['build'] / medians[name]:.2f}x")
        for name, v in rates.items()
    ]
    share = 100 * rebuilds["unchanged_s"] / rebuilds["full_s"]
    return f"""# Building pairs of side-by-side pictures of 1200x600 px, in one process

{table(head, rows)}

{options.share} sources, {options.rounds} interleaved rounds after one that is not counted. Codecs alone: the same pictures
decoded and the same shards compressed, nothing else. PIL loop: opens, cuts, saves two PNG files with Pillow's defaults.

{options.sources} sources: the full build took {rebuilds["full_s"]:.1f} s; with nothing changed \
{rebuilds["unchanged_s"]:.2f} s, {share:.1f} % of it (median of 3);
with one source changed {rebuilds["one_s"]:.1f} s, of {rebuilds["buckets_built"]:.0f} bucket; {rebuilds["rewritten"]:.0f} of \
{rebuilds["shards"]:.0f} shard files have other bytes.

{hardware_name()}.

    python -m benchmarks.pair_builds MAPS_DIR --sources {options.sources} --rounds {options.rounds} --share {options.share}
"""


if __name__ == "__main__":
    main()
