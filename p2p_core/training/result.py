"""What a finished training leaves. Knows no torch: whoever starts a training in a process of its own reads it too."""

from __future__ import annotations

from pathlib import Path

from p2p_core.config import Config

__all__ = ["TrainingResult"]


class TrainingResult(Config):
    """result.json of a run's directory, written last."""

    bundle: Path
    bundle_digest: str
    images_seen: int
    elapsed_s: float
    resumed_from: int
    device: str
    metrics: dict[str, float]
