"""Whether a file beside a picture says where on the Earth the picture lies. Pictures are read without it."""

from __future__ import annotations

from pathlib import Path

from p2p_core.rasters.images import IMAGE_SUFFIXES

__all__ = ["place_beside"]


def place_beside(picture: Path) -> Path | None:
    """The world file (`.jgw`, `.jpgw`, `.wld`), or GDAL's `.aux.xml` with a transform, that lies beside a picture, if any.

    Of PNG, JPEG and WebP alone: beside a GeoTIFF GDAL reads it.
    """
    if picture.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    letters = picture.suffix[1:].lower()
    for suffix in (f".{letters[0]}{letters[-1]}w", f".{letters}w", ".wld"):
        for found in (picture.with_suffix(suffix), picture.with_suffix(suffix.upper())):
            if found.is_file():
                return found
    auxiliary = picture.with_name(f"{picture.name}.aux.xml")
    return auxiliary if auxiliary.is_file() and b"<GeoTransform>" in auxiliary.read_bytes() else None
