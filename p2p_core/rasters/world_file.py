"""Whether a file beside a picture says where on the Earth the picture lies. Pictures are read without it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["place_beside"]


def place_beside(picture: Path) -> Path | None:
    """The world file (`.jgw`, `.jpgw`, `.wld`), or GDAL's `.aux.xml` with a transform, that lies beside a picture, if any."""
    letters = picture.suffix[1:]
    if not letters:
        return None
    for suffix in (f".{letters[0]}{letters[-1]}w", f".{letters}w", ".wld"):
        if (found := picture.with_suffix(suffix)).is_file():
            return found
    auxiliary = picture.with_name(f"{picture.name}.aux.xml")
    return auxiliary if auxiliary.is_file() and b"<GeoTransform>" in auxiliary.read_bytes() else None
