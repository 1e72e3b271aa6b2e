"""The notebook is what its code writes, and its cells run from top to bottom."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import impasto.export
from docs import notebook
from impasto.runtime import Result
from impasto.runtime.run.record import Record


def test_the_file_is_what_the_code_writes() -> None:
    assert notebook.PAGE.read_text(encoding="utf-8") == notebook.render(), "run: python -m docs.notebook"


def test_every_cell_has_a_name_of_its_own_and_no_output() -> None:
    cells = json.loads(notebook.render())["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")
    assert all(len(line) <= 120 for cell in notebook.CELLS for line in cell.text.splitlines())


def run(cell: notebook.Cell, names: dict[str, Any]) -> object:
    """Run a cell as a kernel does, and return the value of its last line, if it has one."""
    tree = ast.parse(cell.text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, cell.name, "exec"), names)
    return eval(compile(ast.Expression(last.value), cell.name, "eval"), names) if isinstance(last, ast.Expr) else None


def test_the_cells_run_from_top_to_bottom(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model is one over random weights, and the pictures are small; all else is as it is for a user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(impasto.export, "ensure", lambda: model, raising=False)
    names: dict[str, Any] = {"__name__": "__main__"}
    shown: dict[str, object] = {}
    for cell in notebook.CELLS:
        if cell.is_code:
            shown[cell.name] = run(cell, names)
        if cell.name == "settings":
            names |= {"SIZE": 48, "EVALUATIONS": 3}
    assert isinstance(shown["result"], Result)
    assert isinstance(names["mild"], Result)
    assert shown["result"].image.size == (48, 36)
    assert Record.read("impasto-first.png").outcome == shown["result"].record.outcome
    assert [path.name for path in tmp_path.iterdir()] == ["impasto-first.png"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == repr(shown["result"])
    assert lines[1].split()[:2] == ["1", "48x36"]
    losses = [float(line) for line in lines[4:]]
    assert len(losses) == 10
    assert losses[-1] < losses[0]
