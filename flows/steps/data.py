"""From two images, and from photos, to pair stores."""

from __future__ import annotations

from typing import Literal

from flows.stages.build import BuildRequest, build, tell_build
from flows.steps.book import Done, Previous
from flows.steps.request import PipelineRequest, clear
from p2p_core.config import Config, replace
from p2p_core.files import output_errors, sha256_file, write_atomic
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.rasters.cut import cut_scene, cut_xyz, georeference_image
from p2p_core.rasters.registry import source_digest
from preprocessing.build import BuildSummary

__all__ = ["PhotoBuilderName", "Sources", "build_pairs", "build_photo_pairs", "prepare_sources"]

_CRS = "EPSG:4326"
PhotoBuilderName = Literal["edges", "colour"]


class Sources(Config):
    """Digests of what was cut, and the size of it."""

    map_digest: str
    aerial_digest: str
    scene_digest: str
    xyz_digest: str
    scene_height_px: int
    scene_width_px: int
    num_tiles: int


def prepare_sources(request: PipelineRequest) -> Done[Sources]:
    """Give both images their place on the Earth and cut the region out of them."""
    inputs = request.model_dump(mode="json", include={"bounds", "region", "zoom"})
    digests = {"map": sha256_file(request.map_image), "aerial": sha256_file(request.aerial_image)}
    place = request.out / "sources"

    def work(previous: Previous) -> Sources:
        if previous == "other":
            clear(place)
        map_tif, aerial_tif, scene_tif = place / "map.tif", place / "aerial.tif", place / "scene.tif"
        georeference_image(request.map_image, map_tif, _CRS, request.bounds)
        georeference_image(request.aerial_image, aerial_tif, _CRS, request.bounds)
        grid = cut_scene(map_tif, scene_tif, request.region, like=aerial_tif)
        cut_scene(aerial_tif, place / "scene_target.tif", request.region)
        tiles = cut_xyz(map_tif, place / "xyz", request.zoom, request.region)
        return Sources(
            map_digest=source_digest(map_tif),
            aerial_digest=source_digest(aerial_tif),
            scene_digest=source_digest(scene_tif),
            xyz_digest=source_digest(place / "xyz"),
            scene_height_px=grid.height_px,
            scene_width_px=grid.width_px,
            num_tiles=len(tiles),
        )

    def tell(made: Sources) -> str:
        return f"a scene of {made.scene_width_px}x{made.scene_height_px} px and {made.num_tiles} tiles to translate"

    return request.book.once("sources", Sources, {**inputs, **digests}, [place / "scene.tif", place / "xyz"], work, tell)


def build_pairs(request: PipelineRequest, sources: Sources) -> Done[BuildSummary]:
    """Map/aerial pairs outside the region."""
    place, out = request.out / "sources", request.out / "pairs"
    build_request = BuildRequest(
        builder="maps",
        sources=(place / "map.tif", place / "aerial.tif"),
        out=out,
        parameters=request.parameters,
        split=replace(request.split, reserved=(*request.split.reserved, request.region)),
        layout=request.layout,
        workers=request.workers,
        about=request.about,
    )
    inputs = {
        **build_request.model_dump(mode="json", include={"builder", "parameters", "split", "layout", "about"}),
        "sources": [sources.map_digest, sources.aerial_digest],
    }
    return request.book.once("build", BuildSummary, inputs, [out / "current"], lambda _: build(build_request), tell_build)


def build_photo_pairs(request: PipelineRequest, builder: PhotoBuilderName) -> Done[BuildSummary]:
    """Pairs of the request's photos with themselves: their edges, or their gray, beside them."""
    place, out = request.out / "photos", request.out / builder
    build_request = BuildRequest(
        builder=builder, sources=(place,), out=out, layout=StoreLayout(num_buckets=4), about=request.photos_about
    )
    inputs = {
        **build_request.model_dump(mode="json", include={"builder", "parameters", "split", "layout", "about"}),
        "photos": {photo.name: sha256_file(photo) for photo in request.photos},
    }

    def work(_: Previous) -> BuildSummary:
        wanted = {photo.name: photo for photo in request.photos}
        for stale in set(place.iterdir() if place.exists() else ()) - {place / name for name in wanted}:
            with output_errors(stale):
                stale.unlink()
        for name, photo in wanted.items():
            write_atomic(place / name, photo.read_bytes())
        return build(build_request)

    return request.book.once(builder, BuildSummary, inputs, [out / "current"], work, tell_build)
