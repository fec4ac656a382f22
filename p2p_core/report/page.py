"""`report.html`: everything a demo directory holds, on one page that opens from disk without a network.

The same files give the same bytes: the page carries no time and no path of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2p_core.errors import EmptySourceError
from p2p_core.files import write_atomic
from p2p_core.report.charts import Chart, line_chart
from p2p_core.report.figures import Mosaic, Scene, Sheet, mosaic, pairs_sheet, scene, training_sheets, whole_sheet
from p2p_core.report.pictures import Picture
from p2p_core.report.records import Demo, Evaluation, NotMade, Promotion, attempt, read_metrics, read_record
from p2p_core.report.seams import SeamPart, seam_checks
from p2p_core.report.split_map import SplitMap, split_map
from p2p_core.report.tables import AlarmRow, ScoreTable, StepRow, alarm_rows, duration, facts, score_table, step_rows
from p2p_core.report.templates import template

__all__ = ["REPORT", "write_report"]

REPORT = "report.html"
PARTS = ("demo.json", "promotion.json", "run", "pairs", "evaluation", "scene", "xyz", "scene.tif")
"""A directory without any of these is no demo output."""

CURVES: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "L1 to the target",
        "Grey levels of 255; lower is better. Training tiles are seen again and again, validation tiles never.",
        {"training": "generator_l1", "validation": "val_l1"},
    ),
    (
        "The two players' losses",
        "Cross-entropy. Neither should fall to zero: then the other has stopped learning.",
        {"generator": "generator_gan", "discriminator": "discriminator_loss"},
    ),
    (
        "How often the discriminator is right",
        "Share of patches. 0.5 is guessing: it cannot tell generated from real.",
        {"on real tiles": "discriminator_real", "on generated tiles": "discriminator_generated"},
    ),
    (
        "Detail of validation tiles",
        "Of the targets'. 1 is as rough as nature; below is blur, above is noise.",
        {"gradient energy": "val_gradient_energy_ratio", "checkerboard energy": "val_checkerboard_ratio"},
    ),
    ("Speed", "Images trained on per second.", {"images per second": "images_per_s"}),
)
"""Title, caption, and which metrics (label -> name in `metrics.jsonl`) share a chart."""


@dataclass(frozen=True)
class Verdict:
    promoted: bool
    text: str
    reason: str


@dataclass(frozen=True)
class KeyFact:
    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Page:
    """What the template shows; `NotMade` stands for a part that is not there, None for one nobody asked for."""

    title: str
    verdict: Verdict
    key_facts: tuple[KeyFact, ...]
    scene: Scene | NotMade
    test_sheet: Picture | NotMade
    scores: ScoreTable | NotMade
    charts: tuple[Chart, ...] | NotMade
    alarms: tuple[AlarmRow, ...]
    training_sheets: tuple[Sheet, ...] | NotMade
    split_map: SplitMap | NotMade
    seams: tuple[SeamPart, ...] | NotMade
    mosaic: Mosaic | NotMade
    edges: Picture | NotMade | None
    colour: Picture | NotMade | None
    demo: Demo | NotMade

    @property
    def steps(self) -> tuple[StepRow, ...]:
        return step_rows(self.demo) if isinstance(self.demo, Demo) else ()

    @property
    def model(self) -> str:
        return self.demo.model if isinstance(self.demo, Demo) else ""

    @property
    def hardware(self) -> str:
        return hardware(self.demo) if isinstance(self.demo, Demo) else ""


def write_report(directory: Path) -> Path:
    """Write `directory/report.html` from what a demo left in `directory`, and return its path.

    A part that is absent or damaged is named in its place on the page.

    Raises:
        EmptySourceError: the directory holds no part of a demo's output.
        OutputError: the page cannot be written.
    """
    if not any((directory / part).exists() for part in PARTS):
        raise EmptySourceError(
            f"{directory} holds no demo output", remedy="Give what `p2p demo --out DIR` made, or a pair store"
        )
    path = directory / REPORT
    write_atomic(path, render(gather(directory)).encode())
    return path


def gather(directory: Path) -> Page:
    """Read every part of a demo directory."""
    demo = attempt(directory, read_record, Demo, directory / "demo.json")
    promotion = attempt(directory, read_record, Promotion, directory / "promotion.json")
    evaluation = attempt(directory, read_record, Evaluation, directory / "evaluation" / "evaluation.json")
    metrics = attempt(directory, read_metrics, directory / "run" / "metrics.jsonl")
    test_sheet = directory / "evaluation" / "sheet.png"
    scene_part = attempt(directory, scene, directory)
    return Page(
        title="A world map, painted over as satellite imagery",
        verdict=verdict(promotion, demo),
        key_facts=key_facts(evaluation, scene_part, demo),
        scene=scene_part,
        test_sheet=attempt(directory, whole_sheet, test_sheet, "Test tiles: input, generated and target side by side"),
        scores=evaluation if isinstance(evaluation, NotMade) else score_table(evaluation),
        charts=metrics if isinstance(metrics, NotMade) else attempt(directory, charts, metrics),
        alarms=() if isinstance(metrics, NotMade) else alarm_rows(metrics),
        training_sheets=attempt(directory, training_sheets, directory / "run"),
        split_map=attempt(directory, split_map, directory),
        seams=attempt(directory, seam_checks, directory),
        mosaic=attempt(directory, mosaic, directory),
        edges=photo_pairs(directory, "edges", "Edges drawn by HED, each beside the photo they were drawn from"),
        colour=photo_pairs(directory, "colour", "Gray pictures, each beside the photo whose lightness it is"),
        demo=demo,
    )


def photo_pairs(directory: Path, name: str, alt: str) -> Picture | NotMade | None:
    """A sheet of a store made of photos; None if the demo made no such store."""
    return attempt(directory, pairs_sheet, directory / name, alt) if (directory / name).exists() else None


def render(page: Page) -> str:
    """The page as HTML; whatever comes from a file is escaped."""
    return template("template.html").render(page=page)


def verdict(promotion: Promotion | NotMade, demo: Demo | NotMade) -> Verdict:
    """The gate's word; `demo.json` knows it too, for a demo whose promotion record is gone."""
    if isinstance(promotion, Promotion):
        name = f"{promotion.name} version {promotion.version}" if promotion.name else "The model"
        text = (
            f"{name} was promoted as champion"
            if promotion.promoted
            else f"Not promoted: {promotion.reason or 'no reason given'}"
        )
        return Verdict(promotion.promoted, text, promotion.reason if promotion.promoted else "")
    if isinstance(demo, Demo) and demo.promoted is not None:
        return Verdict(demo.promoted, "Promoted as champion" if demo.promoted else "Not promoted", promotion.reason)
    return Verdict(False, "Not decided: the gate has not run", promotion.reason)


