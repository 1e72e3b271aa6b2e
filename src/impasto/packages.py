"""The commands that install missing packages. They name the packages themselves, however impasto was installed."""

from __future__ import annotations


def install(*packages: str) -> str:
    """Return the command that installs packages."""
    return " ".join(["pip install", *(f"'{name}'" if "[" in name else name for name in packages)])


#: onnxruntime; the two packages exclude each other. The second brings CUDA and cuDNN along.
CPU = install("onnxruntime")
GPU = install("onnxruntime-gpu[cuda,cudnn]")
EITHER = f"{CPU} or, with an NVIDIA GPU, {GPU}; one of the two, not both"
NEITHER = "pip uninstall --yes onnxruntime onnxruntime-gpu"

#: The beginning of a command that gets newer packages; onnxruntime and its plug-ins depend on each other's versions.
NEWER = install("--upgrade", "onnxruntime")

#: The packages of the command line, beside those of every transfer.
COMMAND_LINE = install("typer", "rich", "platformdirs")

#: The packages of an export, and those of torchvision's weights.
EXPORT = install("onnx", "h5py", "safetensors")
TORCH = install("torch", "torchvision")

#: The package that draws charts.
PLOT = install("matplotlib")

#: The package that spreads work over workers.
CLUSTER = install("distributed")

#: The packages that serve a page.
SERVE = install("starlette", "uvicorn")
