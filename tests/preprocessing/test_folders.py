from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2p_core.errors import EmptySourceError, PairingError, RasterError, UsageError
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.pairs import Outcome, Pair, Rejected


def side_by_side(root: Path, **values: object) -> FoldersBuilder:
    return FoldersBuilder((root,), FoldersParameters.model_validate({"layout": "side_by_side", **values}))


def two(root: Path, **values: object) -> FoldersBuilder:
    return FoldersBuilder((root / "A", root / "B"), FoldersParameters.model_validate({"layout": "two", **values}))


def outcomes(builder: FoldersBuilder) -> dict[str, Outcome]:
    found = {}
    for source in builder.sources():
        (outcome,) = builder.build(source)
        found[source.source_id] = outcome
    return found


def rejected(builder: FoldersBuilder) -> dict[str, str]:
    return {name: o.reason for name, o in outcomes(builder).items() if isinstance(o, Rejected)}


def pair_of(builder: FoldersBuilder, name: str) -> Pair:
    outcome = outcomes(builder)[name]
    assert isinstance(outcome, Pair), outcome
    return outcome


def bomb_png(width_px: int, height_px: int) -> bytes:
    """A few hundred bytes that claim to be a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", ["left", "right"])
def test_halves_are_input_and_target_in_the_order_asked_for(tmp_path, picture, save_picture, side) -> None:
    left, right = picture(16, 16, 1), picture(16, 16, 2)
    save_picture(tmp_path / "a.png", np.concatenate([left, right], axis=1))
    pair = pair_of(side_by_side(tmp_path, input_side=side), "a")
    np.testing.assert_array_equal(pair.input_HWC, left if side == "left" else right)
    np.testing.assert_array_equal(pair.target_HWC, right if side == "left" else left)


def test_two_directories_are_matched_by_name_whatever_the_suffix(tmp_path, picture, save_picture) -> None:
    save_picture(tmp_path / "A" / "x" / "1.png", picture(16, 16, 1))
    save_picture(tmp_path / "B" / "x" / "1.webp", picture(16, 16, 2))
    save_picture(tmp_path / "A" / "2.png", picture(16, 16, 3))
    save_picture(tmp_path / "B" / "2.png", picture(16, 16, 4))
    builder = two(tmp_path)
    assert set(outcomes(builder)) == {"x/1", "2"}
    np.testing.assert_array_equal(pair_of(builder, "2").input_HWC, picture(16, 16, 3))
    np.testing.assert_array_equal(pair_of(builder, "2").target_HWC, picture(16, 16, 4))


def test_a_name_without_counterpart_names_the_nearest(tmp_path, picture, save_picture) -> None:
    for name in ("house01", "house02"):
        save_picture(tmp_path / "A" / f"{name}.png", picture(16, 16, 1))
    for name in ("house01", "hause02", "tree"):
        save_picture(tmp_path / "B" / f"{name}.png", picture(16, 16, 1))
    with pytest.raises(PairingError, match=r"A/house02\.png has no counterpart .*nearest is 'hause02'.*1 of 2"):
        two(tmp_path).sources()
    (tmp_path / "A" / "house02.png").rename(tmp_path / "A" / "hause02.png")
    with pytest.raises(PairingError, match=r"B/tree\.png has no counterpart"):
        two(tmp_path).sources()


def test_two_pictures_of_one_name_are_refused(tmp_path, picture, save_picture) -> None:
    for name in ("a.png", "a.webp"):
        save_picture(tmp_path / name, picture(16, 32, 1))
    with pytest.raises(PairingError, match=r"a\.png and .*a\.webp have one name"):
        side_by_side(tmp_path).sources()


def test_broken_pictures_are_rejected_with_their_reasons_and_the_rest_is_built(photos, picture, save_picture) -> None:
    (photos / "030.png").write_bytes(bomb_png(60_000, 60_000))
    save_picture(photos / "031.png", picture(16, 33, 31))
    save_picture(photos / "032.png", picture(24, 48, 32))
    save_picture(photos / "033.png", np.full((16, 32, 3), 255, np.uint8))
    (photos / "034.png").write_bytes((photos / "035.png").read_bytes())
    (photos / "notes.txt").write_text("by hand")
    (photos / ".hidden.png").write_bytes(b"")
    found = rejected(side_by_side(photos))
    assert found == {
        "007": "truncated",
        "013": "empty",
        "021": "unreadable",
        "030": "bomb",
        "031": "size",
        "032": "size",
        "033": "uniform",
        "035": "duplicate",
        "pair/notes.txt": "unsupported",
    }
    details = {name: o.detail for name, o in outcomes(side_by_side(photos)).items() if isinstance(o, Rejected)}
    assert "24x24 px where others are 16x16" in details["032"]
    assert details["035"] == "It holds the same bytes as 034"
    assert sum(isinstance(o, Pair) for o in outcomes(side_by_side(photos)).values()) == 32


def test_the_usual_size_is_the_frequent_one_not_the_first(tmp_path, picture, save_picture) -> None:
    save_picture(tmp_path / "0.png", picture(10, 20, 0))
    for i in range(1, 4):
        save_picture(tmp_path / f"{i}.png", picture(16, 40, i))
    builder = side_by_side(tmp_path)
    assert builder.size_px() == (16, 20)
    assert rejected(builder) == {"0": "size"}
    assert side_by_side(tmp_path, resize_px=(8, 8)).size_px() == (8, 8)
    assert rejected(side_by_side(tmp_path, resize_px=(8, 8))) == {}
    assert pair_of(side_by_side(tmp_path, resize_px=(8, 12)), "0").target_HWC.shape == (8, 12, 3)


def test_bands_become_the_encodings(tmp_path, picture, save_picture) -> None:
    gray, colour = picture(16, 16, 1, bands=1), picture(16, 16, 2)
    save_picture(tmp_path / "A" / "a.png", gray)
    save_picture(tmp_path / "B" / "a.png", colour)
    pair = pair_of(two(tmp_path), "a")
    np.testing.assert_array_equal(pair.input_HWC, np.repeat(gray, 3, axis=2))
    np.testing.assert_array_equal(pair_of(two(tmp_path, input_encoding="gray"), "a").input_HWC, gray)
    luminance = colour @ [0.299, 0.587, 0.114]
    target_HWC = pair_of(two(tmp_path, target_encoding="gray"), "a").target_HWC
    assert np.abs(target_HWC[..., 0] - luminance).max() <= 1


def test_alpha_goes_where_nothing_shows_through(tmp_path, picture) -> None:
    opaque = np.concatenate([picture(16, 32, 1), np.full((16, 32, 1), 255, np.uint8)], axis=2)
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    opaque[3, 3, 3] = 254
    Image.fromarray(opaque).save(tmp_path / "pane.png")
    assert rejected(side_by_side(tmp_path)) == {"pane": "transparent"}
    np.testing.assert_array_equal(pair_of(side_by_side(tmp_path), "opaque").input_HWC, opaque[:, :16, :3])


def test_directories_called_like_splits_are_remembered(tmp_path, picture, save_picture) -> None:
    for i, place in enumerate(("train/a", "val/deep/b", "test/c", "other/d", "e")):
        save_picture(tmp_path / f"{place}.png", picture(16, 32, i))
    splits = {name: getattr(o, "attributes", {}).get("split") for name, o in outcomes(side_by_side(tmp_path)).items()}
    assert splits == {"train/a": "train", "val/deep/b": "val", "test/c": "test", "other/d": None, "e": None}


def test_of_the_same_picture_in_two_splits_the_training_one_stays(tmp_path, picture, save_picture) -> None:
    for place in ("test/a", "train/z", "val/b"):
        save_picture(tmp_path / f"{place}.png", picture(16, 32, 5))
    assert rejected(side_by_side(tmp_path)) == {"test/a": "duplicate", "val/b": "duplicate"}


def test_nothing_to_build_from_is_said(tmp_path) -> None:
    with pytest.raises(EmptySourceError, match=r"nowhere is not a directory"):
        side_by_side(tmp_path / "nowhere").sources()
    with pytest.raises(EmptySourceError, match="holds no picture"):
        side_by_side(tmp_path).sources()
    (tmp_path / "only.txt").write_text("text")
    with pytest.raises(EmptySourceError, match="holds no picture"):
        side_by_side(tmp_path).sources()
    (tmp_path / "broken.png").write_bytes(b"")
    with pytest.raises(EmptySourceError, match=r"None of the 1 pictures .* can be read"):
        side_by_side(tmp_path).size_px()
    with pytest.raises(UsageError, match="folders takes two directories, and 1 is given"):
        FoldersBuilder((tmp_path,), FoldersParameters(layout="two"))


def test_a_picture_that_vanishes_during_a_build_stops_it(tmp_path, picture, save_picture) -> None:
    """As a rejection it would be remembered, and reused once the picture is back."""
    for i in range(3):
        save_picture(tmp_path / f"{i}.png", picture(16, 32, i))
    builder = side_by_side(tmp_path)
    sources = builder.sources()
    assert builder.size_px() == (16, 16)
    (tmp_path / "1.png").unlink()
    with pytest.raises(RasterError, match=r"1\.png does not exist"):
        list(builder.build(sources[1]))


def test_facades_are_photo_left_label_right(shared_data: Path) -> None:
    """Labels are drawn in pure colours, walls are nearly gray."""
    builder = side_by_side(shared_data / "facades" / "val", input_side="right")
    assert builder.size_px() == (256, 256)
    (pair,) = builder.build(builder.sources()[0])
    assert isinstance(pair, Pair)
    label, photo = (np.ptp(pixels, axis=2).mean() for pixels in (pair.input_HWC, pair.target_HWC))
    assert label > 2 * photo
