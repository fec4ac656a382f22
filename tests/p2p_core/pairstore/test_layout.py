from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from p2p_core.pairstore.layout import StoreLayout

layouts = st.builds(StoreLayout, num_buckets=st.integers(1, 40), pairs_per_shard=st.integers(1, 20))


@given(layouts, st.lists(st.integers(0, 60), max_size=40))
def test_every_pair_has_a_slot_of_its_own_within_the_array(layout: StoreLayout, sizes: list[int]) -> None:
    sizes = sizes[: layout.num_buckets]
    slots = [layout.slot(bucket, position) for bucket, size in enumerate(sizes) for position in range(size)]
    assert len(set(slots)) == len(slots)
    assert all(0 <= slot < layout.num_slots(sizes) for slot in slots)


@given(layouts, st.lists(st.integers(0, 60), max_size=40))
def test_a_shard_belongs_to_one_bucket(layout: StoreLayout, sizes: list[int]) -> None:
    owners: dict[int, set[int]] = {}
    for bucket, size in enumerate(sizes[: layout.num_buckets]):
        for position in range(size):
            owners.setdefault(layout.slot(bucket, position) // layout.pairs_per_shard, set()).add(bucket)
    assert all(len(buckets) == 1 for buckets in owners.values())


@given(layouts, st.integers(0, 39), st.integers(0, 200))
def test_a_buckets_slots_do_not_depend_on_other_buckets_or_later_pairs(layout: StoreLayout, bucket: int, size: int) -> None:
    slots = [layout.slot(bucket, position) for position in range(size)]
    assert slots == sorted(slots)
    assert slots[: size // 2] == [layout.slot(bucket, position) for position in range(size // 2)]


def test_sources_spread_over_buckets_the_same_way_in_every_process() -> None:
    layout = StoreLayout(num_buckets=8)
    counts = Counter(layout.bucket_of(f"photo{i}") for i in range(4000))
    assert set(counts) == set(range(8))
    assert max(counts.values()) < 1.3 * min(counts.values())
    assert [layout.bucket_of(name) for name in ("a", "b", "ü")] == [2, 2, 4]  # frozen: stores on disk depend on it
