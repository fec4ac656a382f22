"""Recipes have the published numbers, differ, and are for the stores that they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2p_core.errors import StoreError, UsageError
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.manifest import DatasetSpec
from p2p_core.recipes import RECIPES, recipe, recipe_for
from preprocessing.builders import BUILDERS

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
PUBLISHED = [
    # recipe, pairs, epochs, batch, jitter, mirror: the table of the paper's section 6.2
    ("facades", 400, 200, 1, True, True),
    ("cityscapes", 2_975, 200, 1, True, True),
    ("maps", 1_096, 200, 1, False, True),  # its jitter is the crop's place in 600 px
    ("colorization", 1_200_000, 6, 4, False, True),
    ("edges2shoes", 50_000, 15, 4, False, False),
    ("edges2handbags", 137_000, 15, 4, False, False),
    ("day2night", 17_823, 17, 4, True, True),
    ("thermal", 36_609, 10, 4, True, True),
    ("holes", 14_900, 25, 4, False, True),
]


def store(builder: str, inputs: str, targets: str) -> DatasetSpec:
    return DatasetSpec(
        builder=builder,
        builder_version=1,
        parameters={},
        split_rule={},
        input_encoding=inputs,
        target_encoding=targets,
        height_px=256,
        width_px=256,
        layout=StoreLayout(),
    )


@pytest.mark.parametrize(("name", "num_pairs", "epochs", "batch_size", "jitter", "mirror"), PUBLISHED)
def test_a_recipe_of_the_paper_has_the_papers_numbers(
    name: str, num_pairs: int, epochs: int, batch_size: int, jitter: bool, mirror: bool
) -> None:
    config = recipe(name)
    assert (config.budget_images, config.batch_size) == (num_pairs * epochs, batch_size)
    assert (config.augment.resize_px, config.augment.crop_px, config.augment.mirror) == (286 if jitter else None, 256, mirror)
    assert (config.generator.kind, config.discriminator.receptive_field_px) == ("unet", 70)
    assert (config.objective.reconstruction, config.objective.reconstruction_weight) == ("l1", 100)
    assert (config.objective.adversarial, config.optimiser.learning_rate, config.ema_images) == ("cross_entropy", 2e-4, 0)
    assert config.budget_images / config.checkpoint_every_images <= 201


def test_no_recipe_is_another_under_a_new_name() -> None:
    configs = {name: made.make() for name, made in RECIPES.items()}
    assert {name: config.recipe for name, config in configs.items()} == {name: name for name in RECIPES}
    assert all(made.make.__name__ == name for name, made in RECIPES.items())
    bare = [config.model_dump_json(exclude={"recipe"}) for config in configs.values()]
    same = [name for name, dump in zip(configs, bare, strict=True) if bare.count(dump) > 1]
    assert same == []


@pytest.mark.parametrize(
    ("name", "inputs", "targets"), [("colorization", 1, 2), ("camvid_to_labels", 3, 12), ("thermal", 1, 3)]
)
def test_networks_are_as_wide_as_the_store_and_all_else_is_the_recipes(name: str, inputs: int, targets: int) -> None:
    encodings = {"colorization": ("lab_l", "lab_ab"), "camvid_to_labels": ("rgb", "one_hot:camvid"), "thermal": ("gray", "rgb")}
    config = recipe_for(name, store(RECIPES[name].stores[0].builder, *encodings[name]))
    assert (config.generator.input_bands, config.generator.output_bands) == (inputs, targets)
    assert config == recipe(name).for_channels(inputs, targets)


@pytest.mark.parametrize(
    ("name", "builder", "encodings", "told"),
    [
        (
            "colorization",
            "holes",
            ("rgb", "rgb"),
            "this one is of `holes`, rgb -> rgb. Build one: p2p build colour PHOTOS --out",
        ),
        (
            "holes",
            "gray",
            ("gray", "rgb"),
            "Build one: p2p build holes PHOTOS --out pairs, or train colorization on this store",
        ),
        ("camvid", "labels", ("one_hot:facades", "rgb"), "--set palette=camvid"),
        ("facades_to_labels", "labels", ("one_hot:facades", "rgb"), "or train facades on this store"),
        ("facades", "palette", ("rgb", "rgb"), "or train palette on this store"),
        ("world", "maps", ("bands:4:uint16", "rgb"), "or train maps on this store"),
    ],
)
def test_a_store_of_another_kind_is_refused_with_the_command_that_builds_one(
    name: str, builder: str, encodings: tuple[str, str], told: str
) -> None:
    with pytest.raises(StoreError) as refused:
        recipe_for(name, store(builder, *encodings))
    assert told in str(refused.value)


def test_an_unknown_recipe_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Use one of: facades, facades_to_labels, cityscapes,"):
        recipe_for("pix", store("holes", "rgb", "rgb"))


def test_every_builder_has_a_recipe_and_every_recipe_names_builders() -> None:
    named = {kind.builder for made in RECIPES.values() for kind in made.stores}
    assert named == set(BUILDERS)


def test_the_page_of_recipes_tells_every_setting_and_command() -> None:

    for name, made in RECIPES.items():
        config = made.make()
        cells = [cell.strip() for cell in next(r for r in PAGE.splitlines() if r.startswith(f"| `{name}` | ")).split("|")[1:-1]]
        assert cells[1] == made.task
        assert f"{config.budget_images:,}" in cells[2]
        assert cells[3] == str(config.batch_size)
        if name != "maps":
            assert cells[4] == ("yes" if config.augment.resize_px else "no")
        assert cells[5] == ("yes" if config.augment.mirror else "no")
        assert cells[6] == ("L1+cGAN" if config.is_adversarial else config.objective.reconstruction.upper())
        for kind in made.stores:
            assert f"`{kind.build_command.replace('camvid', 'cityscapes')}`" in PAGE


def test_the_help_of_train_names_every_recipe() -> None:
    from typer.main import get_command

    from flows.cli import app

    told = get_command(app).commands["train"].help
    words = set(told.replace(",", " ").split())
    assert set(RECIPES) <= words
