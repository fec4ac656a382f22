"""A build that is killed around its refusal."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from p2p_core.pairstore import PairStore, verify_store
from p2p_core.pairstore.layout import StoreLayout
from preprocessing.build import build_dataset
from preprocessing.drift import DriftError, DriftLimits, refuse_drift
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import Fractions, NameSplit

KILLED = """
import os, signal, sys
from pathlib import Path
from p2p_core.pairstore.layout import StoreLayout
from preprocessing.build import build_dataset
from preprocessing.drift import DriftLimits, refuse_drift
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import Fractions, NameSplit

pictures, out, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def die(name, arguments):
    if (name == "os.rename" and moment == "published" and Path(arguments[1]).parent.name == "versions") or (
        name == "shutil.rmtree" and moment == "refused" and Path(arguments[0]).name == "building"
    ):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
build_dataset(
    FoldersBuilder((pictures,), FoldersParameters(layout="side_by_side")), out,
    NameSplit(fractions=Fractions(train=1.0, val=0.0, test=0.0)), layout=StoreLayout(num_buckets=5, pairs_per_shard=4),
    admit=lambda current, version: refuse_drift(current, version, DriftLimits()),
)
"""


@pytest.mark.parametrize("moment", ["published", "refused"])
def test_a_build_killed_around_its_refusal_leaves_the_version_before_current(tmp_path, save_picture, moment: str) -> None:
    rng, out = np.random.default_rng(0), tmp_path / "store"
    for name, low, high in (("bright", 64, 255), ("dark", 0, 128)):
        for i in range(12):
            save_picture(tmp_path / name / f"{i:03d}.png", rng.integers(low, high, (16, 32, 3), dtype=np.uint8))
    bright, dark = (FoldersBuilder((tmp_path / name,), FoldersParameters(layout="side_by_side")) for name in ("bright", "dark"))
    every = NameSplit(fractions=Fractions(train=1.0, val=0.0, test=0.0))
    layout = StoreLayout(num_buckets=5, pairs_per_shard=4)
    first = build_dataset(bright, out, every, layout=layout)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "dark"), str(out), moment]
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == -9
    assert PairStore.open(out).version_path == first.version_path
    with pytest.raises(DriftError):
        build_dataset(dark, out, every, layout=layout, admit=lambda *versions: refuse_drift(*versions, DriftLimits()))
    assert PairStore.open(out).version_path == first.version_path
    assert verify_store(out) == []
