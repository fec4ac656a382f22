"""What several rooms' tests share: a store with every part that a card or a page about it can have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import DirectorySplit

SIDE_PX = 300
COUNTS = {"train": 11, "val": 3, "test": 2}


@pytest.fixture(scope="session")
def labelled_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 label pictures of two colours, some of them off by a little, beside noise; no card yet. Rejected are one of a single
    colour, `val/flat`, and a file that is no picture, whose name is full of Markdown."""
    root = tmp_path_factory.mktemp("card")
    rng = np.random.default_rng(3)
    for split, count in COUNTS.items():
        place = root / "pictures" / split
        place.mkdir(parents=True)
        for index in range(count):
            labels = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
            labels[: 20 + 10 * index, :, 0] = 255
            labels[0, : 2 * index] = (250, 3, 0)
            photo = np.asarray(Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((SIDE_PX, SIDE_PX)))
            Image.fromarray(np.concatenate([labels, photo], axis=1)).save(place / f"{index:02d}.png")
    Image.new("RGB", (2 * SIDE_PX, SIDE_PX), (255, 0, 0)).save(root / "pictures" / "val" / "flat.png")
    (root / "pictures" / "train" / "a|b`<i>*c*[d](e).png").write_bytes(b"no picture")
    parameters = FoldersParameters(layout="side_by_side", input_encoding="palette:000000-ff0000")
    build_dataset(FoldersBuilder((root / "pictures",), parameters), root / "store", DirectorySplit())
    return root / "store"
