"""A model folder is opened whole or refused, with a word on what is wrong and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impasto.runtime.engine.session import Placement, open_session, read_metadata
from impasto.runtime.errors import ModelError
from impasto.runtime.model.folder import (
    FORMAT,
    METADATA_KEY,
    OBJECTIVE,
    STATISTICS,
    WEIGHTS_FILE,
    Layer,
    Metadata,
    ModelFolder,
    check_location,
    kind_for,
)
from impasto.runtime.plan.terms import LayerSize
from tests.runtime.misfits import misfits


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def graphs(folder: Path, kind: str = "") -> list[Path]:
    return sorted(folder.glob(f"seed.*{kind}.onnx"))


def edit_metadata(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change what the seed recipe's graphs say of themselves."""
    for path in graphs(folder):
        graph = onnx.load(path, load_external_data=False)
        properties = {p.key: p.value for p in graph.metadata_props}
        data = json.loads(properties[METADATA_KEY])
        edit(data)
        onnx.helper.set_model_props(graph, {**properties, METADATA_KEY: json.dumps(data)})
        replace(path, graph.SerializeToString())


# --- whole folders --------------------------------------------------------------------------------------------


def test_a_folder_lists_its_recipes(model: Path) -> None:
    assert set(ModelFolder.open(model).recipes()) >= {"seed", "gatys"}


def test_graphs_say_what_they_are(deep_model: Path) -> None:
    metadata = read_metadata(ModelFolder.open(deep_model), "seed", OBJECTIVE)
    assert metadata.network == "vgg19"
    assert metadata.kind == OBJECTIVE
    assert metadata.recipe.name == "seed"
    assert metadata.random_weights
    assert metadata.weights["preprocessing"] == "caffe"
    assert metadata.weights_size == (deep_model / WEIGHTS_FILE).stat().st_size
    assert {layer.name for layer in metadata.layers} == set(metadata.recipe.layers)
    sizes = metadata.sizes(75, 101)
    assert sizes["block1_conv2"] == LayerSize(64, 75 * 101)
    assert sizes["block3_conv3"] == LayerSize(256, 18 * 25)
    assert sizes["block5_conv3"] == LayerSize(512, 4 * 6)


def test_metadata_survives_the_way_through_json(model: Path) -> None:
    metadata = read_metadata(ModelFolder.open(model), "gatys", STATISTICS)
    assert Metadata.from_json(metadata.to_json(), "here") == metadata


def test_layers_halve_the_picture_and_round_down() -> None:
    assert Layer("block4_conv2", 512, 3).size(67, 53) == LayerSize(512, 8 * 6)


# --- folders that will not do ---------------------------------------------------------------------------------


def text_of(refused: pytest.ExceptionInfo[Exception]) -> str:
    text = str(refused.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("lowering", "size", "expected"),
    [
        ("winograd", (320, 320), "small-objective"),
        ("winograd", (320, 321), OBJECTIVE),
        ("winograd", (64, 1600), "small-objective"),
        ("direct", (32, 32), OBJECTIVE),
    ],
)
def test_small_pictures_have_graphs_of_their_own_in_winograd(
    lowering: str, size: tuple[int, int], expected: str
) -> None:
    assert kind_for(OBJECTIVE, lowering, *size) == expected


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
        ModelFolder.open(model).graph("monet", OBJECTIVE)


def test_a_missing_graph_is_refused(copy: Path) -> None:
    for path in graphs(copy, STATISTICS):
        path.unlink()
    with pytest.raises(ModelError, match=r"statistics\.onnx is missing; export it again"):
        open_session(ModelFolder.open(copy), "seed", STATISTICS, Placement(device="cpu", lowering="direct"))


@pytest.mark.parametrize("data", [b"", b"garbage" * 100, bytes(1000)])
def test_graphs_that_are_none_are_refused(copy: Path, data: bytes) -> None:
    for path in graphs(copy):
        replace(path, data)
    for read in (read_metadata, open_session):
        with pytest.raises(ModelError, match="export it again") as refused:
            read(ModelFolder.open(copy), "seed", OBJECTIVE)
        assert str(copy) in text_of(refused)


def test_a_truncated_graph_is_refused(copy: Path) -> None:
    for path in graphs(copy):
        replace(path, path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match="export it again"):
        open_session(ModelFolder.open(copy), "seed", OBJECTIVE, Placement(device="cpu", lowering="direct"))


