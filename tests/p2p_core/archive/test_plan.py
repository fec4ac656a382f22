"""The plan: every pixel in exactly one core, every window on the lattice and of one shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p_core.archive.plan import ArchivePlan, mirror_indices, mirrored_window, plan_archive
from p2p_core.errors import PlanError
from p2p_core.geometry import Window

unhurried = settings(deadline=None)  # other work on the machine is no failure


@st.composite
def plans(draw: st.DrawFn) -> ArchivePlan:
    lattice_px = 2 ** draw(st.integers(1, 5))
    core_px = lattice_px * draw(st.integers(1, 4))
    shard_px = core_px * draw(st.integers(1, 3))
    chunk_px = draw(st.sampled_from([size for size in range(1, shard_px + 1) if shard_px % size == 0]))
    return plan_archive(
        draw(st.integers(1, 200)),
        draw(st.integers(1, 200)),
        lattice_px=lattice_px,
        halo_px=draw(st.integers(0, 60)),
        core_px=core_px,
        shard_px=shard_px,
        chunk_px=chunk_px,
    )


@unhurried
@given(plans())
def test_cores_and_blocks_cover_every_pixel_once(plan: ArchivePlan) -> None:
    by_cores = np.zeros((plan.height_px, plan.width_px), int)
    by_blocks = np.zeros_like(by_cores)
    for block in plan.blocks():
        by_blocks[block.window.slices] += 1
        for core in plan.cores(block):
            by_cores[core.clip(plan.height_px, plan.width_px).slices] += 1
            assert block.window.contains(core.clip(plan.height_px, plan.width_px))
    assert (by_cores == 1).all()
    assert (by_blocks == 1).all()


@unhurried
@given(plans())
def test_windows_lie_on_the_lattice_and_have_one_shape(plan: ArchivePlan) -> None:
    windows = [plan.window(core) for block in plan.blocks() for core in plan.cores(block)]
    assert {(w.height_px, w.width_px) for w in windows} == {(plan.window_px, plan.window_px)}
    assert all(w.y_px % plan.lattice_px == 0 and w.x_px % plan.lattice_px == 0 for w in windows)
    assert plan.window_px % plan.lattice_px == 0
    assert len(windows) == plan.num_windows


@unhurried
@given(plans())
def test_the_halo_is_never_less_than_the_model_asked_for(plan: ArchivePlan) -> None:
    again = plan_archive(
        plan.height_px,
        plan.width_px,
        lattice_px=plan.lattice_px,
        halo_px=plan.halo_px - plan.lattice_px + 1 if plan.halo_px else 0,
        core_px=plan.core_px,
        shard_px=plan.shard_px,
        chunk_px=plan.chunk_px,
    )
    assert again == plan  # rounded up to the lattice, and the same arguments give the same plan
    assert list(again.blocks()) == list(plan.blocks())
    assert len(list(plan.blocks())) == len(plan)


@unhurried
@given(plans())
def test_overhead_counts_the_pixels_that_are_computed(plan: ArchivePlan) -> None:
    computed_px = sum(plan.window(core).height_px * plan.window(core).width_px for b in plan.blocks() for core in plan.cores(b))
    assert plan.overhead == pytest.approx(computed_px / (plan.height_px * plan.width_px))
    assert plan.overhead >= 1


@unhurried
@given(size_px=st.integers(1, 20), before_px=st.integers(0, 70), after_px=st.integers(0, 70))
def test_mirroring_is_numpys_reflect_however_far_it_reaches(size_px: int, before_px: int, after_px: int) -> None:
    expected = np.pad(np.arange(size_px), (before_px, after_px), mode="reflect")
    assert (mirror_indices(-before_px, size_px + after_px, size_px) == expected).all()


@unhurried
@given(
    height_px=st.integers(1, 12),
    width_px=st.integers(1, 12),
    y_px=st.integers(-30, 30),
    x_px=st.integers(-30, 30),
    side_px=st.integers(1, 30),
)
def test_a_mirrored_window_reads_only_inside_the_scene(
    height_px: int, width_px: int, y_px: int, x_px: int, side_px: int
) -> None:
    scene = np.arange(height_px * width_px, dtype=np.uint8).reshape(height_px, width_px, 1)
    mirrored = mirrored_window(Window(y_px, x_px, side_px, side_px), height_px, width_px)
    assert Window(0, 0, height_px, width_px).contains(mirrored.source)
    whole = np.pad(scene, ((70, 70), (70, 70), (0, 0)), mode="reflect")
    taken = mirrored.take(scene[mirrored.source.slices])
    assert (taken == whole[y_px + 70 : y_px + 70 + side_px, x_px + 70 : x_px + 70 + side_px]).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"core_px": 40}, r"core_px=40 is not a multiple of lattice_px=32.*core_px=64"),
        ({"shard_px": 96}, r"shard_px=96 is not a multiple of core_px=64.*shard_px=128"),
        ({"chunk_px": 48}, r"shard_px=128 is not a multiple of chunk_px=48.*chunk_px=16"),
        ({"core_px": 0}, r"core_px=0 is no size"),
        ({"halo_px": -1}, r"halo_px=-1 is negative"),
    ],
)
def test_a_misaligned_plan_is_refused_with_the_size_that_would_do(sizes: dict[str, int], message: str) -> None:
    aligned = {"lattice_px": 32, "halo_px": 20, "core_px": 64, "shard_px": 128, "chunk_px": 64}
    assert plan_archive(100, 100, **aligned)
    with pytest.raises(PlanError, match=message):
        plan_archive(100, 100, **(aligned | sizes))


def test_an_empty_scene_is_refused() -> None:
    with pytest.raises(PlanError, match="no pixels"):
        plan_archive(0, 10, lattice_px=1, halo_px=0)
