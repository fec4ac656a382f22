"""`p2p export --to onnx`: a bundle, or a registered model, leaves as one file."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from flows.cli import run
from flows.services.registry import register_bundle
from p2p_core.inference.bundle import load_bundle


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def test_a_registered_model_leaves_as_onnx_with_its_digest(
    bundle: Path, tmp_path: Path, tracking_uri: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    register_bundle(bundle, "tiny", tracking_uri=tracking_uri)
    capsys.readouterr()
    code, out, _ = call(capsys, "export", "models:/tiny/1", tmp_path / "tiny.onnx", "--to", "onnx")
    assert code == 0
    assert f"of 0.0001 allowed, model {load_bundle(bundle).digest}" in out
    assert len(out.splitlines()) == 1
    onnx.checker.check_model(tmp_path / "tiny.onnx")


def test_only_models_leave_as_onnx(
    bundle: Path, pair_store: Path, tmp_path: Path, tracking_uri: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    dest = tmp_path / "x.onnx"
    assert call(capsys, "export", pair_store, dest, "--to", "onnx")[0] == 2
    code, _, err = call(capsys, "export", bundle, dest, "--to", "cog")
    assert code == 2
    assert "Use --to onnx" in err
    code, _, err = call(capsys, "export", "models:/nobody/1", dest, "--to", "onnx")
    assert code == 1
    assert "nobody" in err
    assert call(capsys, "export", bundle, dest, "--to", "onnx", "--input-side", "left")[0] == 2
    (tmp_path / "mine.txt").write_text("mine")
    code, _, err = call(capsys, "export", bundle, tmp_path / "mine.txt", "--to", "onnx")
    assert (code, err.count("\n")) == (1, 1)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert not dest.exists()
