"""Photos made of what is left of them: their gray, their edges, another time of day, another sensor, all but a hole."""

from __future__ import annotations

from p2p_core.recipes.recipe import JITTER_AND_MIRROR, MIRROR, NEITHER, run
from p2p_core.training.config import RunConfig

__all__ = ["colorization", "day2night", "edges2handbags", "edges2shoes", "holes", "thermal"]


def colorization() -> RunConfig:
    """Gray -> colour: 1.2 million photos, 6 epochs, batch 4, mirror alone (paper, section 6.2; spec, section 3).

    In Lab, L* -> a*b*, as published. RGB pairs of `gray` train with the same numbers; that is ours.
    """
    return run("colorization", num_pairs=1_200_000, epochs=6, batch_size=4, augment=MIRROR)


def edges2shoes() -> RunConfig:
    """Edges -> shoes: 50,000 pairs, 15 epochs, batch 4 (paper, section 6.2). Neither jitter nor mirror is stated."""
    return _edges_to_photos("edges2shoes", num_pairs=50_000)


def edges2handbags() -> RunConfig:
    """Edges -> handbags: as `edges2shoes` in all but the number of pairs, 137,000 (paper, section 6.2)."""
    return _edges_to_photos("edges2handbags", num_pairs=137_000)


def _edges_to_photos(name: str, *, num_pairs: int) -> RunConfig:
    return run(name, num_pairs=num_pairs, epochs=15, batch_size=4, augment=NEITHER)


def day2night() -> RunConfig:
    """Day -> night, or back: 17,823 pairs of webcams, 17 epochs, batch 4, jitter and mirror (paper, section 6.2)."""
    return run("day2night", num_pairs=17_823, epochs=17, batch_size=4, augment=JITTER_AND_MIRROR)


def thermal() -> RunConfig:
    """Thermal -> colour: 36,609 pairs, 10 epochs, batch 4, jitter and mirror (paper, section 6.2; spec, section 3)."""
    return run("thermal", num_pairs=36_609, epochs=10, batch_size=4, augment=JITTER_AND_MIRROR)


def holes() -> RunConfig:
    """Hole -> filled: 14,900 photos, 25 epochs, batch 4, mirror alone (paper, section 6.2; spec, section 3)."""
    return run("holes", num_pairs=14_900, epochs=25, batch_size=4, augment=MIRROR)
