"""Pictures of class indices given to `folders` and `frames`: read as such where a palette is named, hinted at where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.cli import run
from p2p_core.pairstore.reader import PairStore
from p2p_core.palettes import palette
from preprocessing.class_pictures import drawn_classes, looks_like_classes
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.frames import FramesBuilder, FramesParameters
from preprocessing.pairs import Pair, Rejected
from tests.preprocessing.conftest import make_picture, write_picture

CAMVID = palette("camvid")


def classes(seed: int, num: int = 11) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, num, (32, 32), dtype=np.uint8)


def save_indexed(path: Path, indices_HW: np.ndarray, colours: np.ndarray) -> Path:
    """A PNG with these colours as its own palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.frombytes("P", indices_HW.shape[::-1], indices_HW.tobytes())
    picture.putpalette(colours.astype(np.uint8).tobytes())
    picture.save(path)
    return path


def test_a_gray_picture_holds_indices_and_255_is_void(tmp_path: Path) -> None:
    indices_HW = classes(1)
    indices_HW[0] = 255
    path = write_picture(tmp_path / "a.png", indices_HW[..., np.newaxis])
    expected_HW = np.where(indices_HW == 255, CAMVID.names.index("void"), indices_HW)
    assert np.array_equal(drawn_classes(path, "camvid"), CAMVID.colours_of(expected_HW))


def test_a_png_with_other_colours_of_its_own_holds_indices(tmp_path: Path) -> None:
    path = save_indexed(tmp_path / "a.png", classes(1), make_picture(16, 1, 7).reshape(-1, 3))
    assert np.array_equal(drawn_classes(path, "camvid"), CAMVID.colours_of(classes(1)))
    ramp = save_indexed(tmp_path / "b.png", classes(1), np.arange(256).repeat(3).reshape(-1, 3))
    assert np.array_equal(drawn_classes(ramp, "camvid"), CAMVID.colours_of(classes(1)))


def test_a_png_whose_own_colours_are_all_the_palettes_shows_them_in_whatever_order(tmp_path: Path) -> None:
    path = save_indexed(tmp_path / "a.png", classes(1), np.array(CAMVID.colours)[::-1])
    assert drawn_classes(path, "camvid") is None


def test_a_gray_picture_of_a_gray_palette_and_a_coloured_one_show_colours(tmp_path: Path) -> None:
    assert drawn_classes(write_picture(tmp_path / "a.png", classes(1)[..., np.newaxis]), "000000-ffffff") is None
    assert drawn_classes(write_picture(tmp_path / "b.png", make_picture(8, 8, 1)), "camvid") is None


def fill(place: Path, *, clip: str = "") -> None:
    for k in range(3):
        write_picture(place / "photos" / clip / f"{k + 1}.png", make_picture(32, 32, k))
        write_picture(place / "masks" / clip / f"{k + 1}.png", classes(k)[..., np.newaxis])


def test_folders_whose_encoding_names_a_palette_read_indices_as_labels_does(tmp_path: Path) -> None:
    fill(tmp_path)
    write_picture(tmp_path / "masks" / "3.png", np.full((32, 32, 1), 40, np.uint8))
    parameters = FoldersParameters(layout="two", target_encoding="one_hot:camvid")
    builder = FoldersBuilder((tmp_path / "photos", tmp_path / "masks"), parameters)
    first, second, third = (next(iter(builder.build(source))) for source in builder.sources())
    for k, pair in enumerate((first, second)):
        assert isinstance(pair, Pair)
        assert np.array_equal(pair.target_HWC, CAMVID.colours_of(classes(k)))
        assert pair.attributes["snapped_px"] == "0"
    assert isinstance(third, Rejected)
    assert (third.reason, third.detail[:20]) == ("class", "It holds class 40; p")


def test_frames_whose_encoding_names_a_palette_read_indices_as_labels_does(tmp_path: Path) -> None:
    fill(tmp_path, clip="clip")
    parameters = FramesParameters(resize_px=(32, 32), target_encoding="palette:camvid")
    builder = FramesBuilder((tmp_path / "photos", tmp_path / "masks"), parameters)
    (source,) = builder.sources()
    pairs = [outcome for outcome in builder.build(source) if isinstance(outcome, Pair)]
    assert len(pairs) == 3
    assert all(np.array_equal(pair.target_HWC, CAMVID.colours_of(classes(k))) for k, pair in enumerate(pairs))


@pytest.mark.parametrize("builder", ["folders", "frames"])
def test_indices_taken_for_colours_are_hinted_at_with_the_remedy(
    tmp_path: Path, builder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, clip="clip")
    places = [str(tmp_path / "photos"), str(tmp_path / "masks")]
    command = ["build", builder, *places, "--set", "resize_px=[32,32]", "--split", "source", "--out"]
    assert run([*command, str(tmp_path / "colours")]) == 0
    told = capsys.readouterr().out
    assert "masks seem to hold class indices (1.png has gray levels 0 to 10 alone) and were taken for colours" in told
    assert "--set target_encoding=one_hot:PALETTE reads classes, and so does `p2p build labels`" in told
    assert run([*command, str(tmp_path / "classes"), "--set", "target_encoding=one_hot:camvid"]) == 0
    assert "hint: " not in capsys.readouterr().out
    assert PairStore.open(tmp_path / "classes").manifest.target_encoding == "one_hot:camvid"


def test_photos_masks_of_black_and_white_and_drawings_of_gray_look_like_no_classes(tmp_path: Path) -> None:
    assert not looks_like_classes(write_picture(tmp_path / "photo.png", make_picture(16, 16, 1)))
    assert not looks_like_classes(write_picture(tmp_path / "gray.png", make_picture(16, 16, 1, bands=1)))
    assert not looks_like_classes(write_picture(tmp_path / "mask.png", (classes(1, 2) * 255)[..., np.newaxis]))
    assert looks_like_classes(write_picture(tmp_path / "classes.png", classes(1)[..., np.newaxis]))
    assert looks_like_classes(save_indexed(tmp_path / "own.png", classes(1), make_picture(16, 1, 7).reshape(-1, 3)))
