"""Encodings that parameters choose, for builders whose sources may be of any."""

from __future__ import annotations

from p2p_core.config import Config
from p2p_core.encodings import PALETTE_ENCODINGS
from p2p_core.palettes import Palette, palette

__all__ = ["PALETTE_VERSION", "ChosenEncodings", "EncodingChoice", "named_palette", "palette_name_of"]


PALETTE_VERSION = 2
"""Of builders of whole pictures, where an encoding names a palette: 1 took the nearest colour for every pixel."""


class EncodingChoice(Config):
    """`input_encoding`, `target_encoding`: names of `p2p_core.encodings`."""

    input_encoding: str = "rgb"
    target_encoding: str = "rgb"


class ChosenEncodings:
    """What `PairBuilder` asks of a builder's encodings."""

    parameters: EncodingChoice

    @property
    def names_palette(self) -> bool:
        return any(map(named_palette, (self.input_encoding, self.target_encoding)))

    @property
    def input_encoding(self) -> str:
        return self.parameters.input_encoding

    @property
    def target_encoding(self) -> str:
        return self.parameters.target_encoding


def named_palette(encoding_name: str) -> Palette | None:
    """That of `palette:NAME` and `one_hot:NAME`; None of other encodings."""
    name = palette_name_of(encoding_name)
    return None if name is None else palette(name)


def palette_name_of(encoding_name: str) -> str | None:
    kind, _, name = encoding_name.partition(":")
    return name if kind in PALETTE_ENCODINGS else None
