"""Every recipe: its pairs built by the command that it names, 64 images of training, and a file at hand made into a picture."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from flows.cli import run
from p2p_core.config import with_settings
from p2p_core.inference.bundle import load_bundle
from p2p_core.lab import lab_of_rgb
from p2p_core.pairstore.reader import PairStore
from p2p_core.palettes import palette
from p2p_core.rasters.registry import open_raster
from p2p_core.recipes import RECIPES, recipe_for
from p2p_core.recipes.recipe import StoreKind
from p2p_core.training.loop import train
from p2p_core.training.tracker import JsonLinesTracker

SHRUNK = (
    *("generator.depth=3", "generator.base_width=8", "discriminator.num_layers=1", "discriminator.base_width=8"),
    *("augment.crop_px=32", "validate_every_images=0", "checkpoint_every_images=0", "log_every_images=16", "budget_images=64"),
)
"""All else is the recipe's: objective, batch, learning rate, mirror; and jitter, where it has one, of 4 px instead of 30."""

SIZES = {
    "maps": "--set tile_px=32 --set source_px=64 --block-px 32",
    "palette": "--set resize_px=[32,32]",
}
_SIZE = "--set resize_px=[32,32] --set jitter_px=4"
"""Of pairs: 32 px; and 4 px of room for jitter, except for palettes, which nobody may crop."""

KINDS = [(name, kind.builder) for name, recipe in RECIPES.items() for kind in recipe.stores]


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


@dataclass(frozen=True)
class Made:
    name: str
    store: Path
    bundle: Path

    def picture(self, source: Path) -> Image.Image:
        """What `p2p translate` makes of a file, with no flag."""
        painted = self.bundle.parent / f"{source.stem}_painted.png"
        assert run(["translate", str(self.bundle), str(source), str(painted)]) == 0
        with Image.open(painted) as picture:
            picture.load()
        return picture


@pytest.fixture(scope="session")
def build(source_for: Callable[[str, str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """(recipe, builder) -> a store, built by the very command that the recipe names; only the sizes are other ones."""
    known: dict[StoreKind, Path] = {}

    def make(name: str, builder: str) -> Path:
        kind = next(kind for kind in RECIPES[name].stores if kind.builder == builder)
        if kind not in known:
            words = shlex.split(kind.build_command)[1:]
            words = [str(source_for(name, builder, word)) if word.isupper() else word for word in words]
            out = words[words.index("pairs")] = str(tmp_path_factory.mktemp(f"{name}_{builder}") / "pairs")
            assert run([*words, *shlex.split(SIZES.get(builder, _SIZE))]) == 0
            known[kind] = Path(out)
        return known[kind]

    return make


@pytest.fixture(scope="session")
def trained(build: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """A recipe -> its model, trained on a store of its usual builder. Each once."""
    known: dict[str, Made] = {}

    def make(name: str) -> Made:
        if name not in known:
            torch.set_num_threads(1)
            store, run_dir = build(name, RECIPES[name].stores[0].builder), tmp_path_factory.mktemp(name) / "run"
            config = recipe_for(name, PairStore.open(store).manifest)
            config = with_settings(config, (*SHRUNK, *(("augment.resize_px=36",) if config.augment.resize_px else ())))
            with closing(JsonLinesTracker(run_dir, resume_from=0)) as tracker:
                train(config, store, run_dir, tracker=tracker, progress=Silent(), device="cpu")
            known[name] = Made(name, store, run_dir / "bundle")
        return known[name]

    return make


def pixels(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_a_picture_of_a_file_at_hand(name: str, trained, raw_file) -> None:
    model, source = trained(name), raw_file(name)
    picture = model.picture(source)
    with open_raster(source) as given:
        assert picture.size == (given.width_px, given.height_px)
    assert picture.mode == "RGB"
    assert pixels(picture).std() > 1, "there is something to be seen"
    assert load_bundle(model.bundle).spec.images_seen == 64


@pytest.mark.parametrize(("name", "builder"), [kind for kind in KINDS if kind[1] != RECIPES[kind[0]].stores[0].builder])
def test_the_other_builders_that_a_recipe_names_make_stores_for_it(name: str, builder: str, build) -> None:
    manifest = PairStore.open(build(name, builder)).manifest
    assert manifest.counts["train"] > 0
    assert recipe_for(name, manifest).recipe == name


@pytest.mark.parametrize(
    ("name", "colours"),
    [
        ("facades_to_labels", "facades"),
        ("cityscapes_to_labels", "cityscapes"),
        ("camvid_to_labels", "camvid"),
        ("masks", "000000-ffffff"),
    ],
)
def test_a_photo_becomes_labels_in_colours_of_the_palette_alone(name: str, colours: str, trained, raw_file) -> None:
    drawn_HWC = pixels(trained(name).picture(raw_file(name)))
    assert np.array_equal(palette(colours).snap(drawn_HWC), drawn_HWC)


def test_a_gray_photo_is_coloured_and_keeps_its_lightness(trained, raw_file) -> None:
    source = raw_file("colorization")
    painted_HWC = pixels(trained("colorization").picture(source))
    gray_HWC = pixels(Image.open(source).convert("RGB"))
    assert np.abs(lab_of_rgb(painted_HWC)[..., 0] - lab_of_rgb(gray_HWC)[..., 0]).max() < 1
    assert np.ptp(painted_HWC, axis=-1).max() > 0


def test_a_photo_goes_through_an_edge_model_once_its_edges_are_drawn(trained, tmp_path) -> None:
    import skimage.data

    (tmp_path / "photos").mkdir()
    Image.fromarray(skimage.data.coffee()[100:196, 200:296]).save(tmp_path / "photos" / "cup.jpg")
    assert run(["edges", str(tmp_path / "photos"), str(tmp_path / "edges"), "--workers", "0"]) == 0
    picture = trained("edges2shoes").picture(tmp_path / "edges" / "cup.png")
    assert (picture.size, picture.mode) == ((96, 96), "RGB")


def test_p2p_train_takes_its_budget_by_set_and_refuses_a_store_of_another_kind(build, tmp_path, capfd) -> None:
    store, settings = build("holes", "holes"), [word for setting in SHRUNK for word in ("--set", setting)]
    assert run(["train", "holes", "--data", str(store), "--out", str(tmp_path / "run"), *settings]) == 0
    assert load_bundle(tmp_path / "run" / "bundle").spec.images_seen == 64
    capfd.readouterr()
    assert run(["train", "colorization", "--data", str(store), "--out", str(tmp_path / "refused"), *settings]) == 1
    assert "Build one: p2p build colour PHOTOS --out pairs, or train holes on this store." in capfd.readouterr().err
    assert not (tmp_path / "refused" / "config.json").exists()
