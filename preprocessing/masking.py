"""What builders share that take part of a picture away: the colour in its place, and chance that knows the pair alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from p2p_core.files import stable_hash
from preprocessing.sizing import Level, PictureParameters

__all__ = ["MaskedParameters", "spelt"]


class MaskedParameters(PictureParameters):
    """`fill`: red, green and blue of what is taken away. Mid grey, all but 0 to a network; pix2pix's own tools fill with white.

    `seed`: another seed takes away other parts.
    """

    fill: tuple[Level, Level, Level] = (128, 128, 128)
    seed: int = Field(default=0, ge=0)

    def rng(self, pair_id: str) -> np.random.Generator:
        """The same for a pair in every build, whichever worker makes it and after whatever else."""
        return np.random.default_rng([self.seed, stable_hash(pair_id)])


def spelt(colour: Sequence[int]) -> str:
    """(red, green, blue) -> `ff8000`."""
    return bytes(colour).hex()
