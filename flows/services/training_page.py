"""A training on its run's page in Prefect: how far it is, its newest sheet, its validations, and what it prints."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path

from prefect.artifacts import MarkdownArtifact, ProgressArtifact, TableArtifact
from prefect.logging import get_run_logger

from flows.services.launcher import launch_training
from flows.services.live_artifacts import LiveArtifacts
from flows.services.training_protocol import Message, Pictured, TrainingOutcome, TrainingRequest
from flows.services.worker import require_worker
from p2p_core.progress import ProgressLine
from p2p_core.report.pictures import picture, read_preview
from p2p_core.training.tracker import read_metrics

__all__ = ["launch_shown"]

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

_TELL_S, _LOG_S = 5.0, 30.0
_LINES, _LAST_LINES = 2000, 20
_VALIDATIONS = 100
# The sheet lies in Prefect's database; at this size even pure noise stays below 400 kB.
_SHEET_LONGEST_PX = 768


def launch_shown(request: TrainingRequest) -> TrainingOutcome:
    """`launch_training`, shown on the page of the current Prefect run.

    Artifacts `training-progress`, `training-sheet` and `training-validation`, and the process's output in the run's logs,
    line by line. Ends with the worker that started this run.

    Raises:
        SystemExit: the worker is gone.
        P2PError: what `launch_training` raises.
    """
    logger = get_run_logger()
    with LiveArtifacts(logger.warning) as live:
        page = _Page(request.run_dir, live, logger)
        try:
            return launch_training(request, progress_for=page.progress, told=page.told, printed=page.printed)
        finally:
            page.close()


class _Page:
    def __init__(self, run_dir: Path, live: LiveArtifacts, logger: Logger) -> None:
        self._run_dir, self._live, self._logger = run_dir, live, logger
        self._logged_s = time.monotonic()
        self._num_lines = 0
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)

    def progress(self, budget_images: int) -> ProgressLine:
        return ProgressLine("train", budget_images, "images", every_s=_TELL_S, tell=partial(self._advanced, budget_images))

    def told(self, message: Message) -> None:
        require_worker()
        if isinstance(message, Pictured):
            self._live.show("training-sheet", partial(_sheet, message.path))
            self._live.show("training-validation", partial(_validations, self._run_dir))

    def printed(self, line: str) -> None:
        """Bounded: the first lines as they come, the last ones in `close`."""
        self._num_lines += 1
        if self._num_lines <= _LINES:
            self._log(line)
        else:
            self._last_lines.append(line)

    def close(self) -> None:
        left_out = self._num_lines - _LINES - len(self._last_lines)
        if left_out > 0:
            self._log(f"[{left_out} lines left out]")
        for line in self._last_lines:
            self._log(line)

    def _advanced(self, budget_images: int, done: int, line: str) -> None:
        share = ProgressArtifact(key="training-progress", progress=100 * done / budget_images, description=line)
        self._live.show("training-progress", lambda: share)
        if done == budget_images or time.monotonic() - self._logged_s >= _LOG_S:
            self._logged_s = time.monotonic()
            self._logger.info(line)

    def _log(self, line: str) -> None:
        with suppress(SystemExit):  # rich ends a thread whose terminal is gone, and this one must go on reading
            self._logger.info("| %s", line)


def _sheet(path: Path) -> MarkdownArtifact:
    """Prefect's page shows data URIs in Markdown; a link to a file of the training machine it could not."""
    shown = picture(read_preview(path, _SHEET_LONGEST_PX), "Input, generated and target of fixed validation pairs")
    markdown = f"![{shown.alt}]({shown.uri})\n"
    return MarkdownArtifact(key="training-sheet", markdown=markdown, description=f"{shown.alt}: {path}")


def _validations(run_dir: Path) -> TableArtifact:
    rows = [m for m in read_metrics(run_dir / "metrics.jsonl") if any(name.startswith("val_") for name in m)][-_VALIDATIONS:]
    table = [{name: int(value) if name == "images_seen" else round(value, 4) for name, value in row.items()} for row in rows]
    return TableArtifact(key="training-validation", table=table, description=f"Validations of {run_dir}, the newest last")
