"""The page on the lowering `winograd` shows what the code computes."""

from __future__ import annotations

import doctest
import importlib.util
import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_examples_print_what_the_page_says() -> None:
    page = re.sub(r"^```.*$", "", (DOCS / "winograd.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(page, {}, "winograd.md", None, 0)
    assert len(examples.examples) > 10
    assert doctest.DocTestRunner().run(examples).failed == 0


def test_picture_is_what_its_script_draws() -> None:
    spec = importlib.util.spec_from_file_location("draw_winograd", DOCS / "draw_winograd.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "draw_winograd", script)  # dataclasses look their module up
        spec.loader.exec_module(script)
    assert script.draw() == (DOCS / "winograd.svg").read_text(encoding="utf-8")
