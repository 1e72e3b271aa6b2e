"""The page on the architecture says what is true of the code, and its examples do what they say."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError
from pathlib import Path
from types import ModuleType

import pytest
from clone import copy_clone
from links import link

from docs import architecture, rooms

PAGE = architecture.PAGE.read_text("utf-8")

#: In the page: a file, and the lines to add to it, or of it.
EXAMPLE = re.compile(
    r"`([\w/]+\.(?:py|toml))`(?: imports it)?[^`\n]*:\n\n```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL
)


# --- the rooms ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def house() -> rooms.House:
    return rooms.read_house()


def test_no_rooms_import_each_other_in_a_circle(house: rooms.House) -> None:
    try:
        assert set(house.order) == set(house.rooms)
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1][::-1])}")


def test_imports_go_from_cli_to_export_to_runtime(house: rooms.House) -> None:
    order = ("cli", "export", "runtime")
    pairs = [(house.rooms[user], house.rooms[used]) for user, used in house.imports]
    inside = [(user, used) for user, used in pairs if user.package and used.package]
    assert {(user.package, used.package) for user, used in inside} >= {("cli", "export"), ("export", "runtime")}
    back = [(a.name, b.name) for a, b in inside if order.index(a.package) > order.index(b.package)]
    assert not back, "these point back"


def test_pyproject_lists_every_package() -> None:
    listed = tomllib.loads((rooms.ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    assert rooms.packages() == set(listed)


def test_what_is_drawn_and_tabled_is_what_the_code_imports(house: rooms.House) -> None:
    for path, text in architecture.files(house).items():
        assert path.read_text("utf-8") == text, "run: python -m docs.architecture"


def test_a_circle_an_import_back_and_a_package_that_is_not_listed_are_seen(tmp_path: Path) -> None:
    copy = copy_clone(tmp_path)
    new = copy / "runtime" / "attic"
    new.mkdir()
    (new / "__init__.py").write_text('"""Forgotten things."""\n', "utf-8")
    (new / "chest.py").write_text("def open_it():\n    from impasto.cli import app\n\n    return app\n", "utf-8")
    with (copy / "cli" / "app.py").open("a", encoding="utf-8") as file:
        file.write("from impasto.runtime.attic.chest import open_it\n")
    changed = rooms.read_house(copy)
    assert ("runtime/attic", "cli: the application") in changed.imports
    with pytest.raises(CycleError, match="runtime/attic"):
        _ = changed.order
    assert "impasto.runtime.attic" in rooms.packages(copy)


# --- the page -------------------------------------------------------------------------------------------------


def module_of(path: Path) -> ModuleType:
    """Import one of our modules by its file."""
    folder, *parts = path.relative_to(rooms.ROOT).with_suffix("").parts
    return importlib.import_module(".".join([*(["impasto", folder] if folder != "src" else []), *parts]))


def test_every_function_that_the_page_names_is_in_the_file_that_it_links_to() -> None:
    links = re.findall(r"\[`([\w.]+)`\]\(([^)]+)\)", PAGE)
    assert len(links) > 60
    for name, target in links:
        thing: object = module_of((architecture.PAGE.parent / target).resolve())
        home = thing.__name__  # type: ignore[attr-defined]
        for part in name.split("."):
            assert hasattr(thing, part), f"{target} has no {name}"
            thing = getattr(thing, part)
        assert getattr(thing, "__module__", home) in (home, "builtins"), f"{name} is not defined in {target}"


def test_every_link_of_the_page_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE):
        assert (architecture.PAGE.parent / target).exists(), target


# --- what is added --------------------------------------------------------------------------------------------


def additions() -> Iterator[tuple[str, str, str]]:
    """Yield the file, the kind and the lines of every example."""
    yield from EXAMPLE.findall(PAGE)


def add(root: Path, name: str, kind: str, lines: str) -> None:
    """Do to a copy what an example shows."""
    path = root / name
    if kind != "diff":
        assert not path.exists(), f"{name} is there already"
        path.write_text(lines, "utf-8")
        return
    old, new = ("".join(f"{line[1:]}\n" for line in lines.splitlines() if line[0] != other) for other in ("+", "-"))
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{name} has not these lines, once:\n{old}"
    path.write_text(text.replace(old, new), "utf-8")


def test_every_example_is_read() -> None:
    assert len(list(additions())) == len(re.findall(r"^```\w+$", PAGE, re.MULTILINE)) > 15


def test_a_style_loss_takes_20_lines_and_2_files_and_an_optimizer_one_file_and_its_name() -> None:
    sections = {part.partition("\n")[0]: EXAMPLE.findall(part) for part in PAGE.split("\n### ")}
    loss, optimizer = sections["A style loss"], sections["An optimiser"]
    added = [line for _, _, lines in loss for line in lines.splitlines() if line.startswith("+")]
    assert len(added) <= 20
    assert len({name for name, _, _ in loss}) == 2
    assert [kind for _, kind, _ in optimizer] == ["python", "diff"]
    assert optimizer[1][2].count("\n+") == 1


def test_everything_that_the_page_adds_works_together(tmp_path: Path) -> None:
    copy = copy_clone(tmp_path)
    for name, kind, lines in additions():
        add(copy, name, kind, lines)
    link(copy)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/docs/additions.py"]
    env = os.environ | {"PYTHONPATH": str(copy / "src")}
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^8 passed", done.stdout, re.MULTILINE), done.stdout
