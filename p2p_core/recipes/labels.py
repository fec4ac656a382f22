"""Label pictures and photos, both ways: facades, Cityscapes, CamVid.

To a photo the paper's L1+cGAN. To labels no GAN: on Cityscapes L1 alone scored best, .86/.42/.35 (per-pixel accuracy,
per-class accuracy, class IoU) against .83/.36/.29 of L1+cGAN (spec, section 3, "Photo -> labels"). That was of labels in
colours. Ours are classes, one channel each, and there L2 takes the place of L1: it is least where a channel says how likely
its class is, so that the greatest is the likeliest; L1 where it says yes or no, no for every class of less than a half
(docs/log.md, "Recipes").
"""

from __future__ import annotations

from p2p_core.config import replace
from p2p_core.model.losses import ObjectiveConfig
from p2p_core.recipes.recipe import JITTER_AND_MIRROR, run
from p2p_core.training.config import RunConfig

__all__ = ["TO_CLASSES", "camvid", "camvid_to_labels", "cityscapes", "cityscapes_to_labels", "facades", "facades_to_labels"]

TO_CLASSES = ObjectiveConfig(reconstruction="l2", adversarial="none")


def facades() -> RunConfig:
    """Labels -> facade: 400 pairs, 200 epochs, batch 1, jitter and mirror (paper, section 6.2; spec, section 3)."""
    return run("facades", num_pairs=400, epochs=200, batch_size=1, augment=JITTER_AND_MIRROR)


def facades_to_labels() -> RunConfig:
    """Facade -> labels: `facades`, but L2 alone. The published table has no row for this way."""
    return replace(facades(), recipe="facades_to_labels", objective=TO_CLASSES)


def cityscapes() -> RunConfig:
    """Labels -> street: 2,975 pairs, 200 epochs, batch 1, jitter and mirror (paper, section 6.2; spec, section 3).

    The paper's study of generators has batch 10: `--set batch_size=10`.
    """
    return run("cityscapes", num_pairs=2_975, epochs=200, batch_size=1, augment=JITTER_AND_MIRROR)


def cityscapes_to_labels() -> RunConfig:
    """Street -> labels: `cityscapes`, but L2 alone. Pairs and epochs are published, the objective is ours."""
    return replace(cityscapes(), recipe="cityscapes_to_labels", objective=TO_CLASSES)


def camvid() -> RunConfig:
    """Labels -> street of CamVid: ours, not published. Cityscapes' settings on SegNet's 367 training pairs.

    367 frames of a few drives are soon known by heart, so the epochs are as many, and the budget an eighth.
    """
    return run("camvid", num_pairs=367, epochs=200, batch_size=1, augment=JITTER_AND_MIRROR)


def camvid_to_labels() -> RunConfig:
    """Street -> labels of CamVid: ours, not published. `camvid`, but L2 alone, as `cityscapes_to_labels`."""
    return replace(camvid(), recipe="camvid_to_labels", objective=TO_CLASSES)
