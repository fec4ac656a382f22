"""Lines as they were when this was written, and lines as the paper's authors published them.

`tests/data/edges/*.png` are whole edge pictures of 256x256 px, one bit a pixel. To make them anew after a change that is
meant: save `edge_picture(...)` of `square(name)` with one bit a pixel, look at them, and raise `EDGES_VERSION`.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from preprocessing.edges.agreement import agreement, lines_of_picture, mean_agreement
from preprocessing.edges.drawing import EdgesConfig, edge_picture
from preprocessing.edges.thinning import ThinningConfig, edge_lines

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "edges"
PUBLISHED = {"edges2shoes": 0.80, "edges2handbags": 0.87}


def square(name: str) -> np.ndarray:
    """The middle of a photo that scikit-image ships, 256x256 px."""
    photo_HWC = getattr(skimage.data, name)()
    side_px = min(photo_HWC.shape[:2])
    top, left = ((size_px - side_px) // 2 for size_px in photo_HWC.shape[:2])
    return cv2.resize(photo_HWC[top : top + side_px, left : left + side_px], (256, 256), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_the_lines_of_known_photos_stay_as_they_were(detector, name) -> None:
    """Within 1 px: another processor's rounding may move a line's end, nothing else."""
    expected_HW = np.asarray(Image.open(GOLDEN / f"{name}.png").convert("L")) == 0
    found_HW = edge_picture(detector.probability(square(name)), EdgesConfig()) == 0
    assert 1000 < expected_HW.sum() < 6000
    assert agreement(found_HW, expected_HW, tolerance_px=1).f >= 0.999


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_the_lines_agree_with_those_the_authors_published(shared_data, detector, dataset) -> None:
    """Six of the even-numbered pairs: the threshold was chosen on odd ones. Photo left, edges right, blurred by JPEG."""
    even = [path for path in sorted((shared_data / dataset / "train").iterdir()) if int(path.name.split("_")[0]) % 2 == 0]
    figures = []
    for path in even[:: len(even) // 6][:6]:
        with Image.open(path) as pair:
            photo_HWC, published_HW = np.asarray(pair.crop((0, 0, 256, 256))), np.asarray(pair.convert("L"))[:, 256:]
        lines_HW = edge_lines(detector.probability(photo_HWC), ThinningConfig())
        figures.append(agreement(lines_HW, lines_of_picture(np.ascontiguousarray(published_HW))))
    assert len(figures) == 6
    assert mean_agreement(figures).f >= PUBLISHED[dataset]