@pytest.mark.parametrize("share", [0, 1_000_000])
def test_truncated_weights_are_refused(copy: Path, share: int) -> None:
    with (copy / WEIGHTS_FILE).open("rb") as file:
        kept = file.read(share)
    replace(copy / WEIGHTS_FILE, kept)
    for kind in (OBJECTIVE, STATISTICS):
        with pytest.raises(ModelError, match=r"export it again|weights\.data has") as refused:
            open_session(ModelFolder.open(copy), "seed", kind, Placement(device="cpu", lowering="direct"))
        text_of(refused)


def test_weights_of_another_length_are_refused(copy: Path) -> None:
    data = (copy / WEIGHTS_FILE).read_bytes()
    replace(copy / WEIGHTS_FILE, data + bytes(4096))
    with pytest.raises(ModelError, match=rf"weights\.data has {len(data) + 4096} bytes, expected {len(data)}"):
        open_session(ModelFolder.open(copy), "seed", OBJECTIVE, Placement(device="cpu", lowering="direct"))


def test_another_format_is_refused_with_what_to_do(copy: Path) -> None:
    edit_metadata(copy, lambda data: data.update(format=FORMAT + 1))
    with pytest.raises(ModelError, match=rf"model format {FORMAT + 1}.* reads format {FORMAT}; export it again"):
        open_session(ModelFolder.open(copy), "seed", OBJECTIVE, Placement(device="cpu", lowering="direct"))
    assert (
        open_session(ModelFolder.open(copy), "gatys", OBJECTIVE, Placement(device="cpu", lowering="direct")).device
        == "cpu"
    )


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data.clear(),
        lambda data: data.pop("format"),
        lambda data: data.pop("layers"),
        lambda data: data.pop("weights"),
        lambda data: data.update(weights={}),
        lambda data: data.update(weights={"source": 3}),
        lambda data: data.update(weights="random"),
        lambda data: data.update(layers=[1]),
        lambda data: data.update(layers=[]),
        lambda data: data["layers"][0].update(level=-1),
        lambda data: data["layers"][0].update(channels=10**18),
        lambda data: data["layers"][0].update(channels="64"),
        lambda data: data.update(weights_size=-1),
        lambda data: data.update(weights_size="1"),
        lambda data: data.update(weights_sha256="\x1b[2J"),
        lambda data: data.update(exporter=["impasto"]),
        lambda data: data["recipe"].update(size=512),
        lambda data: data["recipe"]["content"].update(weight=10**400),
        lambda data: data.update(more="than expected"),
    ],
)
def test_damaged_metadata_is_refused(copy: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    edit_metadata(copy, edit)
    with pytest.raises(ModelError, match=r"seed\.direct\.objective\.onnx: damaged metadata \(.*\); export it again"):
        read_metadata(ModelFolder.open(copy), "seed", OBJECTIVE)


def test_a_bad_recipe_in_the_metadata_is_refused(copy: Path) -> None:
    edit_metadata(copy, lambda data: data["recipe"].update(pooling="min"))
    with pytest.raises(ModelError, match=r"damaged metadata .*pooling is 'min'"):
        read_metadata(ModelFolder.open(copy), "seed", OBJECTIVE)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '"text"', '{"format": 1}', '{"format": "1"}', "[" * 100_000, '{"format": NaN}', "\0"],
)
def test_metadata_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"here\.onnx: "):
        Metadata.from_json(text, "here.onnx")


def test_a_graph_from_elsewhere_is_refused(copy: Path) -> None:
    for path in graphs(copy):
        graph = onnx.load(path, load_external_data=False)
        del graph.metadata_props[:]
        replace(path, graph.SerializeToString())
    with pytest.raises(ModelError, match="damaged metadata"):
        open_session(ModelFolder.open(copy), "seed", OBJECTIVE, Placement(device="cpu", lowering="direct"))


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
            open_session(ModelFolder.open(copy), "seed", OBJECTIVE, Placement(device="cpu", lowering="direct"))


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


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_anything_in_the_place_of_anything_is_taken_or_refused(small_model: Path, data: st.DataObject) -> None:
    sound = json.loads(read_metadata(ModelFolder.open(small_model), "small", OBJECTIVE).to_json())
    whole = data.draw(misfits(sound))
    try:
        Metadata.from_json(json.dumps(whole), "here.onnx")
    except ModelError as refused:
        assert str(refused).startswith("here.onnx: ")
        assert str(refused).isprintable()
