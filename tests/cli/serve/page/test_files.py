"""The page's files: small, complete, and of themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import impasto.cli.serve

ROOM = Path(impasto.cli.serve.__file__).parent
PAGE = ROOM / "page"
FILES = sorted(PAGE.iterdir())
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in FILES if path.suffix == ".js"}

#: An address that names the format of a drawing, and that no browser opens.
NAMESPACE = "http://www.w3.org/2000/svg"


def without_comments(script: str) -> str:
    return re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", script, flags=re.DOTALL)


def calls(script: str) -> Iterator[str]:
    """Yield the arguments of every call of `t` and `plural`: keys of texts stand there as they are."""
    for found in re.finditer(r"\b(?:t|plural)\(", script):
        end, depth = found.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(script[end], 0)
            end += 1
        yield script[found.end() : end - 1]


def test_the_page_takes_less_than_200_kilobytes() -> None:
    assert sum(path.stat().st_size for path in FILES) < 200_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_names_an_address_outside(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace(NAMESPACE, "")
    assert not re.findall(r"""\w+://|["'(]//\w|url\(|@import""", text)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_markup_or_code_of_texts(name: str) -> None:
    script = without_comments(SCRIPTS[name])
    dangerous = r"(inner|outer|insertAdjacent)HTML|document\.write|\beval\b|new Function|srcdoc|javascript:|cssText"
    assert not re.findall(dangerous, script)
    assert not re.findall(r"""setAttribute\(\s*["']style""", script)


def test_the_markup_has_no_script_and_no_style_of_its_own() -> None:
    markup = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", markup)


def test_every_file_is_used_and_every_used_file_is_there() -> None:
    markup = (PAGE / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r"""(?:src|href)="([^"#]+)""", markup))
    for script in SCRIPTS.values():
        named |= {name.removeprefix("./") for name in re.findall(r"""from "(\./[^"]+)""", script)}
    assert named | {"index.html"} == {path.name for path in FILES}


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    texts, rest = SCRIPTS["texts.js"].split("\n};\n", 1)
    there = re.findall(r'^  "([^"]+)":', texts, re.MULTILINE)
    assert len(there) == len(set(there))
    scripts = "\n".join([rest, *(script for name, script in SCRIPTS.items() if name != "texts.js")])
    used = {key for call in calls(scripts) for key in re.findall(r'"([a-z]+(?:\.[a-z]+)+)"', call)}
    assert used == set(there)


def test_values_of_a_text_are_given_where_it_is_used() -> None:
    texts = dict(re.findall(r'^  "([^"]+)":\s*"([^"]*)"', SCRIPTS["texts.js"], re.MULTILINE))
    for key, text in texts.items():
        wanted = set(re.findall(r"\{(\w+)\}", text))
        for script in SCRIPTS.values():
            for given in re.findall(rf'\bt\(\s*"{re.escape(key)}"(?:,\s*\{{([^}}]*)\}})?', script):
                names = set(re.findall(r"(\w+)\s*(?::|,|$)", re.sub(r"\([^()]*\)", "", given.strip() + ",")))
                assert wanted <= names, f"{key}: {wanted - names} not given"


def test_what_the_page_asks_for_is_in_the_description_of_the_api() -> None:
    paths = json.loads((ROOM / "openapi.json").read_text(encoding="utf-8"))["paths"]
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, methods in paths.items() for method in methods
    }
    asked = set()
    for method, path in re.findall(r'(?:data|ask)\(\s*"([A-Z]+)",\s*["`]([^"`]+)["`]', SCRIPTS["api.js"]):
        asked.add((method, re.sub(r"\$\{[^}]*\}+", "{}", path.partition("?")[0])))
    for path in re.findall(r"=> `(/api/[^`]+)`", SCRIPTS["api.js"]):
        pattern = re.sub(r"\$\{[^}]*\}", "{}", path.partition("?")[0])
        asked |= {("GET", pattern.replace("result.{}", f"result.{suffix}")) for suffix in ("png", "jpg")}
    assert len(asked) >= 20
    assert asked <= described
