"""The parts the page is made of: previews, charts, tables, the split map and the seam pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from p2p_core.geometry import Window
from p2p_core.rasters.registry import open_raster
from p2p_core.report import pictures
from p2p_core.report.charts import bin_means, line_chart, nice_ticks
from p2p_core.report.figures import training_sheets
from p2p_core.report.page import verdict
from p2p_core.report.pictures import picture, preview, read_preview
from p2p_core.report.records import Demo, Evaluation, NotMade, Promotion, Scores, read_metrics
from p2p_core.report.seams import Job, SeamCheck, borders_path, corners
from p2p_core.report.split_map import split_map, tiles_path
from p2p_core.report.tables import facts, score_table, step_rows

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


def save_image(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_preview_is_the_mean_of_whole_blocks(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    shown = read_preview(save_image(tmp_path / "a.png", pixels), longest_px=16)
    blocks = pixels[:30, :45].reshape(10, 3, 15, 3, 3).mean(axis=(1, 3))
    assert_array_equal(shown, np.rint(blocks).astype(np.uint8))


def test_preview_of_a_small_picture_is_the_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert_array_equal(read_preview(save_image(tmp_path / "a.png", pixels), longest_px=30), pixels)


def test_preview_does_not_depend_on_how_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (101, 37, 3), dtype=np.uint8)
    path = save_image(tmp_path / "a.png", pixels)
    at_once = read_preview(path, longest_px=25)
    monkeypatch.setattr(pictures, "STRIP_PIXELS", 400)
    assert_array_equal(read_preview(path, longest_px=25), at_once)


def test_preview_of_a_thin_or_gray_picture_is_rgb(tmp_path: Path) -> None:
    with open_raster(save_image(tmp_path / "a.png", np.full((2, 500), 7, dtype=np.uint8))) as raster:
        assert_array_equal(preview(raster, longest_px=10), np.full((1, 10, 3), 7, dtype=np.uint8))


def test_pictures_are_narrowed_but_never_widened() -> None:
    wide = np.zeros((20, 100, 3), dtype=np.uint8)
    assert (picture(wide, "x", width_px=50).width_px, picture(wide, "x", width_px=50).height_px) == (50, 10)
    assert picture(wide, "x", width_px=500).width_px == 100


@given(NUMBERS, NUMBERS)
def test_ticks_are_ascending_and_inside_their_range(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    ticks = nice_ticks(low, high)
    slack = (high - low) * 1e-6
    assert ticks == sorted(set(ticks))
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert len(ticks) <= 11


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=400))
def test_lines_stay_inside_their_chart(points: list[tuple[float, float]]) -> None:
    chart = line_chart("t", {"a": sorted(points)}, x_label="x", y_label="y")
    coordinates = [tuple(map(float, pair.split())) for pair in re.findall(r"-?[\d.]+ -?[\d.]+", chart.lines[0].path)]
    assert coordinates
    assert all(
        chart.left - 0.1 <= x <= chart.right + 0.1 and chart.top - 0.1 <= y <= chart.bottom + 0.1 for x, y in coordinates
    )


@given(st.integers(1, 1000), st.integers(1, 50))
def test_averaging_in_bins_keeps_the_mean_of_equal_values_and_the_order(num_points: int, max_points: int) -> None:
    means = bin_means([(float(i), 3.0) for i in range(num_points)], max_points)
    assert len(means) == min(num_points, max_points)
    assert [y for _, y in means] == pytest.approx([3.0] * len(means))
    assert [x for x, _ in means] == sorted({x for x, _ in means})


def test_a_series_without_finite_values_is_left_out() -> None:
    chart = line_chart("t", {"bad": [(0, float("nan"))], "none": [], "good": [(0, 1), (1, 2)]}, x_label="x", y_label="y")
    assert [line.label for line in chart.lines] == ["good"]


def scores(l1: float, ratio: float | None = None) -> Scores:
    return Scores(l1=l1, psnr_db=20.0, ssim=l1 / 100, gradient_energy_ratio=ratio)


def best_rows(evaluation: Evaluation, column: int) -> list[str]:
    return [row.label for row in score_table(evaluation).rows if row.cells[column].best]


def test_the_best_of_every_column_is_marked_by_what_is_better_there() -> None:
    values = {"identity": scores(60, 2.5), "model": scores(18, 0.5), "affine": scores(21, 1.7)}
    evaluation = Evaluation(split="test", num_images=3, scores=values)
    assert [row.label for row in score_table(evaluation).rows] == ["The model", "Affine colour fit", "Identity"]
    assert best_rows(evaluation, 0) == ["The model"], "a low L1 is good"
    assert best_rows(evaluation, 1) == ["The model", "Affine colour fit", "Identity"], "a tie"
    assert best_rows(evaluation, 2) == ["Identity"], "a high SSIM is good"
    assert best_rows(evaluation, 3) == ["Affine colour fit"], "1.7 is nearer to 1 than 0.5 as a ratio"


def test_scores_that_were_not_taken_or_have_no_rival_are_not_marked() -> None:
    evaluation = Evaluation(split="val", num_images=1, scores={"model": scores(18)})
    assert [cell.text for cell in score_table(evaluation).rows[0].cells[3:]] == ["not taken", "not taken"]
    assert not any(cell.best for cell in score_table(evaluation).rows[0].cells)


def test_the_longest_step_has_the_full_bar_and_reuse_is_kept() -> None:
    steps = [
        {"name": "a", "elapsed_s": 30.0},
        {"name": "b", "elapsed_s": 120.0},
        {"name": "c", "elapsed_s": 0.0, "reused": True},
    ]
    rows = step_rows(Demo.model_validate({"steps": steps}))
    assert [(row.percent, row.duration, row.reused) for row in rows] == [
        (25.0, "30 s", False),
        (100.0, "2 min 00 s", False),
        (0.0, "0.0 s", True),
    ]


def test_nested_facts_carry_the_name_of_their_group() -> None:
    assert facts({"output": {"scene": "e", "cut_px": [1, 2]}, "none": None}) == (
        ("output scene", "e"),
        ("output cut px", "1, 2"),
    )


def test_the_verdict_is_the_gates_and_only_then_the_demos() -> None:
    refused = Promotion(promoted=False, reason="worse")
    assert not verdict(refused, Demo(promoted=True)).promoted
    assert verdict(NotMade("gone"), Demo(promoted=True)).promoted
    assert "not run" in verdict(NotMade("gone"), Demo()).text


def test_split_map_counts_and_draws_every_tile_and_the_reserved_ground(demo: Path) -> None:
    drawn = split_map(demo)
    layers = {layer.name: layer for layer in drawn.layers}
    assert drawn.layers[0].name == "rejected", "the others are drawn over it"
    assert set(layers) == {"rejected", "train", "val", "test"}
    for layer in drawn.layers:
        assert layer.path.count("M") == layer.count > 0
    assert sum(rejection.count for rejection in drawn.rejections) == layers["rejected"].count
    assert [r.reason for r in drawn.rejections[:1]] == [max(drawn.rejections, key=lambda r: r.count).reason]
    assert "blocks of 60 px" in drawn.rule
    assert "at least 8 px apart" in drawn.rule
    assert drawn.reserved == (Window(35, 135, 200, 135),)


def test_tiles_are_rectangles_in_pixels_of_the_target() -> None:
    assert tiles_path([Window(10, 20, 3, 5), None]) == "M20 10h5v3h-5z"


def test_the_sheets_shown_begin_with_the_first_and_end_with_the_last(demo: Path) -> None:
    labels = [sheet.label for sheet in training_sheets(demo / "run")]
    assert labels == ["after 1,000 images", "after 3,000 images", "after 4,000 images", "after 6,000 images"]


def test_a_torn_last_line_of_metrics_is_left_out(demo: Path) -> None:
    path = demo / "run" / "metrics.jsonl"
    rows = read_metrics(path)
    with path.open("a") as file:
        file.write('{"images_seen": 99')
    assert read_metrics(path) == rows


def job(height_px: int, width_px: int) -> Job:
    return Job(height_px=height_px, width_px=width_px, core_px=256, shard_px=256, halo_px=64)


def test_borders_are_drawn_where_blocks_meet_and_not_at_the_edge() -> None:
    assert borders_path(job(512, 700)) == "M0 256H700M256 0V512M512 0V512"
    assert borders_path(job(256, 256)) == ""


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_close_ups_are_whole_and_centred_on_corners_of_four_blocks(height_px: int, width_px: int) -> None:
    found = list(corners(job(height_px, width_px)))
    assert len(found) <= 64
    for window in found:
        assert window == window.clip(height_px, width_px)
        assert (window.y_px + 64) % 256 == (window.x_px + 64) % 256 == 0


def test_a_seam_is_called_one_by_either_measure() -> None:
    values = {"border_step": 5.0, "beside_step": 5.0, "num_borders": 9, "num_windows": 4}
    assert SeamCheck(ratio=1.0, max_difference=1, **values).passed
    assert not SeamCheck(ratio=1.3, max_difference=0, **values).passed
    assert not SeamCheck(ratio=1.0, max_difference=2, **values).passed
