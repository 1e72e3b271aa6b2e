"""The runtime: evaluates exported graphs with onnxruntime and lets SciPy update the picture.

Needs numpy, scipy, threadpoolctl, pillow, psutil and onnxruntime, nothing else. Where platformdirs is installed, a
model is looked for in the user's data folder, too.
"""

from impasto.runtime.engine.engine import release_memory
from impasto.runtime.engine.objective import Objective
from impasto.runtime.errors import (
    DeviceError,
    ExportError,
    ImpastoError,
    InputError,
    ModelError,
    OptionError,
    OutputError,
    PictureError,
    RecipeError,
    TransferError,
    WeightsError,
)
from impasto.runtime.optimize.ending import StopOptimization
from impasto.runtime.run.prepare import stylize
from impasto.runtime.run.result import Result
from impasto.runtime.run.state import Step

__all__ = [
    "DeviceError",
    "ExportError",
    "ImpastoError",
    "InputError",
    "ModelError",
    "Objective",
    "OptionError",
    "OutputError",
    "PictureError",
    "RecipeError",
    "Result",
    "Step",
    "StopOptimization",
    "TransferError",
    "WeightsError",
    "release_memory",
    "stylize",
]
