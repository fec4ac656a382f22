"""What the pipeline is asked for, and where everything lies in its output directory.

OUT/sources/     map.tif aerial.tif scene.tif scene_target.tif xyz/z/x/y.png
OUT/pairs/       pair store                     OUT/run/         training run and bundle
OUT/photos/      copies, if photos are given    OUT/edges/ colour/   pair stores made of them
OUT/evaluation/  evaluation.json sheet.png      OUT/models/      bundles fetched from the registry
OUT/scene/ xyz/  archive outputs                OUT/scene.tif xyz-tiles/   their exports
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from flows.services.models import local_tracking_uri
from flows.stages.build import SplitRequest
from flows.stages.executors import Workers
from flows.steps.book import StepBook
from p2p_core.card.about import About
from p2p_core.config import Config
from p2p_core.files import output_errors
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.rasters.grid import Bounds

__all__ = ["PipelineRequest", "clear"]


class PipelineRequest(Config):
    """The whole path for two images of the same ground, in EPSG:4326.

    Attributes:
        map_image, aerial_image: input and target; plain images that both fill `bounds`, north up.
        bounds, region: (west, south, east, north) in degrees. No pair of any split touches the region; it is translated.
        zoom: of the region's Web Mercator tiles.
        parameters, split, layout: of the pair store; see `flows.stages.build.BuildRequest`.
        images, minutes: the training's budget; see `TrainingRequest`.
        photos: from which datasets of edges and of colour are built as well; none means no such steps.
        about, photos_about: for the cards of the pair store, and of those of photos.
        tracking_uri: None takes the embedded store in `out`.
    """

    out: Path
    map_image: Path
    aerial_image: Path
    region: Bounds
    model_name: str
    bounds: Bounds = Bounds(-180.0, -90.0, 180.0, 90.0)
    zoom: int = Field(4, ge=0)
    parameters: dict[str, Any] = Field(default_factory=dict)
    split: SplitRequest = SplitRequest(kind="block")
    layout: StoreLayout = StoreLayout()
    recipe: str = "maps"
    settings: tuple[str, ...] = ()
    images: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    core_px: int = Field(256, ge=1)
    shard_px: int = Field(256, ge=1)
    chunk_px: int = Field(128, ge=1)
    workers: Workers = Workers(count=2)
    photos: tuple[Path, ...] = ()
    about: About = About()
    photos_about: About = About()
    tracking_uri: str | None = None

    @property
    def tracking(self) -> str:
        return self.tracking_uri or local_tracking_uri(self.out)

    @property
    def book(self) -> StepBook:
        return StepBook(self.out)


def clear(place: Path) -> None:
    """Remove what an earlier run of other content left. Only for directories that the step book knows."""
    with output_errors(place):
        shutil.rmtree(place)
