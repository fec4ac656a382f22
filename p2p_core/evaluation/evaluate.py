"""Score a bundle on one split, beside the baselines it has to beat. One protocol, stamped on every number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from p2p_core.config import Config
from p2p_core.encodings import Encoding, encoding
from p2p_core.errors import BundleError, StoreError
from p2p_core.evaluation import metrics
from p2p_core.evaluation.baselines import AffineColourMap, identity
from p2p_core.evaluation.sheets import contact_sheet, save_png
from p2p_core.inference.bundle import ModelBundle, load_bundle
from p2p_core.inference.forward import centre_crop
from p2p_core.inference.translator import Translator
from p2p_core.model.norm import NormMode
from p2p_core.pairstore.reader import PairStore

__all__ = ["Evaluation", "Protocol", "Scores", "evaluate"]

_SHEET_ROWS = 8


class Protocol(Config):
    """How the numbers were taken. Numbers of different protocols are not compared."""

    name: str = "p2p-1"
    norm: NormMode
    crop_px: int
    dropout: bool = False
    l1: str = "mean absolute difference in grey levels of 255"
    psnr: str = "10 log10(255^2 / MSE) per image"
    ssim: str = "Wang et al. 2004, Gaussian sigma 1.5, mean of bands"
    aggregation: str = "mean over images; energies as ratios of sums over all images"


class Scores(Config):
    """Means over the split. L1 in grey levels of 255, which for `bands` are 255ths of the target's range, and what lies outside
    is cut to it; energies as ratios to the targets'."""

    l1: float
    psnr_db: float
    ssim: float
    gradient_energy_ratio: float
    checkerboard_ratio: float


class Evaluation(Config):
    """evaluation.json: one model on one split, beside the baselines.

    Attributes:
        scores: `model`, `affine` (fitted on the training split) and, where the input could be the answer, `identity`.
        image_l1: L1 of every image by its pair's id.
    """

    schema_version: int = 1
    protocol: Protocol
    model: str
    model_digest: str
    dataset_digest: str
    split: str
    num_images: int = Field(ge=1)
    scores: dict[str, Scores]
    image_l1: dict[str, float]

    def beats(self, baseline: str) -> bool:
        """Whether the model's L1 is lower than the baseline's."""
        return self.scores["model"].l1 < self.scores[baseline].l1


def evaluate(
    bundle_path: Path, store_path: Path, *, split: str = "test", sheet: Path | None = None, norm: NormMode | None = None
) -> Evaluation:
    """Translate every pair of `split` and score it. With `sheet`, a picture of evenly chosen pairs is written there.

    Raises:
        BundleError: the bundle is damaged, or reads or makes other bands than the store holds.
        StoreError: the store is incomplete, has no such split, or the split is empty.
    """
    bundle, store = load_bundle(bundle_path), PairStore.open(store_path)
    _require_fit(bundle, store)
    _require_room(store)
    translator = Translator(bundle, norm=norm)
    chosen = store.split(split)
    if not len(chosen):
        raise StoreError(
            f"Split {split!r} of {store_path} holds no pair", remedy="Evaluate another split or build a larger store"
        )
    input_NHWC, target_NHWC = (centre_crop(pixels, bundle.spec.lattice_px) for pixels in chosen.read_cores())
    answers = {"model": translator.translate(input_NHWC, batch_size=8)}
    source, target = bundle.input_encoding, bundle.target_encoding
    answers["affine"] = AffineColourMap.fit(*store.split("train").read_cores(), source, target)(input_NHWC)
    as_it_is = identity(input_NHWC, source, target)
    if as_it_is is not None:
        answers["identity"] = as_it_is
    if sheet is not None:
        _save_sheet(sheet, input_NHWC, answers, target_NHWC, (source, target))
    ids = [record.pair_id for record in chosen.records]
    levels_NHWC = target.to_grey_levels(target_NHWC)
    answered = {name: target.to_grey_levels(answer) for name, answer in answers.items()}
    image_l1 = metrics.l1(answered["model"], levels_NHWC)
    return Evaluation(
        protocol=Protocol(norm=translator.norm, crop_px=input_NHWC.shape[1]),
        model=bundle.spec.name,
        model_digest=bundle.digest,
        dataset_digest=store.manifest.digest,
        split=split,
        num_images=len(chosen),
        scores={name: score(answer, levels_NHWC) for name, answer in answered.items()},
        image_l1={pair_id: round(float(value), 4) for pair_id, value in zip(ids, image_l1, strict=True)},
    )


def score(generated_NHWC: NDArray[Any], target_NHWC: NDArray[Any]) -> Scores:
    """All scores of some answers, (N, H, W, C) each, in grey levels."""
    return Scores(
        l1=float(metrics.l1(generated_NHWC, target_NHWC).mean()),
        psnr_db=float(metrics.psnr_db(generated_NHWC, target_NHWC).mean()),
        ssim=float(metrics.ssim(generated_NHWC, target_NHWC).mean()),
        gradient_energy_ratio=metrics.energy_ratio(metrics.gradient_energy, generated_NHWC, target_NHWC),
        checkerboard_ratio=metrics.energy_ratio(metrics.checkerboard_energy, generated_NHWC, target_NHWC),
    )


def _require_fit(bundle: ModelBundle, store: PairStore) -> None:
    has = (store.manifest.input_encoding, store.manifest.target_encoding)
    wants = (bundle.spec.input_encoding, bundle.spec.target_encoding)
    if tuple(map(encoding, has)) != tuple(map(encoding, wants)):
        raise BundleError(
            f"The model translates {wants[0]} to {wants[1]}, the store pairs {has[0]} with {has[1]}",
            remedy="Evaluate on a store of the kind the model was trained on",
        )


def _require_room(store: PairStore) -> None:
    height_px, width_px = store.manifest.height_px, store.manifest.width_px
    if min(height_px, width_px) < metrics.SSIM_WINDOW_PX:
        raise StoreError(
            f"The store's pairs of {width_px}x{height_px} px are smaller than the window of SSIM, {metrics.SSIM_WINDOW_PX} px",
            remedy="Evaluate on larger tiles",
        )


def _save_sheet(
    path: Path,
    input_NHWC: NDArray[Any],
    answers: dict[str, NDArray[Any]],
    target_NHWC: NDArray[Any],
    encodings: tuple[Encoding, Encoding],
) -> None:
    rows = np.unique(np.linspace(0, len(input_NHWC) - 1, min(len(input_NHWC), _SHEET_ROWS)).astype(int))
    source, target = encodings
    columns = {
        "input": source.to_rgb(input_NHWC[rows]),
        "affine baseline": target.to_rgb(answers["affine"][rows]),
        "generated": target.to_rgb(answers["model"][rows]),
        "target": target.to_rgb(target_NHWC[rows]),
    }
    save_png(contact_sheet(columns), path)
