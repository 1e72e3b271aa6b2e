"""``impasto doctor``: what a transfer needs on this machine, and the commands that get what is missing."""

from __future__ import annotations

import ctypes
import json as json_
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto import __version__, packages
from impasto.cli import options
from impasto.cli.command import examples
from impasto.cli.options import argument, option
from impasto.defaults import DEFAULT_NETWORK, DEFAULT_RECIPE, DEFAULT_WEIGHTS, EXPORTED_RECIPES, MODEL_VARIABLE
from impasto.shortage import is_shortage

if TYPE_CHECKING:
    from impasto.runtime.model.metadata import Metadata

#: The packages without which nothing runs; all that a transfer uses; those that an export needs.
NEEDED = ("numpy", "scipy", "threadpoolctl", "pillow", "psutil")
RUNTIME = (*NEEDED, "onnxruntime", "onnxruntime-gpu")
EXPORT = ("onnx", "h5py", "safetensors")

_DRIVER = "install NVIDIA's driver, or a newer one: https://www.nvidia.com/drivers"

#: Words of the error about a plug-in that is missing.
_NOT_INSTALLED = "is not installed"

#: The speed test: pictures of so many pixels, for so many seconds on each device.
SIDE, SECONDS = 224, 2.0


@dataclass(frozen=True)
class Problem:
    """A problem, and the one command that solves it."""

    what: str
    fix: str


@dataclass
class Findings:
    """The state of this machine, as far as it matters here.

    Attributes
    ----------
    packages
        Distribution -> its version, or None where it is not installed.
    cores
        Processors that this process may use; `installed` is all that the system shows.
    providers
        The execution providers of onnxruntime; `onnxruntime` is the reason why it cannot be imported, if so.
    gpus
        Name, memory and driver of each NVIDIA GPU; the name alone, if only the driver can be asked.
    no_gpu
        The error because of which the driver names none; empty if there is no error.
    driver, cuda, cudnn
        Versions: the newest CUDA that the driver serves, and the libraries that load; None if they do not load.
    cuda_wanted
        The version of CUDA that onnxruntime was built with.
    missing
        The reason why onnxruntime's part for CUDA does not load; empty if it loads, or does not exist.
    model
        The contents of the model folder, or under ``error`` what is wrong with it.
    plugins
        The kind of a plug-in's devices -> those that it has here, or why there are none.
    bfloat16
        Whether the processor multiplies tiles of bfloat16.
    speed
        Device -> milliseconds of one evaluation, or an error.
    """

    impasto: str = __version__
    python: str = platform.python_version()
    system: str = f"{platform.system()} {platform.machine()}"
    cores: int = os.cpu_count() or 1
    installed: int = os.cpu_count() or 1
    packages: dict[str, str | None] = field(default_factory=dict)
    providers: list[str] = field(default_factory=list)
    onnxruntime: str | None = None
    gpus: list[str] = field(default_factory=list)
    no_gpu: str = ""
    driver: str | None = None
    cuda: str | None = None
    cuda_wanted: str | None = None
    cudnn: str | None = None
    missing: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    plugins: dict[str, list[str] | str] = field(default_factory=dict)
    bfloat16: bool = False
    speed: dict[str, float | str] = field(default_factory=dict)

    @property
    def for_cuda(self) -> bool:
        """Whether this onnxruntime is made for CUDA."""
        return "CUDAExecutionProvider" in self.providers

    @property
    def plugged(self) -> list[str]:
        """The devices of all plug-ins."""
        return [device for devices in self.plugins.values() if isinstance(devices, list) for device in devices]


@examples("impasto doctor", "impasto doctor models/vgg19 --no-speed")
def doctor(
    model: Annotated[
        Path | None,
        argument("MODEL", help="A model folder.", default=options.DEFAULT_MODEL, envvar=MODEL_VARIABLE),
    ] = None,
    speed: Annotated[bool, option("--speed/--no-speed", help="Time some evaluations, two seconds a device.")] = True,
    json: options.Json = False,
) -> None:
    """Look for what a transfer needs; say what is missing, and the command that gets it."""
    findings = examine(model, speed=speed)
    problems = diagnose(findings)
    if json:
        print(json_.dumps({**asdict(findings), "problems": [asdict(problem) for problem in problems]}, indent=2))
    else:
        print(render(findings, problems))
    if problems:
        raise typer.Exit(1)


# --- examination ----------------------------------------------------------------------------------------------


