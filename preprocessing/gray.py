"""Pairs gray -> RGB from a directory of photos: colorization as plain image translation, in RGB."""

from __future__ import annotations

from dataclasses import dataclass

from preprocessing.photo_builder import RecolouringBuilder

__all__ = ["GrayBuilder"]


@dataclass(frozen=True)
class GrayBuilder(RecolouringBuilder):
    """Builder of (luminance by Rec. 601, photo) pairs."""

    name = "gray"
    input_encoding = "gray"
    target_encoding = "rgb"
