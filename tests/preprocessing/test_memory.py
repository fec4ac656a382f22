"""A store larger than the memory a process may have feeds training: worker processes read it at random, epoch after epoch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2p_core.pairstore.layout import StoreLayout
from preprocessing.build import build_dataset
from preprocessing.pairs import Outcome, Pair, SourceRef
from preprocessing.split import Fractions, NameSplit

SIDE_PX, NUM_PAIRS, NUM_EPOCHS = 448, 128, 3
STORE_BYTES = NUM_PAIRS * SIDE_PX * SIDE_PX * 4
ROOM_BYTES = 64_000_000
"""What a process may allocate on top of what it has when it begins."""

READS = """
import json, os, resource, sys
from pathlib import Path
import numpy as np
from torch.utils.data import DataLoader, Dataset
from p2p_core.errors import P2PError
from p2p_core.pairstore import PairStore

room_bytes, num_epochs = int(sys.argv[2]), int(sys.argv[3])
split = PairStore.open(Path(sys.argv[1])).split("train")

def status_bytes(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":"))
    return 1024 * int(line.split()[1])

def limit(_=None):
    allowed = status_bytes("VmData") + room_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))

class Pairs(Dataset):
    def __len__(self):
        return len(split)

    def __getitem__(self, i):
        input_HWC, target_HWC = split.read(i)
        return int(input_HWC.sum(dtype=np.int64)) + int(target_HWC.sum(dtype=np.int64)), os.getpid(), status_bytes("VmRSS")

child = os.fork()
if not child:
    limit()
    try:
        split.read_all()
    except (MemoryError, P2PError):
        os._exit(3)
    os._exit(0)
too_much = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

loader = DataLoader(
    Pairs(), batch_size=4, shuffle=True, num_workers=2, persistent_workers=True, worker_init_fn=limit,
    multiprocessing_context="fork",
)
epochs = []
for _ in range(num_epochs):
    sums, pids, resident = zip(*(row for batch in loader for row in zip(*(column.tolist() for column in batch))))
    peak = {pid: max(size for owner, size in zip(pids, resident) if owner == pid) for pid in pids}
    epochs.append({"sum": sum(sums), "count": len(sums), "peak": peak})
print(json.dumps({"read_all": too_much, "epochs": epochs}))
"""


@pytest.fixture
def store(tmp_path: Path, made_builder, picture) -> Path:
    """128 pairs of noise, which no codec makes smaller: 103 MB."""

    class Large(made_builder):
        def size_px(self) -> tuple[int, int]:
            return SIDE_PX, SIDE_PX

        def build(self, source: SourceRef) -> Iterator[Outcome]:
            seed = int(source.source_id)
            yield Pair(source.source_id, source.source_id, *(picture(SIDE_PX, SIDE_PX, seed, bands) for bands in (3, 1)))

    builder = Large({f"{i:03d}": [i] for i in range(NUM_PAIRS)})
    every = NameSplit(fractions=Fractions(train=1.0, val=0.0, test=0.0))
    build_dataset(builder, tmp_path / "store", every, layout=StoreLayout(num_buckets=8, pairs_per_shard=8))
    assert sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file()) > STORE_BYTES
    return tmp_path / "store"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_processes_that_may_not_hold_the_store_read_it_at_random_in_flat_memory(store: Path) -> None:
    command = [sys.executable, "-c", READS, str(store), str(ROOM_BYTES), str(NUM_EPOCHS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["read_all"] == 3, "the limit does not keep a process from holding the whole store: this test proves nothing"
    first, *others = seen["epochs"]
    assert {(epoch["sum"], epoch["count"]) for epoch in others} == {(first["sum"], NUM_PAIRS)}
    assert len(first["peak"]) == 2
    for worker, peak_bytes in first["peak"].items():
        assert others[-1]["peak"][worker] - peak_bytes < STORE_BYTES / 16
