"""Teaching a model what subgroups answer: recipes, objectives, and adapters that say what they were taught."""

from valuestrata.tuning.recipe import Recipe, builtin_recipes, load_recipe

__all__ = ["Recipe", "builtin_recipes", "load_recipe"]
