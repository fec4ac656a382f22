"""What several rooms' tests share: a small real store, made with the real builder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import DirectorySplit

# How long an example takes says nothing on a busy machine; a test that hangs meets pytest's own limit.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    # MLflow warns of its own type hints when it is imported.
    config.addinivalue_line("filterwarnings", "ignore:.*Any type hint is inferred as AnyType:UserWarning")


@pytest.fixture(scope="session")
def pair_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 train, 8 val and 8 test pairs of 72x72 px: smooth random input, target a fixed mix of its colours, inverted."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(7)
    mix = np.array([[0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.3, 0.1, 0.6]])
    for split, count in (("train", 48), ("val", 8), ("test", 8)):
        for index in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
            picture = np.asarray(coarse.resize((72, 72), Image.Resampling.BICUBIC))
            target = 255 - (picture @ mix).round().astype(np.uint8)
            place = root / "pictures" / split
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.concatenate([picture, target], axis=1)).save(place / f"{index:03d}.png")
    builder = FoldersBuilder((root / "pictures",), FoldersParameters(layout="side_by_side"))
    build_dataset(builder, root / "store", DirectorySplit())
    return root / "store"


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Prefect server, which this process uses; one for the whole session, since it takes seconds."""
    from flows.services.prefect_server import prefect_server

    with prefect_server(tmp_path_factory.mktemp("prefect"), startup_timeout_s=180) as api_url:
        yield api_url


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount options -> a file system of its own, new with every call, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        unmount()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"this user may not mount a file system: {done.stderr.decode().strip()}")
        return place

    def unmount() -> None:
        if place.is_mount():
            subprocess.run(["umount", str(place)], check=True)

    yield mount
    unmount()
