"""Tuning: recipes, training data, training, evaluation and export."""

from valuestrata.tuning.recipe import Recipe, builtin_recipes, load_recipe

__all__ = ["Recipe", "builtin_recipes", "load_recipe"]
