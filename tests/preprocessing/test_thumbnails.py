"""What is to be seen of rejected items."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.reader import PairStore
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.gray import GrayBuilder
from preprocessing.sizing import PictureParameters
from preprocessing.split import NameSplit
from preprocessing.thumbnails import SIDE_PX, thumbnail

RED, BLUE = (220, 20, 30), (20, 30, 220)


def shown(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def plain(colour: tuple[int, int, int], height_px: int, width_px: int) -> np.ndarray:
    return np.full((height_px, width_px, 3), colour, np.uint8)


def test_a_thumbnail_shows_its_pictures_side_by_side_at_their_aspect() -> None:
    picture = shown(thumbnail([plain(RED, 200, 400), plain(BLUE, 20, 10)]))

    assert picture.shape == (SIDE_PX, SIDE_PX + SIDE_PX // 2, 3)
    assert np.abs(picture[20, 40] - RED).max() < 20  # half as high as wide, white below
    assert picture[80, 40].min() > 240
    assert np.abs(picture[80, SIDE_PX + 20] - BLUE).max() < 20


def test_what_can_be_seen_of_a_rejected_photo_is_in_the_table_and_what_cannot_is_not(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "good.png")
    Image.fromarray(noise).save(photos / "twin.png")
    Image.fromarray(plain(RED, 64, 64)).save(photos / "plain.png")
    (photos / "broken.png").write_bytes((photos / "good.png").read_bytes()[:200])

    build_dataset(GrayBuilder((photos,), PictureParameters(resize_px=(32, 32))), tmp_path / "store", NameSplit())

    thumbnails = {record.item: record.thumbnail for record in PairStore.open(tmp_path / "store").rejected}
    assert thumbnails.keys() == {"twin", "plain", "broken"}
    assert thumbnails["broken"] is None
    assert thumbnails["twin"] is not None
    assert shown(thumbnails["twin"]).std() > 30
    assert thumbnails["plain"] is not None  # gray beside red
    assert np.abs(shown(thumbnails["plain"])[48, SIDE_PX + 48] - RED).max() < 20


def test_a_bucket_keeps_four_thumbnails_of_a_reason_whatever_their_number(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)).save(pairs / "good.png")
    for number in range(9):
        Image.fromarray(plain((number, 0, 0), 32, 64)).save(pairs / f"plain{number}.png")
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (16, 64, 3), dtype=np.uint8)).save(pairs / f"low{number}.png")

    builder = FoldersBuilder((pairs,), FoldersParameters(layout="side_by_side"))
    build_dataset(builder, tmp_path / "store", NameSplit(), layout=StoreLayout(num_buckets=1))

    rejected = PairStore.open(tmp_path / "store").rejected
    with_picture = [record.reason for record in rejected if record.thumbnail]
    assert len(rejected) == 12
    assert with_picture.count("uniform") == 4
    assert with_picture.count("size") == 3
