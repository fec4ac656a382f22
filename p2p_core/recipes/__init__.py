"""Recipes: functions that return a full run configuration, and the pair stores each is for.

Change one with `replace(facades(), ...)` or `--set`. docs/recipes.md lists them with their settings and their sources.
"""

from __future__ import annotations

from p2p_core.recipes.community import landmarks, masks, palette, sketches
from p2p_core.recipes.ground import maps, world
from p2p_core.recipes.labels import camvid, camvid_to_labels, cityscapes, cityscapes_to_labels, facades, facades_to_labels
from p2p_core.recipes.photos import colorization, day2night, edges2handbags, edges2shoes, holes, thermal
from p2p_core.recipes.registry import RECIPES, recipe, recipe_for

__all__ = [
    "RECIPES",
    "camvid",
    "camvid_to_labels",
    "cityscapes",
    "cityscapes_to_labels",
    "colorization",
    "day2night",
    "edges2handbags",
    "edges2shoes",
    "facades",
    "facades_to_labels",
    "holes",
    "landmarks",
    "maps",
    "masks",
    "palette",
    "recipe",
    "recipe_for",
    "sketches",
    "thermal",
    "world",
]