def key_facts(evaluation: Evaluation | NotMade, region: Scene | NotMade, demo: Demo | NotMade) -> tuple[KeyFact, ...]:
    """The few numbers at the top; those that are not known are left out."""
    found: list[KeyFact] = []
    if isinstance(evaluation, Evaluation) and "model" in evaluation.scores:
        model, affine = evaluation.scores["model"], evaluation.scores.get("affine")
        note = f"affine baseline {affine.l1:.1f}, {evaluation.split} split" if affine else f"{evaluation.split} split"
        found.append(KeyFact("L1, grey levels of 255", f"{model.l1:.1f}", note))
        if affine and affine.l1:
            change = 100 * (model.l1 / affine.l1 - 1)
            value = f"{abs(change):.0f} % {'less' if change < 0 else 'more'}"
            found.append(KeyFact("L1 beside the baseline's", value, "affine colour fit"))
    if isinstance(region, Scene):
        found.append(KeyFact("Region translated", region.size, region.crs))
    if isinstance(demo, Demo) and demo.total_s is not None:
        found.append(KeyFact("All steps" if demo.any_reused else "Whole demo", duration(demo.made_in_s), hardware(demo)))
    return tuple(found)


def hardware(demo: Demo) -> str:
    return demo.hardware if isinstance(demo.hardware, str) else ", ".join(value for _, value in facts(demo.hardware))


def charts(rows: Sequence[dict[str, float]]) -> tuple[Chart, ...]:
    """The charts of `CURVES` for which a run has metrics. Raises `EmptySourceError` for none."""
    found = []
    for title, caption, metrics in CURVES:
        series = {label: points(rows, name) for label, name in metrics.items()}
        if any(series.values()):
            found.append(line_chart(title, series, x_label="images seen", y_label=caption))
    if not found:
        raise EmptySourceError("run/metrics.jsonl holds no losses", remedy="Train for longer than one logging interval")
    return tuple(found)


def points(rows: Sequence[dict[str, float]], name: str) -> list[tuple[float, float]]:
    return [(row["images_seen"], row[name]) for row in rows if name in row]
