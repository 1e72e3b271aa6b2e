"""The sdist and the wheel: what is in them, that they work without the clone, and what comes along with them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from clone import ROOT, copy_clone
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from weigh import MB, disk_usage

import impasto
from impasto.runtime.plan.recipe import builtin_recipes

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FOLDERS = PROJECT["tool"]["setuptools"]["package-dir"]

#: What a target machine may take, in MB as `du -m` counts.
MOST = 350


class Built(NamedTuple):
    sdist: Path
    wheel: Path


def run(*command: object, env: dict[str, str] | None = None) -> str:
    """Run a command that has to succeed, and return what it prints."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both, built from a copy of the clone, the wheel from the sdist."""
    try:
        metadata.version("build")
    except metadata.PackageNotFoundError:
        pytest.skip("needs the package `build`, of the extra dev")
    folder = tmp_path_factory.mktemp("distributions")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, copy_clone(folder))
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Built(sdist, wheel)


# --- what is in them ------------------------------------------------------------------------------------------


def test_the_wheel_holds_every_module_the_recipes_the_demos_pictures_the_page_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {
        f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    recipes = {f"impasto/runtime/recipes/{path.name}" for path in (ROOT / "runtime" / "recipes").glob("*.toml")}
    assert len(recipes) == len(builtin_recipes()) > 0
    pictures = {f"impasto/cli/drawing/{name}.jpg" for name in ("town", "sunset")}
    serve = ROOT / "cli" / "serve"
    page = {f"impasto/cli/serve/{path.relative_to(serve).as_posix()}" for path in (serve / "page").iterdir()}
    assert names == modules | recipes | pictures | page | {"impasto/py.typed", "impasto/cli/serve/openapi.json"}


def test_the_wheels_metadata_tell_version_licence_and_the_whole_readme(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (folder,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        told = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        licence = archive.read(f"{folder}/licenses/LICENSE").decode()
    assert (told["Name"], told["Version"]) == ("impasto", impasto.__version__)
    assert (told["License-Expression"], told["License-File"]) == ("MIT", "LICENSE")
    assert licence == (ROOT / "LICENSE").read_text("utf-8")
    assert told["Description-Content-Type"] == "text/markdown"
    assert told.get_payload().strip() == (ROOT / "README.md").read_text("utf-8").strip()


def test_the_sdist_holds_what_the_two_commands_need(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {
        "Makefile",
        "pyproject.toml",
        "CHANGELOG.md",
        "models/README.md",
        "docs/first_hour.ipynb",
        "cli/drawing/town.jpg",
    }
    assert {name for name in names if name.startswith("tests/") and name.endswith(".py")} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")
    }


def test_the_changelog_begins_with_the_version_that_is_built() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first is not None and first[1] == impasto.__version__


# --- outside the clone ----------------------------------------------------------------------------------------

RECIPE = """
pooling = "max"
evaluations = 4
coarse_to_fine = false

[content]
weight = 1
convention = "mean"
layers.block2_conv1 = 1

[style]
weight = 10
convention = "mean"
layers.block1_conv1 = 1
"""


def own_environment(folder: Path) -> Path:
    """Make an environment that shares all that the tests have but impasto; return the folder of its commands."""
    venv.create(folder, symlinks=os.name == "posix")
    paths = sysconfig.get_paths("venv", {"base": str(folder), "platbase": str(folder)})
    shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    # The names of folders only: what else makes packages known there, such as an editable impasto, is not read.
    Path(paths["purelib"], "shared.pth").write_text("\n".join(shared), "utf-8")
    return Path(paths["scripts"])


def surroundings(home: Path) -> dict[str, str]:
    """Return an environment with that home, in which nothing of the tests' is named."""
    names = [name for name in os.environ if not name.startswith(("PYTHON", "IMPASTO_", "ORT_"))]
    return {name: os.environ[name] for name in names} | {"HOME": str(home), "USERPROFILE": str(home)}


def test_the_wheel_exports_and_paints_in_an_empty_folder_with_an_empty_home(built: Built, tmp_path: Path) -> None:
    scripts = own_environment(tmp_path / "environment")
    run(sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--no-deps", "--no-index", built.wheel)
    (tmp_path / "home").mkdir()
    env = surroundings(tmp_path / "home")

    def impasto_(*arguments: object) -> str:
        return run(scripts / "impasto", *arguments, env=env)

    where = run(scripts / "python", "-c", "import impasto.cli as it; print(it.__file__)", env=env)
    assert Path(where.strip()).is_relative_to(tmp_path)
    assert impasto_("--version") == f"impasto {impasto.__version__}\n"
    assert all(re.search(rf"^{name}\b", impasto_("recipes"), re.MULTILINE) for name in builtin_recipes())

    Path("small.toml").write_text(RECIPE, "utf-8")
    model = impasto_("export", "--weights", "random", "--network", "vgg16", "--recipe", "small.toml").strip()
    assert Path(model).is_relative_to(tmp_path / "home")
    told = impasto_("info", model)
    assert f"impasto {impasto.__version__}" in told and "vgg16" in told

    pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    for name, picture in (("photo.png", pixels), ("painting.png", pixels[::-1])):
        Image.fromarray(picture).save(name)
    impasto_(
        "stylize", "photo.png", "painting.png", "-o", "out.png", "--model", model, "--recipe", "small", "--size", "40"
    )
    result = np.asarray(Image.open("out.png"))
    assert result.shape == pixels.shape
    assert result.std() > 10 and (result != pixels).any()
    assert {path.name for path in Path.cwd().iterdir()} == {"small.toml", "photo.png", "painting.png", "out.png"}

    looked = subprocess.run(
        [scripts / "impasto", "doctor", model, "--no-speed"], capture_output=True, text=True, env=env, timeout=300
    )  # whether anything is missing depends on the machine: a GPU that is not used, say
    assert looked.stdout.startswith(f"impasto        {impasto.__version__}, ") and looked.stderr == ""
    assert f"{model}: vgg16, random weights, 1 recipes" in looked.stdout


def test_without_typer_the_command_names_the_packages_that_it_needs() -> None:
    code = "import sys; sys.modules['typer'] = None; from impasto.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("error: typer is not installed; for the command line, pip install typer rich platformdirs\n")


# --- what comes along -----------------------------------------------------------------------------------------


def closure(requirements: list[str]) -> set[str]:
    """Return the names of all distributions that requirements bring along, those of their own among them."""
    found = set[tuple[str, str]]()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        here = waiting.pop()
        for extra in ("", *here.extras):
            if (name := canonicalize_name(here.name), extra) not in found:
                found.add((name, extra))
                others = map(Requirement, metadata.requires(here.name) or ())
                waiting += [one for one in others if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def test_a_target_machine_gets_nothing_that_only_exporting_or_development_needs() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    brought = closure(PROJECT["project"]["dependencies"] + extras["cpu"])
    assert brought > {"numpy", "scipy", "onnxruntime", "protobuf", "typer", "rich", "pygments"}
    others = {
        canonicalize_name(Requirement(one).name)
        for name in ("export", "plot", "cluster", "torch", "dev")
        for one in extras[name]
    }
    assert not brought & (others | {"opencv-python", "scikit-image", "pandas", "ml-dtypes"})


@pytest.mark.slow  # fetches a hundred megabytes
def test_a_target_machine_gets_350_mb_at_most(built: Built, users_environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "--target", folder, f"{built.wheel}[cpu]", env=users_environment)
    assert 100 * MB < disk_usage(folder) <= MOST * MB


# --- advice ---------------------------------------------------------------------------------------------------


def test_nothing_advises_to_install_impasto_by_its_name() -> None:
    """It is on no index: a clone or a wheel is what can be installed."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "models").glob("*.md")]
    code = [path for folder in ("docs", *FOLDERS.values()) for path in (ROOT / folder).rglob("*.py")]
    said = [path.read_text("utf-8") for path in (*pages, *code, ROOT / "docs" / "first_hour.ipynb")]
    assert any("pip install '.[cpu,export]'" in text for text in said)
    assert not [text for text in said if re.search(r"""pip install [^\n`]*(?<![\w/])impasto(?![\w/-])""", text)]
