"""Prefect artifacts: what a run made, on its page in Prefect. Small tables and small pictures only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from p2p_core.evaluation.evaluate import Evaluation

__all__ = ["publish_markdown", "publish_scores", "publish_table"]


def publish_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """A table on the current run's page. `key` has lower-case letters, digits and dashes only."""
    from prefect.artifacts import create_table_artifact

    create_table_artifact(key=key, table=[dict(row) for row in rows], description=description)


def publish_markdown(key: str, markdown: str, description: str) -> None:
    """Markdown on the current run's page; Prefect's page also shows pictures in it that are data URIs. `key` as above."""
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(key=key, markdown=markdown, description=description)


def publish_scores(evaluation: Evaluation) -> None:
    """The model beside its baselines."""
    rows = [{"answer": name, **scores.model_dump()} for name, scores in evaluation.scores.items()]
    of = f"{evaluation.num_images} images of {evaluation.split}, dataset {evaluation.dataset_digest[:16]}"
    publish_table("evaluation", rows, f"{evaluation.model} on {of}")
