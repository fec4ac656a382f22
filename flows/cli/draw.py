"""`p2p draw`: a vector map as a picture, to see a style before a dataset is built with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["draw"]


def draw(
    vector_map: Annotated[Path, typer.Argument(metavar="MAP", help="GeoJSON, TopoJSON, or a style file of several layers.")],
    raster: Annotated[Path, typer.Argument(metavar="RASTER", help="On whose grid it is drawn: GeoTIFF, VRT, XYZ tree, Zarr.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.tif", help="The GeoTIFF to write; one that is there is replaced.")],
    zoom: Annotated[int | None, typer.Option(min=0, help="Of an XYZ tree that holds several.")] = None,
) -> None:
    """Draw a vector map on a raster's grid, pixel by pixel as `p2p build maps` will: to look at a style first.

    \b
    Examples:
      p2p draw style.json aerial.tif map.tif
      p2p draw countries.topojson aerial.tif map.tif
    """
    from p2p_core.errors import UsageError
    from p2p_core.rasters.geotiff_writer import write_geotiff
    from p2p_core.rasters.registry import open_raster
    from p2p_core.rasters.vector import open_vector
    from p2p_core.rasters.vector_file import is_vector

    if not is_vector(vector_map):
        raise UsageError(f"{vector_map} is no vector map", remedy="Give the map first: GeoJSON, TopoJSON or a style file")
    if out.suffix.lower() not in (".tif", ".tiff") or out.resolve() == raster.resolve():
        raise UsageError(f"The map cannot be drawn to {out}", remedy="Name another file, which ends in .tif")
    with open_raster(raster, zoom=zoom) as target, open_vector(vector_map, target) as drawn:
        write_geotiff(out, drawn)
        print(f"{out}: {drawn.width_px}x{drawn.height_px} px in {drawn.crs}")
