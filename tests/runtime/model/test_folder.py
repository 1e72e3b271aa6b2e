"""A model folder is opened whole or refused, with a word on what is wrong and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest

from impasto.runtime.engine.opening import open_session, read_metadata
from impasto.runtime.engine.placement import Placement
from impasto.runtime.errors import ModelError
from impasto.runtime.model.folder import WEIGHTS_FILE, ModelFolder, check_location
from impasto.runtime.model.graphs import PLAIN
from tests.runtime.model.graph_files import graphs, replace

# --- whole folders --------------------------------------------------------------------------------------------


def test_a_folder_lists_its_recipes(model: Path) -> None:
    assert set(ModelFolder.open(model).recipes()) >= {"seed", "gatys"}


# --- folders that will not do ---------------------------------------------------------------------------------


def text_of(refused: pytest.ExceptionInfo[Exception]) -> str:
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_what_is_no_model_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.png").touch()
    for name, reason in (
        ("missing", "no such folder"),
        ("file", "expected a folder, not a file"),
        ("empty", "holds no exported graphs"),
        ("other", "holds no exported graphs"),
    ):
        with pytest.raises(ModelError, match=reason) as refused:
            ModelFolder.open(tmp_path / name)
        assert "impasto export --output" in text_of(refused)


def test_a_folder_without_its_weights_is_refused(copy: Path) -> None:
    (copy / WEIGHTS_FILE).unlink()
    with pytest.raises(ModelError, match=r"weights\.data is missing; copy the whole folder"):
        ModelFolder.open(copy)


def test_a_recipe_that_is_not_there_is_refused_with_those_that_are(model: Path) -> None:
    with pytest.raises(ModelError, match=r"no recipe 'monet'; it has gatys, impasto, seed.*; crowson.* come along"):
        ModelFolder.open(model).graph("monet")


def test_a_missing_graph_is_refused(copy: Path) -> None:
    for path in graphs(copy, "statistics"):
        path.unlink()
    with pytest.raises(ModelError, match=r"statistics\.onnx is missing; export it again"):
        open_session(ModelFolder.open(copy), "seed", PLAIN.targets, Placement(device="cpu", lowering="direct"))


@pytest.mark.parametrize("data", [b"", b"garbage" * 100, bytes(1000)])
def test_graphs_that_are_none_are_refused(copy: Path, data: bytes) -> None:
    for path in graphs(copy):
        replace(path, data)
    folder = ModelFolder.open(copy)
    for read in (lambda: read_metadata(folder, "seed"), lambda: open_session(folder, "seed", PLAIN)):
        with pytest.raises(ModelError, match="export it again") as refused:
            read()
        assert str(copy) in text_of(refused)


def test_a_truncated_graph_is_refused(copy: Path) -> None:
    for path in graphs(copy):
        replace(path, path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match="export it again"):
        open_session(ModelFolder.open(copy), "seed", PLAIN, Placement(device="cpu", lowering="direct"))


@pytest.mark.parametrize("share", [0, 1_000_000])
def test_truncated_weights_are_refused(copy: Path, share: int) -> None:
    with (copy / WEIGHTS_FILE).open("rb") as file:
        kept = file.read(share)
    replace(copy / WEIGHTS_FILE, kept)
    for key in (PLAIN, PLAIN.targets):
        with pytest.raises(ModelError, match=r"export it again|weights\.data has") as refused:
            open_session(ModelFolder.open(copy), "seed", key, Placement(device="cpu", lowering="direct"))
        text_of(refused)


def test_weights_of_another_length_are_refused(copy: Path) -> None:
    data = (copy / WEIGHTS_FILE).read_bytes()
    replace(copy / WEIGHTS_FILE, data + bytes(4096))
    with pytest.raises(ModelError, match=rf"weights\.data has {len(data) + 4096} bytes, expected {len(data)}"):
        open_session(ModelFolder.open(copy), "seed", PLAIN, Placement(device="cpu", lowering="direct"))


def test_weights_outside_the_folder_are_never_read(copy: Path, tmp_path: Path) -> None:
    """A stranger's graph may name any file as that of its weights."""
    elsewhere = tmp_path / "elsewhere.data"
    shutil.copy(copy / WEIGHTS_FILE, elsewhere)
    for place in (str(elsewhere), "../elsewhere.data"):
        for path in graphs(copy):
            graph = onnx.load(path, load_external_data=False)
            for tensor in graph.graph.initializer:
                for entry in tensor.external_data:
                    if entry.key == "location":
                        entry.value = place
            replace(path, graph.SerializeToString())
        with pytest.raises(ModelError, match=r"has weights elsewhere than in weights\.data; export it again"):
            open_session(ModelFolder.open(copy), "seed", PLAIN, Placement(device="cpu", lowering="direct"))


@pytest.mark.parametrize(
    "entry",
    [
        {"key": "location", "value": "other.data"},
        {"value": "other.data", "key": "location"},
        {"key": "location", "value": "weights.datA"},
        {"key": "location", "value": "weights.data.other"},
    ],
)
def test_however_a_graph_names_another_file_it_is_refused(tmp_path: Path, entry: dict[str, str]) -> None:
    numbers = {"key": b"\x0a", "value": b"\x12"}
    pieces = [numbers[name] + bytes([len(text)]) + text.encode() for name, text in entry.items()]
    twice = [b"\x12\x0cweights.data", *pieces]  # of two values the last one counts
    padded = [piece.replace(b"\x0a\x08", b"\x0a\x88\x00") for piece in pieces]  # a length may be written longer
    for written in (pieces, twice, padded):
        body = b"".join(written)
        parsed = onnx.StringStringEntryProto.FromString(body)
        assert (parsed.key, parsed.value) == ("location", entry["value"])
        path = tmp_path / "graph.onnx"
        path.write_bytes(b"some \x6a\x18\x0a\x08location\x12\x0cweights.data and \x6a" + bytes([len(body)]) + body)
        with pytest.raises(ModelError, match="elsewhere"):
            check_location(path)


def test_graphs_that_an_export_wrote_have_their_weights_in_the_folder(copy: Path) -> None:
    for path in graphs(copy):
        check_location(path)
        graph = onnx.load(path, load_external_data=False).graph
        external = [tensor for tensor in graph.initializer if tensor.external_data]
        assert path.read_bytes().count(b"location") >= len(external)
