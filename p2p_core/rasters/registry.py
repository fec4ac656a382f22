"""Open any raster by its path, and tell whether a source has changed.

A file's format goes by its suffix, a directory's by what is in it; what the content is not, the format's reader says.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from p2p_core.digests import file_digest
from p2p_core.errors import ConfigError, EmptySourceError, RasterError
from p2p_core.files import sha256_json
from p2p_core.rasters.geotiff import open_geotiff
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.protocol import Raster
from p2p_core.rasters.vector_file import is_vector
from p2p_core.rasters.vector_style import layer_files
from p2p_core.rasters.xyz import XYZRaster, zooms
from p2p_core.rasters.zarr_array import ZarrRaster, is_zarr

__all__ = ["FILE_FORMATS", "is_xyz", "may_be_placed", "open_raster", "source_digest"]

FILE_FORMATS: dict[str, Callable[[Path], Raster]] = {
    ".png": ImageRaster,
    ".jpg": ImageRaster,
    ".jpeg": ImageRaster,
    ".webp": ImageRaster,
    ".tif": open_geotiff,
    ".tiff": open_geotiff,
    ".vrt": open_geotiff,
}
"""By suffix, in lower case."""


def open_raster(path: Path, *, zoom: int | None = None) -> Raster:
    """Open an image, GeoTIFF, VRT, XYZ tree, Zarr array or archive output. Use it as a context manager.

    Args:
        zoom: which zoom of an XYZ tree; needed only where it holds several.

    Raises:
        RasterError: missing, of a format nobody knows, or unreadable; each format's reader says why.
        EmptySourceError: a directory with nothing in it.
        ConfigError: an XYZ tree of several zooms without a choice, or a zoom for something else.
    """
    if _require_present(path):
        if is_xyz(path):
            return XYZRaster(path, zoom=zoom)
        if is_zarr(path):
            _refuse_zoom(path, zoom)
            return ZarrRaster(path)
        raise _unknown(path)
    if is_vector(path):
        raise RasterError(
            f"{path} is a vector map, which has no pixels of its own",
            remedy="Build `maps` of it and a raster, on whose grid it is drawn",
            reason="unsupported",
        )
    if path.suffix.lower() not in FILE_FORMATS:
        raise _unknown(path)
    _refuse_zoom(path, zoom)
    return FILE_FORMATS[path.suffix.lower()](path)


def source_digest(path: Path) -> str:
    """sha256 of a file's bytes; of a directory, over its files' (relative path, sha256) in order.

    A VRT counts with the files it reads from, and a map style with its layers: its own bytes do not change when they do.

    Raises:
        RasterError: missing or unreadable.
        EmptySourceError: a directory with nothing in it.
        ConfigError: a map style that is none.
    """
    is_directory = _require_present(path)
    digest_of = file_digest()
    try:
        if is_directory:
            files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
            return sha256_json([[name, digest_of(file)] for name, file in files])
        if path.suffix.lower() == ".vrt":
            with open_geotiff(path) as raster:
                return sha256_json([[file.name, digest_of(file)] for file in raster.files])
        if is_vector(path) and len(layers := layer_files(path)) > 1:
            return sha256_json([[name, digest_of(file)] for name, file in layers.items()])
        return digest_of(path)
    except OSError as error:
        raise RasterError(f"{path} cannot be read: {error}", remedy="Make it readable for this user") from error


def is_xyz(path: Path) -> bool:
    """Whether it is a directory with zooms in it."""
    return path.is_dir() and not is_zarr(path) and bool(zooms(path))


def may_be_placed(path: Path) -> bool:
    """Whether a file's format, by its suffix, can tell a place on the Earth."""
    return FILE_FORMATS.get(path.suffix.lower()) is open_geotiff


def _require_present(path: Path) -> bool:
    """Whether it is a directory rather than a file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise RasterError(
                f"{path} is a link that leads nowhere", remedy="Mend or remove the link", reason="missing"
            ) from None
        raise RasterError(
            f"{path} does not exist", remedy="Check the path; a relative one starts at the current directory", reason="missing"
        ) from None
    except OSError as error:  # a circle of links, a directory that may not be entered
        raise RasterError(f"{path} cannot be read: {error.strerror}", remedy="Mend or remove it", reason="missing") from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe or a device: reading it may never end
        raise RasterError(f"{path} is neither a file nor a directory", remedy="Move it elsewhere", reason="unsupported")
    if stat.S_ISDIR(mode) and next(path.iterdir(), None) is None:
        raise EmptySourceError(f"{path} is empty", remedy="Put images there, or name another directory")
    return stat.S_ISDIR(mode)


def _refuse_zoom(path: Path, zoom: int | None) -> None:
    if zoom is not None:
        raise ConfigError(f"{path} has no zooms to choose from", remedy="Leave the zoom out, or name an XYZ tree")


def _unknown(path: Path) -> RasterError:
    kind = "directory" if path.is_dir() else f"file ({path.suffix or 'no suffix'})"
    return RasterError(
        f"{path} is a {kind} of no known raster format",
        remedy=f"Readable are {', '.join(FILE_FORMATS)}, XYZ trees z/x/y.png, Zarr v3 arrays and archive outputs",
        reason="unsupported",
    )
