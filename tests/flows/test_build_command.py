"""`p2p build` for the builders whose sources are photos: what it offers, and what it says where the palette is missing."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

import flows.cli.data
from flows.cli import run
from p2p_core.pairstore.reader import PairStore
from preprocessing.builders import BUILDERS


def test_the_command_offers_every_builder_and_its_help_tells_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    offered = get_args(get_type_hints(flows.cli.data.build)["builder"])
    assert set(offered) == set(BUILDERS)
    assert run(["build", "--help"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert set(offered) <= {words[0] for words in lines if len(words) > 2 and words[1].isupper()}


def test_labels_by_colours_that_are_spelt_out_make_a_store_that_names_them(tmp_path: Path) -> None:
    photo_HWC = skimage.data.astronaut()[:64, 200:264]
    for name in ("photos", "labels"):
        (tmp_path / name).mkdir()
    for k in range(12):
        part = photo_HWC[:, k : k + 40]
        Image.fromarray(part).save(tmp_path / "photos" / f"{k}.png")
        Image.fromarray((part[..., 0] > 128).astype(np.uint8)).save(tmp_path / "labels" / f"{k}.png")
    sources = [str(tmp_path / "photos"), str(tmp_path / "labels")]
    settings = ["--set", "palette=000000-ff8800", "--set", "resize_px=[32,32]"]
    assert run(["build", "labels", *sources, "--out", str(tmp_path / "pairs"), *settings]) == 0
    store = PairStore.open(tmp_path / "pairs")
    assert store.manifest.input_encoding == "one_hot:000000-ff8800"
    input_NHWC, _ = store.split("train").read_all()
    assert {tuple(colour) for colour in input_NHWC.reshape(-1, 3).tolist()} == {(0, 0, 0), (255, 136, 0)}


def test_labels_without_a_palette_are_wrong_usage_that_names_the_palettes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("photos", "labels"):
        (tmp_path / name).mkdir()
    assert run(["build", "labels", str(tmp_path / "photos"), str(tmp_path / "labels"), "--out", str(tmp_path / "pairs")]) == 2
    assert "Set palette to one of: facades, camvid, cityscapes" in capsys.readouterr().err


def test_a_picture_that_is_left_out_is_named_with_the_reason_and_an_empty_split_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(skimage.data.astronaut()[:64, 200:264]).save(tmp_path / "photos" / "good.png")
    (tmp_path / "photos" / "bad.png").write_bytes(b"not an image")
    settings = ["--set", "resize_px=[32,32]"]
    assert run(["build", "gray", str(tmp_path / "photos"), "--out", str(tmp_path / "pairs"), *settings]) == 0
    out = capsys.readouterr().out
    assert "1 train, 0 val, 0 test pairs; rejected 1 (1 unreadable); nothing in val and test: another --split" in out
    assert "rejected as unreadable, for one: bad: " in out


def save_photos(place: Path) -> None:
    place.mkdir()
    for k in range(10):
        Image.fromarray(skimage.data.astronaut()[10 * k : 10 * k + 64, 200:264]).save(place / f"{k}.png")


def test_palettes_are_not_taken_for_near_duplicates_unless_asked(tmp_path: Path) -> None:
    save_photos(tmp_path / "photos")
    command = ["build", "palette", str(tmp_path / "photos"), "--set", "resize_px=[32,32]", "--out"]
    assert run([*command, str(tmp_path / "usual")]) == 0
    assert PairStore.open(tmp_path / "usual").manifest.split_rule["near_duplicates"] == "keep"
    assert run([*command, str(tmp_path / "asked"), "--near-duplicates", "reject"]) == 0
    assert PairStore.open(tmp_path / "asked").manifest.split_rule["near_duplicates"] == "reject"


def test_holes_of_the_share_and_colour_that_were_set_make_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_photos(tmp_path / "photos")
    command = ["build", "holes", str(tmp_path / "photos"), "--out", str(tmp_path / "pairs"), "--set", "resize_px=[32,48]"]
    settings = ["--set", "hole=random", "--set", "area_share=0.3", "--set", "fill=[255,0,255]"]
    assert run([*command, *settings]) == 0
    store = PairStore.open(tmp_path / "pairs")
    input_NHWC, target_NHWC = store.split("train").read_all()
    hole_NHW = (input_NHWC != target_NHWC).any(axis=-1)
    assert hole_NHW.sum(axis=(1, 2)).tolist() == [round(32 * 48 * 0.3)] * len(input_NHWC)
    assert (input_NHWC[hole_NHW] == (255, 0, 255)).all()
    assert run([*command, "--set", "area_share=1"]) == 2
    assert "area_share: Input should be less than 1" in capsys.readouterr().err


def test_palettes_with_as_many_missing_stripes_as_were_set_make_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photos(tmp_path / "photos")
    command = ["build", "palette", str(tmp_path / "photos"), "--out", str(tmp_path / "pairs"), "--set", "resize_px=[4,10]"]
    assert run([*command, "--set", "num_missing=4", "--set", "fill=[0,255,0]"]) == 0
    input_NHWC, target_NHWC = PairStore.open(tmp_path / "pairs").split("train").read_all()
    assert (input_NHWC != target_NHWC).any(axis=-1).sum(axis=(1, 2)).tolist() == [4 * 2 * 4] * len(input_NHWC)
    assert run([*command, "--set", "fit=crop"]) == 2
    assert "fit: Input should be 'stretch'" in capsys.readouterr().err


def test_frames_of_clips_make_a_store_split_clip_by_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo_HWC = skimage.data.astronaut()
    for side in ("drawn", "filmed"):
        (tmp_path / side).mkdir()
    for clip in range(12):
        writer = cv2.VideoWriter(str(tmp_path / "filmed" / f"clip {clip}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
        (tmp_path / "drawn" / f"clip {clip}").mkdir()
        for k in range(4):
            view_HWC = np.ascontiguousarray(photo_HWC[20 * clip : 20 * clip + 48, 40 + 8 * k : 104 + 8 * k])
            writer.write(cv2.cvtColor(view_HWC, cv2.COLOR_RGB2BGR))
            Image.fromarray(view_HWC).convert("L").save(tmp_path / "drawn" / f"clip {clip}" / f"{k}.png")
        writer.release()
    command = ["build", "frames", str(tmp_path / "drawn"), str(tmp_path / "filmed"), "--out", str(tmp_path / "pairs")]
    settings = ["--set", "resize_px=[32,32]", "--set", "first_number=0", "--set", "input_encoding=gray"]
    assert run([*command, *settings]) == 0
    assert "rejected 0" in capsys.readouterr().out
    store = PairStore.open(tmp_path / "pairs")
    assert store.manifest.split_rule["kind"] == "source"
    assert sum(store.manifest.counts.values()) == 48
    assert all(count % 4 == 0 for count in store.manifest.counts.values())
    input_HWC, target_HWC = store.split("train").read(0)
    assert np.abs(input_HWC[..., 0] - target_HWC @ [0.299, 0.587, 0.114]).mean() < 6
    assert run([*command, *settings]) == 0
    assert "unchanged" in capsys.readouterr().out


def test_frames_split_by_name_are_wrong_usage_for_a_clip_would_lie_on_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("A", "B"):
        (tmp_path / side).mkdir()
    command = ["build", "frames", str(tmp_path / "A"), str(tmp_path / "B"), "--out", str(tmp_path / "pairs"), "--split", "name"]
    assert run(command) == 2
    assert "Split by source or by directory" in capsys.readouterr().err
