"""What a run is judged by as it goes: scores and a sheet of fixed validation pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from p2p_core.encodings import Encoding
from p2p_core.evaluation.baselines import AffineColourMap
from p2p_core.evaluation.metrics import checkerboard_energy, energy_ratio, gradient_energy, l1
from p2p_core.evaluation.sheets import contact_sheet, save_png
from p2p_core.inference.forward import centre_crop, forward_pixels
from p2p_core.model.generator import Generator
from p2p_core.model.norm import NormMode, set_norm_mode

__all__ = ["MAX_PAIRS", "Validation"]

_SHEET_ROWS = 6
_DIVERSITY_PAIRS, _DIVERSITY_DRAWS = 4, 4
MAX_PAIRS = 200
"""More change the mean by less than the difference between two validations, and cost time in every run."""


class Validation:
    """Fixed pairs of the validation split, evenly spread, cut to whole lattice cells.

    Args:
        input_NHWC, target_NHWC: pairs of the encodings.
        sheets: the directory sheets are written to.
    """

    def __init__(
        self,
        input_NHWC: NDArray[Any],
        target_NHWC: NDArray[Any],
        encodings: tuple[Encoding, Encoding],
        crop_px: int,
        sheets: Path,
    ) -> None:
        chosen = np.unique(np.linspace(0, len(input_NHWC) - 1, min(len(input_NHWC), MAX_PAIRS)).astype(int))
        self.input_NHWC = centre_crop(input_NHWC[chosen], crop_px)
        self.target_NHWC = centre_crop(target_NHWC[chosen], crop_px)
        self.encodings, self.sheets = encodings, sheets

    def __len__(self) -> int:
        return len(self.input_NHWC)

    def spread(self, count: int) -> NDArray[np.int64]:
        """Indices of up to `count` pairs, evenly spread."""
        return np.unique(np.linspace(0, len(self) - 1, min(len(self), count)).astype(np.int64))

    def score(self, generator: Generator, norm: NormMode) -> dict[str, float]:
        """L1 in grey levels; gradient and checkerboard energy as ratios to the targets'. Leaves the mode as it was."""
        levels = self.encodings[1].to_grey_levels
        generated = levels(self._generate(generator, norm, self.input_NHWC))
        truth = levels(self.target_NHWC)
        return {
            f"{norm}_l1": float(l1(generated, truth).mean()),
            f"{norm}_gradient_energy_ratio": energy_ratio(gradient_energy, generated, truth),
            f"{norm}_checkerboard_ratio": energy_ratio(checkerboard_energy, generated, truth),
        }

    def dropout_diversity(self, generator: Generator, norm: NormMode) -> dict[str, float]:
        """`<norm>_dropout_diversity`: the standard deviation of a pixel over draws of dropout, in grey levels; empty without.

        The paper's only noise. Leaves the mode and the run's random numbers as they were.
        """
        if not any(_is_dropout(part) for part in generator.modules()):
            return {}
        rows = self.spread(_DIVERSITY_PAIRS)
        device = next(generator.parameters()).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            draws = [self._generate(generator, norm, self.input_NHWC[rows], dropout=True) for _ in range(_DIVERSITY_DRAWS)]
        levels = np.stack([self.encodings[1].to_grey_levels(draw) for draw in draws]).astype(np.float32)
        return {f"{norm}_dropout_diversity": float(levels.std(axis=0, ddof=1).mean())}

    def affine_l1(self, input_NHWC: NDArray[Any], target_NHWC: NDArray[Any]) -> float:
        """L1, in grey levels, of the per-pixel affine fit to these training pairs."""
        affine = AffineColourMap.fit(input_NHWC, target_NHWC, *self.encodings)
        return self._l1_of(affine(self.input_NHWC))

    def start_l1(self) -> float:
        """L1, in grey levels, of what a network of output 0 makes: mid-grey pictures, for most encodings."""
        source, target = self.encodings
        silent_NHWC = np.zeros((*self.target_NHWC.shape[:3], target.channels), np.float32)
        return self._l1_of(target.to_pixels(silent_NHWC, self.input_NHWC, source))

    def _l1_of(self, generated_NHWC: NDArray[Any]) -> float:
        levels = self.encodings[1].to_grey_levels
        return float(l1(levels(generated_NHWC), levels(self.target_NHWC)).mean())

    def save_sheet(self, generator: Generator, norm: NormMode, images_seen: int) -> Path:
        """Write `sheets/<images_seen>.png`: input, generated, target of the same few pairs every time."""
        rows = self.spread(_SHEET_ROWS)
        source, target = self.encodings
        generated = self._generate(generator, norm, self.input_NHWC[rows])
        columns = {
            "input": source.to_rgb(self.input_NHWC[rows]),
            f"after {images_seen} images": target.to_rgb(generated),
            "target": target.to_rgb(self.target_NHWC[rows]),
        }
        path = self.sheets / f"{images_seen:08d}.png"
        save_png(contact_sheet(columns), path)
        return path

    def _generate(
        self, generator: Generator, norm: NormMode, input_NHWC: NDArray[Any], *, dropout: bool = False
    ) -> NDArray[Any]:
        was_training = generator.training
        generator.eval()
        for part in generator.modules():
            if dropout and _is_dropout(part):
                part.train()
        set_norm_mode(generator, norm)
        generated = forward_pixels(generator, input_NHWC, *self.encodings, batch_size=8)
        generator.train(was_training)
        return generated


def _is_dropout(part: torch.nn.Module) -> bool:
    return isinstance(part, torch.nn.Dropout)
