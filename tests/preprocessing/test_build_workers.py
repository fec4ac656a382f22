"""The same bytes for 1, 2 and 8 processes, and for builds that are killed anywhere, again and again."""

from __future__ import annotations

import multiprocessing
import random
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest

from p2p_core.pairstore import PairStore, verify_store
from p2p_core.pairstore.layout import StoreLayout
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import Fractions, NameSplit

LAYOUT = StoreLayout(num_buckets=8, pairs_per_shard=4)
SPLIT = NameSplit(fractions=Fractions(train=0.6, val=0.2, test=0.2))


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """New processes in milliseconds: the libraries are imported once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preprocessing.build", "preprocessing.folders"])
    return context


@pytest.fixture
def builder(tmp_path: Path, picture, save_picture) -> FoldersBuilder:
    """60 side-by-side pictures of 2 x 16x16 px, one of them broken."""
    for i in range(60):
        save_picture(tmp_path / "photos" / f"{i:03d}.png", picture(16, 32, seed=i))
    (tmp_path / "photos" / "007.png").write_bytes(b"broken")
    return FoldersBuilder((tmp_path / "photos",), FoldersParameters(layout="side_by_side"))


def test_1_2_and_8_processes_make_the_same_bytes_in_every_file(tmp_path, builder, processes, tree) -> None:
    build_dataset(builder, tmp_path / "alone", SPLIT, layout=LAYOUT)
    expected = tree(tmp_path / "alone")
    assert len(expected) > 40
    for count in (1, 2, 8):
        with ProcessPoolExecutor(count, mp_context=processes) as executor:
            made = build_dataset(builder, tmp_path / f"by{count}", SPLIT, layout=LAYOUT, executor=executor)
        assert made.num_buckets_built == LAYOUT.num_buckets
        assert tree(tmp_path / f"by{count}") == expected


def build_and_kill(builder: FoldersBuilder, out: Path, processes: ForkServerContext, delay_s: float | None) -> float:
    """Build in a process, killed after `delay_s`; returns how long it was there, in seconds."""
    process = processes.Process(target=build_dataset, args=(builder, out, SPLIT), kwargs={"layout": LAYOUT})
    started_s = time.monotonic()
    process.start()
    process.join(delay_s)
    process.kill()
    process.join()
    assert delay_s is not None or process.exitcode == 0
    return time.monotonic() - started_s


def killed_at_random(place: Path, builder: FoldersBuilder, processes: ForkServerContext, tree, *, num_hits: int) -> None:
    """Builds that are killed up to three times each, until so many kills have hit one that was under way."""
    build_and_kill(builder, place / "warm", processes, None)  # the server of new processes starts with the first
    took_s = build_and_kill(builder, place / "clean", processes, None)
    expected = tree(place / "clean")
    for seed in range(10 * num_hits):
        rng, out = random.Random(seed), place / f"killed{seed}"
        for _ in range(3):
            build_and_kill(builder, out, processes, rng.uniform(0.1, 0.9) * took_s)
            num_hits -= (out / "building").is_dir()
        build_and_kill(builder, out, processes, None)
        assert tree(out) == expected  # and so no temporary file is left
        assert verify_store(out) == []
        if num_hits <= 0:
            return
    pytest.fail("the kills did not hit builds that were under way")


def test_a_build_killed_at_random_moments_ends_in_identical_bytes(tmp_path, builder, processes, tree) -> None:
    killed_at_random(tmp_path, builder, processes, tree, num_hits=2)


@pytest.mark.stress
def test_a_build_killed_at_many_random_moments_ends_in_identical_bytes(tmp_path, builder, processes, tree) -> None:
    killed_at_random(tmp_path, builder, processes, tree, num_hits=100)


def changed_shards(before: PairStore, after: PairStore) -> set[str]:
    was, now = before.manifest.files, after.manifest.files
    return {name for name in was | now if "/c/" in name and was.get(name) != now.get(name)}


def test_one_changed_source_of_2000_changes_its_input_and_its_target_shard_and_decodes_its_bucket(
    tmp_path, made_builder
) -> None:
    """With the default layout; a source of more pairs moves the others of its bucket, and nobody else's."""
    content: dict[str, list[int | None]] = {f"s{i:04d}": [2 * i] for i in range(2000)}
    layout = StoreLayout()
    before = build_dataset(made_builder(content), tmp_path, SPLIT, layout=layout)
    rng = np.random.default_rng(0)
    name = f"s{rng.integers(2000):04d}"
    bucket = layout.bucket_of(name)
    for seeds, at_most in (([9001], 2), ([9003, 9005, 9007], None)):
        builder = made_builder({**content, name: seeds})
        after = build_dataset(builder, tmp_path, SPLIT, layout=layout)
        changed = changed_shards(PairStore.open(before.version_path), PairStore.open(after.version_path))
        assert changed
        assert {int(shard.split("/")[3]) % layout.num_buckets for shard in changed} == {bucket}
        assert at_most is None or len(changed) <= at_most
        assert (after.num_buckets_built, after.num_buckets_reused) == (1, layout.num_buckets - 1)
        assert set(builder.built) == {source for source in content if layout.bucket_of(source) == bucket}
        before = after
