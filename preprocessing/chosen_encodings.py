"""Encodings that parameters choose, for builders whose sources may be of any."""

from __future__ import annotations

from p2p_core.config import Config

__all__ = ["ChosenEncodings", "EncodingChoice"]


class EncodingChoice(Config):
    """`input_encoding`, `target_encoding`: names of `p2p_core.encodings`."""

    input_encoding: str = "rgb"
    target_encoding: str = "rgb"


class ChosenEncodings:
    """What `PairBuilder` asks of a builder's encodings."""

    parameters: EncodingChoice

    @property
    def input_encoding(self) -> str:
        return self.parameters.input_encoding

    @property
    def target_encoding(self) -> str:
        return self.parameters.target_encoding
