"""Vector maps as one side of the pairs: the grid they are drawn on, and palettes, which rasters cannot have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from p2p_core.encodings import encoding
from p2p_core.errors import ConfigError, UsageError
from p2p_core.rasters.protocol import Raster
from p2p_core.rasters.registry import open_raster
from p2p_core.rasters.vector import VectorRaster, open_vector
from p2p_core.rasters.vector_file import is_vector

__all__ = ["open_target", "refuse_blended", "require_palette_colours"]


def open_target(input_path: Path, target_path: Path, *, zoom: int | None) -> Raster:
    """Open the target; a vector map on the input's grid, for it is the only grid there is.

    Raises:
        UsageError: neither has a grid.
        P2PError: what `open_raster` or `open_vector` raises.
    """
    if not is_vector(target_path):
        return open_raster(target_path, zoom=zoom)
    if is_vector(input_path):
        raise UsageError(
            f"{input_path} and {target_path} are both vector maps, which have no grid of pixels",
            remedy="Give a raster on one side; the map is drawn on its grid",
        )
    with open_raster(input_path, zoom=zoom) as raster:
        return open_vector(target_path, raster)


def refuse_blended(paths: Sequence[Path], encoding_names: Sequence[str]) -> None:
    """Raises `ConfigError` where a raster is to have the colours of a palette: only vector maps can be drawn in them alone."""
    for path, name in zip(paths, encoding_names, strict=True):
        if encoding(name).is_palette and not is_vector(path):
            raise ConfigError(
                f"{path} cannot be encoded as {name!r}: rasters are resampled, which blends colours",
                remedy="Use rgb, or a vector map drawn without antialiasing",
            )


def require_palette_colours(raster: Raster, encoding_name: str) -> None:
    """Raises `ConfigError` where a vector map is to have the colours of a palette and would have others, too."""
    kind = encoding(encoding_name)
    if not kind.is_palette or not isinstance(raster, VectorRaster):
        return
    if raster.is_antialiased:
        raise ConfigError(
            f"{raster.name} is drawn with antialiasing, which blends the colours of {encoding_name!r}",
            remedy='Write "antialias": false in its style',
        )
    strange = (kind.of_rgb(raster.colours) != raster.colours).any(axis=1)
    if strange.any():
        first = bytes(raster.colours[strange][0].tolist()).hex()
        raise ConfigError(
            f"{raster.name} draws in #{first}, which is no colour of {encoding_name!r}",
            remedy="Use the palette's colours in the style, its background included; or name its own colours as the palette",
        )