def examine(model: Path | None, *, speed: bool) -> Findings:
    """Examine everything. A missing part is a finding, never an error."""
    findings = Findings(packages={name: _version(name) for name in (*RUNTIME, *EXPORT)}, gpus=_nvidia_smi())
    _examine_runtime(findings)
    if findings.onnxruntime:
        findings.model = {"path": str(model or ""), "error": "not opened, for want of onnxruntime"}
        return findings
    from impasto.runtime.model.default import folder_to_write

    model = model or folder_to_write()  # the folder in use, or the one that an export would write
    findings.model = _examine_model(model, in_bfloat16="openvino:cpu" in findings.plugged)
    if speed and "error" not in findings.model:
        devices = ["cpu", *(["cuda:0"] if findings.for_cuda and findings.gpus else []), *findings.plugged]
        recipes = findings.model["recipes"]
        recipe = DEFAULT_RECIPE if DEFAULT_RECIPE in recipes else recipes[0]
        findings.speed = {device: _time(model, recipe, device) for device in devices}
    if findings.for_cuda:  # last, when no session is opened any more
        findings.missing = _missing_library()
    return findings


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # not for every command's help

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _nvidia_smi() -> list[str]:
    """Return the line of nvidia-smi for each GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _cudnn_version(library: ctypes.CDLL | None) -> str | None:
    if library is None:
        return None
    library.cudnnGetVersion.restype = ctypes.c_size_t
    number = int(library.cudnnGetVersion())
    return f"{number // 10000}.{number % 10000 // 100}.{number % 100}"


def _examine_runtime(findings: Findings) -> None:
    """Ask the driver, import onnxruntime and, where it is made for CUDA, load the libraries that this needs."""
    try:
        from impasto.runtime.engine.library import import_onnxruntime, preload_libraries
        from impasto.runtime.errors import DeviceError
        from impasto.runtime.machine import nvidia, processors
    except ImportError as error:  # numpy, say
        if is_shortage(error):
            raise
        findings.onnxruntime = f"{error.name} is not installed"
        return
    findings.cores = processors.usable()
    findings.driver = nvidia.version_of(nvidia.load_library(nvidia.DRIVER), "cuDriverGetVersion")
    try:
        findings.gpus = findings.gpus or nvidia.gpus()  # nvidia-smi is missing in some containers
    except DeviceError as error:
        findings.no_gpu = str(error).partition(";")[0]
    try:
        ort = import_onnxruntime()
    except DeviceError as error:
        findings.onnxruntime = str(error)
        return
    findings.providers = list(ort.get_available_providers())
    _examine_plugins(findings)
    if findings.for_cuda:
        findings.cuda_wanted = str(getattr(ort, "cuda_version", "")) or None
        preload_libraries(ort)
        runtime = nvidia.load_library(nvidia.runtime_libraries(findings.cuda_wanted or ""))
        findings.cuda = nvidia.version_of(runtime, "cudaRuntimeGetVersion")
        findings.cudnn = _cudnn_version(nvidia.load_library(nvidia.CUDNN_LIBRARIES))


def _examine_plugins(findings: Findings) -> None:
    """Load every plug-in that is installed, and list its devices."""
    from impasto.runtime.engine import plugins
    from impasto.runtime.engine.providers import PROVIDERS
    from impasto.runtime.errors import DeviceError
    from impasto.runtime.machine import processors

    findings.bfloat16 = processors.has_bfloat16_tiles()
    for kind, provider in PROVIDERS.items():
        if provider.plugin is None:
            continue
        findings.packages[provider.plugin.distribution] = _version(provider.plugin.distribution)
        try:
            findings.plugins[kind] = list(plugins.devices_here(provider))
        except DeviceError as error:
            findings.plugins[kind] = str(error).partition(": ")[2]


def _missing_library() -> str:
    from impasto.runtime.engine.library import import_onnxruntime
    from impasto.runtime.machine import nvidia

    return nvidia.missing_library(import_onnxruntime().__file__)


def _examine_model(path: Path, *, in_bfloat16: bool) -> dict[str, Any]:
    """Look into a model folder. An older one has no graphs in bfloat16, and needs them for a plug-in only."""
    from impasto.runtime.engine.opening import read_metadata
    from impasto.runtime.errors import ImpastoError, MemoryShortage
    from impasto.runtime.model.folder import ModelFolder
    from impasto.runtime.model.graphs import ALGEBRA, BFLOAT16, GRAPHS

    metadata: list[Metadata] = []
    try:
        folder = ModelFolder.open(path)
        metadata = [read_metadata(folder, recipe) for recipe in folder.recipes()]
        folder.check_weights(metadata[0])
        for recipe in folder.recipes():
            for key in GRAPHS:
                if in_bfloat16 or key.precision != BFLOAT16:
                    folder.graph(recipe, key)
        for name in ALGEBRA:
            folder.algebra(name)
    except MemoryShortage:
        raise  # it is no problem of the model
    except ImpastoError as error:
        return {"path": str(path), "error": str(error), **_command(path, metadata)}
    return {
        "path": str(path),
        "network": metadata[0].network,
        "recipes": list(folder.recipes()),
        "exporter": metadata[0].exporter,
        "random_weights": metadata[0].random_weights,
    }


def _command(path: Path, metadata: Sequence[Metadata]) -> dict[str, str]:
    """Return the command that exports a folder again as it was, if all in it comes with impasto."""
    from impasto.runtime.model.default import export_command
    from impasto.runtime.plan.recipe import builtin_recipes

    own = [graph for graph in metadata if graph.recipe.name not in builtin_recipes()]
    if not metadata or own or metadata[0].weights["source"] != DEFAULT_WEIGHTS:
        return {}
    network = metadata[0].network
    arguments = [] if network == DEFAULT_NETWORK else ["--network", network]
    names = {graph.recipe.name for graph in metadata}
    if names == {*builtin_recipes()}:
        arguments.append("--all")
    elif names != {*EXPORTED_RECIPES}:
        arguments += [word for name in sorted(names) for word in ("--recipe", name)]
    return {"command": export_command(path, *arguments, "--force")}


def _time(model: Path, recipe: str, device: str) -> float | str:
    """Return the milliseconds of the fastest evaluation within two seconds, or an error."""
    import warnings

    import numpy as np

    from impasto.runtime import ImpastoError, Objective

    picture = np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32)
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # random weights are as fast as others
            objective = Objective.open(model, recipe, content=picture, styles=[picture[::-1]], device=device)
        objective.evaluate(planes)  # the first one lays out memory, and tries out convolutions
        times, began = list[float](), time.perf_counter()
        while not times or time.perf_counter() - began < SECONDS:
            start = time.perf_counter()
            objective.evaluate(planes)
            times.append(time.perf_counter() - start)
    except ImpastoError as error:
        return str(error)
    return round(1000 * min(times), 2)


# --- report ---------------------------------------------------------------------------------------------------


def diagnose(findings: Findings) -> list[Problem]:
    """Return the problems, the most fundamental first."""
    missing = [name for name in NEEDED if not findings.packages[name]]
    if missing:
        return [Problem(f"{', '.join(missing)} not installed", packages.install(*missing))]
    runtime = _runtime_problems(findings)
    # A device that fails for such a reason is not reported again.
    speed = [] if runtime else [*_plugin_problems(findings), *_speed_problems(findings)]
    return [*runtime, *_model_problems(findings), *speed]


def _runtime_problems(findings: Findings) -> list[Problem]:
    install = packages.GPU if findings.gpus else packages.CPU
    if findings.packages["onnxruntime"] and findings.packages["onnxruntime-gpu"]:
        message = "onnxruntime and onnxruntime-gpu are both installed, each over files of the other"
        return [Problem(message, f"{packages.NEITHER} && {install}")]
    if findings.onnxruntime:
        installed = findings.packages["onnxruntime"] or findings.packages["onnxruntime-gpu"]
        message = findings.onnxruntime.partition(";")[0]
        return [Problem(message, f"{packages.NEITHER} && {install}" if installed else install)]
    if not findings.gpus:
        if not findings.for_cuda:
            return []
        message = "this onnxruntime is made for CUDA, but no GPU is to be found"
        message += f": {findings.no_gpu}" if findings.no_gpu else ""
        return [Problem(message, f"with a GPU, {_DRIVER}; without one, {packages.NEITHER} && {packages.CPU}")]
    if not findings.for_cuda:
        return [
            Problem("there is a GPU, but this onnxruntime is made for the CPU", f"{packages.NEITHER} && {packages.GPU}")
        ]
    from impasto.runtime.machine.nvidia import CUDNN, serves

    problems = []
    if not findings.cuda:
        problems.append(Problem(f"CUDA {findings.cuda_wanted or ''} does not load".replace("  ", " "), packages.GPU))
    if not findings.cudnn:
        problems.append(Problem(f"cuDNN {CUDNN} does not load", packages.GPU))
    if not findings.driver or not serves(findings.driver, findings.cuda or findings.cuda_wanted or "0"):
        message = f"the driver serves CUDA {findings.driver}" if findings.driver else "NVIDIA's driver does not load"
        problems.append(Problem(f"{message}; onnxruntime needs {findings.cuda_wanted or findings.cuda}", _DRIVER))
    if findings.missing and not problems:
        problems.append(Problem(f"onnxruntime's part for CUDA does not load ({findings.missing})", packages.GPU))
    return problems


def _plugin_problems(findings: Findings) -> list[Problem]:
    """Return the plug-ins that are installed, but do not load. One that is not installed is no problem."""
    problems = []
    for kind, devices in findings.plugins.items():
        if isinstance(devices, str) and _NOT_INSTALLED not in devices:
            message, _, fix = devices.rpartition("; ")
            problems.append(Problem(f"device {kind}: {message}", fix.partition(", or use ")[0]))
    return problems


def _model_problems(findings: Findings) -> list[Problem]:
    problems = []
    if not findings.onnxruntime and "error" in findings.model:
        from impasto.runtime.model.default import export_again, export_command, folder_to_write
        from impasto.runtime.model.folder import ModelFolder

        path = Path(findings.model["path"])
        if ModelFolder(path).recipes():
            command = findings.model.get("command") or export_again(path)
        elif path.is_file() or (path.is_dir() and any(path.iterdir())):  # an export refuses to write there
            command = export_command(folder_to_write())
        else:
            command = export_command(path)
        if not findings.packages["onnx"]:
            command = f"{packages.EXPORT} && {command}"
        problems.append(Problem(findings.model["error"].partition(";")[0], command))
    return problems


def _speed_problems(findings: Findings) -> list[Problem]:
    """Return the errors that kept devices from being timed. An error says after its semicolon what to do."""
    parts = [result.partition(";") for result in findings.speed.values() if isinstance(result, str)]
    return [Problem(message, fix.strip() or "please report it") for message, _, fix in parts]


def render(findings: Findings, problems: Sequence[Problem]) -> str:
    """Return findings and problems as lines of text."""
    packages = {name: number for name, number in findings.packages.items() if number}
    rows = [
        ("impasto", f"{findings.impasto}, Python {findings.python}, {findings.system}, {_cores(findings)}"),
        ("packages", ", ".join(f"{name} {number}" for name, number in packages.items())),
        ("providers", ", ".join(findings.providers) or "none"),
        ("GPU", "; ".join(findings.gpus) or "none found"),
    ]
    if findings.gpus or findings.cuda_wanted:
        rows.append(("driver", f"serves CUDA {findings.driver}" if findings.driver else "does not load"))
    if findings.for_cuda:
        wanted = findings.cuda_wanted or "an unknown version"
        rows.append(("CUDA", f"{findings.cuda or 'does not load'} (made for {wanted})"))
        rows.append(("cuDNN", findings.cudnn or "does not load"))
    rows += [(f"plug-in {kind}", _plugin_line(findings, kind)) for kind in findings.plugins]
    rows.append(("model", _model_line(findings.model)))
    for device, result in findings.speed.items():
        text = result if isinstance(result, str) else f"{result:g} ms an evaluation of {SIDE}x{SIDE} pixels"
        rows.append((f"speed, {device}", text))
    lines = [f"{name:14} {text}" for name, text in rows]
    lines.append("")
    if not problems:
        return "\n".join([*lines, "nothing is missing"])
    for problem in problems:
        lines += [f"problem: {problem.what}", f"    fix: {problem.fix}"]
    return "\n".join(lines)


def _plugin_line(findings: Findings, kind: str) -> str:
    """Return the devices of a plug-in; of one that is missing, the command that gets it, and what it is good for."""
    from impasto.runtime.engine.providers import PROVIDERS

    devices = findings.plugins[kind]
    if not isinstance(devices, str):
        return ", ".join(devices) or f"finds no device here{PROVIDERS[kind].restriction}"
    message, _, rest = devices.partition("; ")
    if _NOT_INSTALLED not in message:
        return message
    gain = (
        ", for evaluations several times as fast on this processor" if kind == "openvino" and findings.bfloat16 else ""
    )
    return f"not installed; {rest.partition(', ')[0]}{gain}"


def _cores(findings: Findings) -> str:
    of_all = "" if findings.cores == findings.installed else f" of {findings.installed}"
    return f"{findings.cores}{of_all} cores"


def _model_line(model: dict[str, Any]) -> str:
    if "error" in model:
        return f"{model['error']}"
    weights = ", random weights" if model["random_weights"] else ""
    return f"{model['path']}: {model['network']}{weights}, {len(model['recipes'])} recipes, by {model['exporter']}"
