"""Flow `promote`: ask the gate whether a registered version may be `champion`."""

from __future__ import annotations

from prefect import flow, task
from pydantic import Field

from flows.services.artifacts import publish_table
from flows.services.models import default_tracking_uri
from flows.services.promotion import Promotion
from flows.services.promotion import promote as promote_version
from flows.wiring import RETRIES, announce
from p2p_core.config import Config


class PromoteRequest(Config):
    """`version` of the registered model `name`."""

    name: str
    version: str = Field(pattern=r"\d+")
    tracking_uri: str | None = None


@task(name="promote", **RETRIES)
def promote_task(request: PromoteRequest) -> Promotion:
    return promote_version(request.name, request.version, tracking_uri=request.tracking_uri or default_tracking_uri())


@flow(name="promote")
def promote(request: PromoteRequest) -> Promotion:
    """Set the alias if the gate agrees; a refusal is a result with a reason, not a failure."""
    made = promote_task(request)
    announce(f"{made.name} version {made.version} {'is champion' if made.promoted else 'is not promoted'}: {made.reason}")
    publish_table("promotion", [made.model_dump()], made.reason)
    return made
