"""What others made of pix2pix (spec, section 3, "Community uses"). Of none of it is a setting published: these are ours."""

from __future__ import annotations

from p2p_core.config import replace
from p2p_core.recipes.labels import TO_CLASSES
from p2p_core.recipes.recipe import JITTER_AND_MIRROR, NEITHER, run
from p2p_core.training.config import AugmentConfig, RunConfig

__all__ = ["landmarks", "masks", "palette", "sketches"]


def sketches() -> RunConfig:
    """Sketch -> cat, Pokemon and the like, learnt from the edges of few photos: ours, not published.

    `edges2shoes` has 50,000 photos of one view on white. Here 2,000 of any view are thought of: more epochs, and jitter and
    mirror, which make more of them; batch 1, for each is its own kind of picture.
    """
    return run("sketches", num_pairs=2_000, epochs=100, batch_size=1, augment=JITTER_AND_MIRROR)


def landmarks() -> RunConfig:
    """Landmarks -> face, and person-to-person video: ours, not published. 400 frames, 200 epochs, as the paper's facades.

    Jitter, but no mirror: one person's face, hair and room are not their mirror images, and frames are not either.
    """
    augment = AugmentConfig(resize_px=286, crop_px=256, mirror=False)
    return run("landmarks", num_pairs=400, epochs=200, batch_size=1, augment=augment)


def masks() -> RunConfig:
    """Portrait -> mask of the person, to mask the background: ours, not published. 2,000 portraits, 50 epochs.

    L2 alone, as photo -> labels (`p2p_core.recipes.labels`): a mask is labels of two classes, or how much of a pixel is person.
    Batch 4, since no texture is to be made, which batch 1 is good for.
    """
    return replace(
        run("masks", num_pairs=2_000, epochs=50, batch_size=4, augment=JITTER_AND_MIRROR),
        objective=TO_CLASSES,
    )


def palette() -> RunConfig:
    """Completing a palette of five colours drawn as stripes: ours, not published. 10,000 palettes, 20 epochs, batch 4.

    Neither jitter nor mirror: stripes lie from dark to light, and a crop would cut them.
    """
    return run("palette", num_pairs=10_000, epochs=20, batch_size=4, augment=NEITHER)
