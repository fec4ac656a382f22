"""From raw files to a picture, once for each kind of pair: built, trained for 64 tiny images, translated without a flag."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image

from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.translate import translate_archive
from p2p_core.encodings import encoding
from p2p_core.errors import BundleError, ConfigError, SizeMismatchError
from p2p_core.evaluation.evaluate import Evaluation, evaluate
from p2p_core.inference.bundle import load_bundle
from p2p_core.inference.translator import Translator
from p2p_core.lab import lab_of_rgb
from p2p_core.model.discriminator import PatchGANConfig
from p2p_core.model.generator import UNetConfig
from p2p_core.pairstore.reader import PairStore
from p2p_core.palettes import PALETTES
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster
from p2p_core.training.config import AugmentConfig, RunConfig
from p2p_core.training.loop import train
from p2p_core.training.tracker import JsonLinesTracker
from preprocessing.build import build_dataset
from preprocessing.builders import BUILDERS
from preprocessing.split import DirectorySplit

SIZE_PX = 32
FACADES = PALETTES["facades"]


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


@dataclass(frozen=True)
class Trained:
    store: Path
    bundle: Path

    def picture(self, source: Path, output: Path) -> NDArray[np.uint8]:
        """What the archive makes of a raw file."""
        job = ArchiveJob(source=source, output=output, bundle=self.bundle, core_px=16, shard_px=32, chunk_px=16)
        assert translate_archive(job).complete
        with open_raster(output) as raster:
            return raster.read(full_window(raster))


def small_run(widths: tuple[int, int]) -> RunConfig:
    return RunConfig(
        recipe="small",
        generator=UNetConfig(depth=2, base_width=8, input_bands=widths[0], output_bands=widths[1]),
        discriminator=PatchGANConfig(num_layers=1, base_width=8, input_bands=widths[0], target_bands=widths[1]),
        augment=AugmentConfig(resize_px=36, crop_px=SIZE_PX),
        batch_size=4,
        budget_images=64,
        validate_every_images=0,
        checkpoint_every_images=0,
    )


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of real photos under photos/, and under labels/ their brightness in classes, by index and as soft JPEG."""
    root = tmp_path_factory.mktemp("raw")
    places = [(split, k) for split, count in (("train", 8), ("val", 2), ("test", 2)) for k in range(count)]
    for i, (split, k) in enumerate(places):
        whole = (skimage.data.astronaut, skimage.data.coffee, skimage.data.chelsea)[i % 3]()
        photo = whole[60 + 8 * i : 124 + 8 * i, 100 + 16 * i : 164 + 16 * i]
        classes = (photo.mean(axis=-1) // 64).astype(np.uint8)
        for kind in ("photos", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(root / "photos" / split / f"{k}.png")
        if k % 2:
            Image.fromarray(classes).save(root / "labels" / split / f"{k}.png")
        else:
            Image.fromarray(FACADES.colours_of(classes)).save(root / "labels" / split / f"{k}.jpg", quality=90, subsampling=0)
    return root


@pytest.fixture(scope="module")
def trained(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trained]:
    """`trained(builder, **parameters)`: each kind once."""
    known: dict[str, Trained] = {}

    def make(name: str, **parameters: object) -> Trained:
        key = f"{name} {sorted(parameters.items())}"
        if key in known:
            return known[key]
        torch.set_num_threads(1)
        root = tmp_path_factory.mktemp(name)
        kind = BUILDERS[name]
        places = (raw / "photos", raw / "labels") if name == "labels" else (raw / "photos",)
        builder = kind.make(places, kind.parameters.parse({"resize_px": (SIZE_PX, SIZE_PX), **parameters}, where="test"))
        build_dataset(builder, root / "store", DirectorySplit())
        widths = encoding(builder.input_encoding).channels, encoding(builder.target_encoding).channels
        with closing(JsonLinesTracker(root / "run", resume_from=0)) as tracker:
            train(small_run(widths), root / "store", root / "run", tracker=tracker, progress=Silent(), device="cpu")
        known[key] = Trained(root / "store", root / "run" / "bundle")
        return known[key]

    return make


def test_a_colorization_model_paints_a_gray_photo_and_keeps_its_lightness(trained, tmp_path) -> None:
    gray_HW = skimage.data.camera()[100:150, 200:260]
    Image.fromarray(gray_HW).save(tmp_path / "old.png")
    painted_HWC = trained("colour").picture(tmp_path / "old.png", tmp_path / "painted")
    assert painted_HWC.shape == (50, 60, 3)
    assert np.ptp(painted_HWC, axis=-1).max() > 0, "there is colour in it"
    wanted = lab_of_rgb(np.repeat(gray_HW[..., np.newaxis], 3, axis=-1))[..., 0]
    assert np.abs(lab_of_rgb(painted_HWC)[..., 0] - wanted).max() < 1


def test_a_colorization_model_takes_a_colour_photo_for_its_gray(trained, tmp_path) -> None:
    model = trained("colour")
    photo_HWC = np.ascontiguousarray(skimage.data.coffee()[100:148, 200:264])
    gray_HWC = encoding("lab_l").of_picture(photo_HWC)
    for name, pixels in (("colour", photo_HWC), ("gray", gray_HWC[..., 0])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    painted = [model.picture(tmp_path / f"{name}.png", tmp_path / name) for name in ("colour", "gray")]
    assert np.array_equal(*painted)
    translator = Translator(load_bundle(model.bundle))
    assert np.array_equal(translator.translate(photo_HWC[np.newaxis]), translator.translate(gray_HWC[np.newaxis]))


def test_a_gray_model_takes_photos_of_either_kind_and_gives_rgb(trained, tmp_path) -> None:
    model = trained("gray")
    photo_HWC = np.ascontiguousarray(skimage.data.coffee()[100:132, 200:240])
    Image.fromarray(photo_HWC).save(tmp_path / "colour.png")
    Image.fromarray(encoding("gray").of_picture(photo_HWC)[..., 0]).save(tmp_path / "gray.png")
    painted = [model.picture(tmp_path / f"{name}.png", tmp_path / name) for name in ("colour", "gray")]
    assert painted[0].shape == (32, 40, 3)
    assert np.array_equal(*painted)


def test_a_label_model_takes_a_soft_palette_picture_as_the_pure_one(trained, raw, tmp_path) -> None:
    model = trained("labels", palette="facades")
    soft = raw / "labels" / "test" / "0.jpg"
    pure_HWC = FACADES.snap(np.asarray(Image.open(soft)))
    Image.fromarray(pure_HWC).save(tmp_path / "pure.png")
    painted = [model.picture(path, tmp_path / path.stem) for path in (soft, tmp_path / "pure.png")]
    assert painted[0].shape == (64, 64, 3)
    assert np.array_equal(*painted)
    indices = np.zeros((1, 32, 32, 1), np.uint8)
    with pytest.raises(BundleError, match=r"reads 3 bands \(one_hot:facades\), the image has 1"):
        Translator(load_bundle(model.bundle)).translate(indices)
    Image.fromarray(indices[0, ..., 0]).save(tmp_path / "indices.png")
    with pytest.raises(SizeMismatchError, match=r"indices\.png has 1 bands; the model takes 3"):
        model.picture(tmp_path / "indices.png", tmp_path / "refused")


def test_a_model_that_draws_labels_gives_colours_of_the_palette_alone(trained, tmp_path) -> None:
    model = trained("labels", palette="facades", direction="photo_to_labels")
    Image.fromarray(skimage.data.astronaut()[:40, :40]).save(tmp_path / "photo.png")
    drawn_HWC = model.picture(tmp_path / "photo.png", tmp_path / "drawn")
    assert np.array_equal(FACADES.snap(drawn_HWC), drawn_HWC)
    assert load_bundle(model.bundle).spec.architecture.output_bands == len(FACADES)


@pytest.mark.parametrize(
    ("builder", "parameters", "baselines"),
    [
        ("colour", {}, {"affine", "identity"}),
        ("gray", {}, {"affine"}),
        ("labels", {"palette": "facades"}, {"affine", "identity"}),
        ("labels", {"palette": "facades", "direction": "photo_to_labels"}, {"affine", "identity"}),
    ],
)
def test_every_kind_of_model_is_scored_in_pixels_beside_its_baselines(
    trained, tmp_path, builder: str, parameters: dict[str, str], baselines: set[str]
) -> None:
    made = trained(builder, **parameters)
    scored: Evaluation = evaluate(made.bundle, made.store, sheet=tmp_path / "sheet.png")
    assert set(scored.scores) == {"model", *baselines}
    input_NHWC, target_NHWC = PairStore.open(made.store).split("test").read_all()
    if "identity" in baselines:
        as_it_is = np.abs(np.broadcast_to(input_NHWC, target_NHWC.shape).astype(float) - target_NHWC).mean()
        assert scored.scores["identity"].l1 == pytest.approx(as_it_is, rel=1e-3)
    generated_NHWC = Translator(load_bundle(made.bundle)).translate(input_NHWC)
    assert scored.scores["model"].l1 == pytest.approx(np.abs(generated_NHWC.astype(float) - target_NHWC).mean(), rel=1e-3)


def test_a_store_with_room_for_jitter_trains_and_is_scored_at_the_size_it_was_asked_for(trained) -> None:
    """The run's own jitter, 36 px, would enlarge 32 px: here 40 px are stored, and none is enlarged."""
    made = trained("gray", jitter_px=8)
    store, bundle = PairStore.open(made.store), load_bundle(made.bundle)
    assert (store.manifest.height_px, bundle.spec.tile_px) == (SIZE_PX + 8, SIZE_PX)
    scored = evaluate(made.bundle, made.store)
    assert scored.protocol.crop_px == SIZE_PX
    input_NHWC, target_NHWC = store.split("test").read_cores()
    generated_NHWC = Translator(bundle).translate(input_NHWC)
    assert scored.scores["model"].l1 == pytest.approx(np.abs(generated_NHWC.astype(float) - target_NHWC).mean(), rel=1e-3)
    gates = store.split("val").read_cores()[0]
    assert np.array_equal(np.sort(bundle.gate_pairs.input_NHWC, axis=0), np.sort(gates, axis=0))


def test_networks_of_another_width_are_refused_with_the_settings_that_fit(trained, tmp_path) -> None:
    message = r"lab_l with lab_ab.* --set generator\.input_bands=1 --set generator\.output_bands=2"
    with closing(JsonLinesTracker(tmp_path, resume_from=0)) as tracker, pytest.raises(ConfigError, match=message):
        train(small_run((3, 3)), trained("colour").store, tmp_path, tracker=tracker, progress=Silent(), device="cpu")
