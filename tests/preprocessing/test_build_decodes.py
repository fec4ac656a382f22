"""What a rebuild decodes, watched from outside: calls of Pillow's own decoder are counted, none is replaced."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from PIL import ImageFile

from p2p_core.pairstore.layout import StoreLayout
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import Fractions, NameSplit

LAYOUT = StoreLayout(num_buckets=5, pairs_per_shard=4)
SPLIT = NameSplit(fractions=Fractions(train=0.6, val=0.2, test=0.2))


@contextmanager
def decoded_pictures() -> Iterator[list[str]]:
    """The names of the pictures whose pixels Pillow decodes in this process, thread by thread, as it begins with them."""
    names: list[str] = []
    decoder = ImageFile.ImageFile.load.__code__

    def watch(frame: FrameType, event: str, _: Any) -> None:
        # A second `load` of a picture finds it decoded: its tiles are gone.
        if event == "call" and frame.f_code is decoder and frame.f_locals["self"].tile:
            names.append(Path(frame.f_locals["self"].filename or frame.f_locals["self"].fp.name).name)

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        yield names
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def test_a_rebuild_decodes_no_picture_and_one_of_a_changed_source_its_bucket_only(
    tmp_path: Path, picture: Callable[..., Any], save_picture: Callable[..., Path]
) -> None:
    for i in range(30):
        save_picture(tmp_path / "photos" / f"{i:03d}.png", picture(16, 32, seed=i))
    builder = FoldersBuilder((tmp_path / "photos",), FoldersParameters(layout="side_by_side"))

    def build() -> list[str]:
        with decoded_pictures() as names:
            build_dataset(builder, tmp_path / "store", SPLIT, layout=LAYOUT)
        return sorted(names)

    every = sorted(path.name for path in (tmp_path / "photos").iterdir())
    assert build() == every
    assert build() == []
    save_picture(tmp_path / "photos" / "017.png", picture(16, 32, seed=99))
    bucket = [LAYOUT.bucket_of(name.removesuffix(".png")) for name in every]
    assert build() == [name for name, other in zip(every, bucket, strict=True) if other == bucket[17]]
    assert build() == []


def test_a_store_that_was_killed_before_its_last_file_is_completed_without_decoding(tmp_path: Path, photos: Path) -> None:
    builder = FoldersBuilder((photos,), FoldersParameters(layout="side_by_side"))
    made = build_dataset(builder, tmp_path / "store", SPLIT, layout=LAYOUT)
    (tmp_path / "store" / "current").unlink()
    with decoded_pictures() as names:
        assert build_dataset(builder, tmp_path / "store", SPLIT, layout=LAYOUT).digest == made.digest
    assert names == []
