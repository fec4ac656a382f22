"""Alarms: what a run's own numbers say when it has gone wrong, so that nobody has to read losses.

Divergence: validation L1 lies far above what the run has reached, and above what needs no training. Collapse: the discriminator
tells every picture at a glance, and the generator paints nothing, or whatever dropout does the same. One bad validation
may be chance; an alarm takes several in a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from p2p_core.errors import CollapseError, DivergenceError, P2PError

__all__ = ["MEANINGS", "REMEDIES", "Alarm", "AlarmKind", "Watch", "metric_of", "stopped_by"]

FAR_ABOVE = 1.5
"""Times the best validation, or the start before there is a better one, but never less than the affine fit."""

CERTAIN = 0.98
"""Share of patches that the discriminator tells right, of real and generated ones together, since the last validation."""

NO_DETAIL = 0.02
"""Gradient energy, as a share of the targets': an L1 blur has 0.1 and more."""

NO_NOISE = 0.01
"""Grey levels by which dropout changes a pixel. Less is nothing: the network's output does not depend on its features."""

_ONE_LEVEL = 1.0
"""Of 255. Where a run comes closer than that, a little more is no sign of anything."""

DIVERGED_VALIDATIONS = 2
COLLAPSED_VALIDATIONS = 3


AlarmKind = Literal["divergence", "collapse"]

MEANINGS: dict[AlarmKind, str] = {
    "divergence": "Validation L1 lay far above what the run had reached, and above what needs no training, "
    f"{DIVERGED_VALIDATIONS} validations in a row.",
    "collapse": "The discriminator told every picture at a glance, and the generator painted no detail or dropout changed "
    f"nothing, {COLLAPSED_VALIDATIONS} validations in a row.",
}
"""Of an alarm whose figures are not at hand."""

REMEDIES: dict[AlarmKind, str] = {
    "divergence": "Lower optimiser.learning_rate and start again",
    "collapse": "Lower optimiser.discriminator_share or raise objective.reconstruction_weight and start again",
}


def metric_of(kind: AlarmKind) -> str:
    """Under which a run logs it."""
    return f"alarm_{kind}"


@dataclass(frozen=True)
class Alarm:
    """`reason` gives the figures, as the rest of a sentence about the run."""

    kind: AlarmKind
    reason: str

    def told(self, images_seen: int) -> str:
        """As a sentence without a full stop."""
        return f"Training shows {self.kind} after {images_seen} images: {self.reason}"


_ERRORS: dict[AlarmKind, type[P2PError]] = {"divergence": DivergenceError, "collapse": CollapseError}


def stopped_by(alarm: Alarm, images_seen: int, checkpoints: str) -> P2PError:
    """What ends the run; `checkpoints` says which there are."""
    problem = f"{alarm.told(images_seen)}. The run was stopped; its checkpoints: {checkpoints}"
    advice = f"{REMEDIES[alarm.kind]}, or go on with --resume and the same settings, but alarms=warn"
    return _ERRORS[alarm.kind](problem, remedy=advice)


class Watch:
    """Told every metric that a run logs, in their order; a resumed run tells those of before first.

    Args:
        start_l1: validation L1, in grey levels, of mid-grey pictures: where an untrained network begins.
        affine_l1: the same of the per-pixel affine fit, which needs no training.
    """

    def __init__(self, start_l1: float, affine_l1: float) -> None:
        self._start_l1, self._affine_l1 = start_l1, affine_l1
        self.best_l1, self.best_images_seen = math.inf, 0
        self._accuracies: list[float] = []
        self._diverged = self._collapsed = 0

    @property
    def is_suspicious(self) -> bool:
        """Whether the latest validation looked diverged."""
        return self._diverged > 0

    def replay(self, records: Iterable[Mapping[str, float]]) -> None:
        """See what an earlier part of the run logged; its alarms were heard then."""
        for record in records:
            self.see(record, int(record["images_seen"]))

    def see(self, metrics: Mapping[str, float], images_seen: int) -> Alarm | None:
        """The alarm that these metrics complete; one for each time that something begins to be wrong."""
        if "discriminator_real" in metrics:
            self._accuracies.append((metrics["discriminator_real"] + metrics["discriminator_generated"]) / 2)
        if "val_l1" not in metrics:
            return None
        alarm = self._divergence(metrics["val_l1"]) or self._collapse(metrics)
        self._accuracies.clear()
        if metrics["val_l1"] < self.best_l1:
            self.best_l1, self.best_images_seen = metrics["val_l1"], images_seen
        return alarm

    def _divergence(self, l1: float) -> Alarm | None:
        reached_l1 = max(min(self.best_l1, self._start_l1), self._affine_l1, _ONE_LEVEL)
        self._diverged = self._diverged + 1 if l1 > FAR_ABOVE * reached_l1 else 0
        if self._diverged != DIVERGED_VALIDATIONS:
            return None
        reason = f"validation L1 is {l1:.1f} grey levels, {self._diverged} times in a row far above {reached_l1:.1f}"
        return Alarm("divergence", reason)

    def _collapse(self, metrics: Mapping[str, float]) -> Alarm | None:
        accuracy = sum(self._accuracies) / len(self._accuracies) if self._accuracies else 0.0
        detail = metrics.get("val_gradient_energy_ratio", math.inf)
        noise = metrics.get("val_dropout_diversity", math.inf)
        collapsed = accuracy >= CERTAIN and (detail <= NO_DETAIL or noise <= NO_NOISE)
        self._collapsed = self._collapsed + 1 if collapsed else 0
        if self._collapsed != COLLAPSED_VALIDATIONS:
            return None
        sign = f"gradient energy is {detail:.3f} of the targets'" if detail <= NO_DETAIL else "dropout changes no pixel"
        return Alarm(
            "collapse", f"the discriminator is right on {accuracy:.1%} of the patches and {sign}, {self._collapsed} times"
        )
