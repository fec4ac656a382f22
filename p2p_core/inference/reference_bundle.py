"""A bundle of a generator that the reference PyTorch code trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import Encoding, encoding
from p2p_core.errors import ConfigError, OutputError
from p2p_core.files import output_errors, sha256_file
from p2p_core.inference.bundle import BundleSpec, save_bundle
from p2p_core.inference.forward import centre_crop, forward_pixels
from p2p_core.inference.reference_checkpoint import load_reference_generator
from p2p_core.model.generator import ResNetConfig, UNetConfig
from p2p_core.model.norm import NormMode, set_norm_mode

__all__ = ["bundle_reference"]

_CROP_PX = 256
"""What the reference crops unless told otherwise."""

_PATCHES = 16
_USUAL: dict[tuple[int, int], tuple[str, str]] = {
    (3, 3): ("rgb", "rgb"),
    (1, 3): ("gray", "rgb"),
    (3, 1): ("rgb", "gray"),
    (1, 1): ("gray", "gray"),
    (1, 2): ("lab_l", "lab_ab"),  # its dataset_mode colorization: L / 50 - 1 and ab / 110, as ours
}
"""(input bands, output bands) -> encodings, whose scaling to [-1, 1] is the reference's."""

_UNKNOWN = "unknown"
Pictures = NDArray[Any]


def bundle_reference(
    checkpoint: Path,
    out: Path,
    *,
    name: str | None = None,
    encodings: tuple[str, str] | None = None,
    norm: NormMode = "frozen",
    dropout: float = 0.5,
    pairs: tuple[Pictures, Pictures] | None = None,
) -> str:
    """Write the generator in `checkpoint` (`latest_net_G.pth`) as a bundle and return its digest.

    Args:
        encodings: of input and target; by the network's bands unless given.
        norm: `frozen` is what the reference does with `--eval`, `instance` what it does without, at batch 1 and without
            dropout. Of a generator with instance norm both are the same, and the bundle says `instance`.
        dropout: see `load_reference_generator`.
        pairs: inputs and targets, (N, H, W, C) each, to become the gate pairs. Without them two made-up pictures do, with
            the model's own output as target.

    Raises:
        WeightsError: `checkpoint` is no such file.
        ConfigError: the encodings do not fit the network, or have to be given.
        OutputError: `out` holds something, or cannot be written.
    """
    with output_errors(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(f"{out} exists already and is not empty", remedy="Choose a new directory for the bundle")
    generator = load_reference_generator(checkpoint, dropout=dropout)
    config = generator.config
    spec = BundleSpec(
        name=name or out.resolve().name,
        architecture=config,
        **dict(zip(("input_encoding", "target_encoding"), _encodings(config, encodings, checkpoint), strict=True)),
        tile_px=max(_CROP_PX, config.lattice_px),
        norm="instance" if config.instance_norm else norm,
        recipe=f"imported:{sha256_file(checkpoint)[:16]}",
        images_seen=0,
        dataset_digest=_UNKNOWN,
        metrics={},
    )
    source, target = encoding(spec.input_encoding), encoding(spec.target_encoding)
    if pairs is None:
        input_NHWC = _made_up(source, spec.tile_px)
        set_norm_mode(generator, spec.norm)
        pairs = input_NHWC, forward_pixels(generator, input_NHWC, source, target)
    return save_bundle(out, spec, generator, *(centre_crop(pixels, config.lattice_px) for pixels in pairs))


def _encodings(config: UNetConfig | ResNetConfig, given: tuple[str, str] | None, checkpoint: Path) -> tuple[str, str]:
    bands = config.input_bands, config.output_bands
    chosen = given or _USUAL.get(bands)
    if chosen is None:
        raise ConfigError(
            f"{checkpoint} turns {bands[0]} into {bands[1]} bands, and no pair of encodings is usual for that",
            remedy=f"Say what they are, for example --input-encoding bands:{bands[0]}:uint8 --target-encoding rgb",
        )
    channels = encoding(chosen[0]).channels, encoding(chosen[1]).channels
    if channels != bands:
        raise ConfigError(
            f"{checkpoint} turns {bands[0]} into {bands[1]} bands; {chosen[0]} has {channels[0]}, {chosen[1]} {channels[1]}",
            remedy="Give the encodings it was trained with",
        )
    return chosen


def _made_up(source: Encoding, side_px: int) -> Pictures:
    """Two pictures of random patches: what a network makes of them depends on all of its weights."""
    shape = (2, _PATCHES, _PATCHES, 3 if source.is_picture else source.bands)
    levels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    patch_px = side_px // _PATCHES
    levels_NHWC = levels.repeat(patch_px, axis=1).repeat(patch_px, axis=2)
    return source.of_rgb(levels_NHWC) if source.is_picture else source.of_grey_levels(levels_NHWC.astype(np.float64))
