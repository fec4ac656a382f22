"""`p2p train` with an alarm that stops: one message, exit code 1, and checkpoints to go on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli import run

SMALL = [
    *("generator.depth=3", "generator.base_width=8", "discriminator.num_layers=1", "discriminator.base_width=8"),
    *("augment.resize_px=null", "augment.crop_px=64", "batch_size=2", "validate_every_images=20", "log_every_images=10"),
    *("checkpoint_every_images=20", "optimiser.learning_rate=20", "optimiser.warm_up_images=8000"),
]


def test_a_run_that_diverges_is_stopped_with_one_message_and_keeps_checkpoints(
    pair_store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = [word for setting in [*SMALL, "alarms=stop"] for word in ("--set", setting)]
    places = ["--data", str(pair_store), "--out", str(tmp_path / "run")]
    code = run(["train", "facades", *places, "--images", "400", "--device", "cpu", *settings])
    out, err = capfd.readouterr()
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    (message,) = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert "Training shows divergence after" in message
    assert "with the lowest validation L1" in message
    kept = list((tmp_path / "run" / "checkpoints").glob("*/checkpoint.json"))
    assert kept
    assert str(max(kept).parent.name) in message
