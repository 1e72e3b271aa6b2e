"""What graphs say of themselves is read back as it was written, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impasto.runtime.engine.opening import open_session, read_metadata
from impasto.runtime.engine.placement import Placement
from impasto.runtime.errors import ModelError
from impasto.runtime.model.folder import WEIGHTS_FILE, ModelFolder
from impasto.runtime.model.graphs import PLAIN
from impasto.runtime.model.metadata import FORMAT, METADATA_KEY, Layer, Metadata
from impasto.runtime.plan.terms import LayerSize
from tests.runtime.misfits import misfits
from tests.runtime.model.graph_files import graphs, replace


def edit_metadata(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change what the seed recipe's graphs say of themselves."""
    for path in graphs(folder):
        graph = onnx.load(path, load_external_data=False)
        properties = {p.key: p.value for p in graph.metadata_props}
        data = json.loads(properties[METADATA_KEY])
        edit(data)
        onnx.helper.set_model_props(graph, {**properties, METADATA_KEY: json.dumps(data)})
        replace(path, graph.SerializeToString())


def test_graphs_say_what_they_are(deep_model: Path) -> None:
    metadata = read_metadata(ModelFolder.open(deep_model), "seed")
    assert metadata.network == "vgg19"
    assert metadata.graph == PLAIN
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
    metadata = read_metadata(ModelFolder.open(model), "gatys")
    assert Metadata.from_json(metadata.to_json(), Path("here.onnx")) == metadata


def test_layers_halve_the_picture_and_round_down() -> None:
    assert Layer("block4_conv2", 512, 3).size(67, 53) == LayerSize(512, 8 * 6)


def test_another_format_is_refused_with_what_to_do(copy: Path) -> None:
    edit_metadata(copy, lambda data: data.update(format=FORMAT + 1))
    with pytest.raises(ModelError, match=rf"model format {FORMAT + 1}.* reads format {FORMAT}; export it again"):
        open_session(ModelFolder.open(copy), "seed", PLAIN, Placement(device="cpu", lowering="direct"))
    assert (
        open_session(ModelFolder.open(copy), "gatys", PLAIN, Placement(device="cpu", lowering="direct")).device == "cpu"
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
        lambda data: data.update(kind="half-statistics"),
        lambda data: data.update(lowering="half"),
    ],
)
def test_damaged_metadata_is_refused(copy: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    edit_metadata(copy, edit)
    with pytest.raises(ModelError, match=r"seed\.direct\.objective\.onnx: damaged metadata \(.*\); export it again"):
        read_metadata(ModelFolder.open(copy), "seed")


def test_a_bad_recipe_in_the_metadata_is_refused(copy: Path) -> None:
    edit_metadata(copy, lambda data: data["recipe"].update(pooling="min"))
    with pytest.raises(ModelError, match=r"damaged metadata .*pooling is 'min'"):
        read_metadata(ModelFolder.open(copy), "seed")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '"text"', '{"format": 1}', '{"format": "1"}', "[" * 100_000, '{"format": NaN}', "\0"],
)
def test_metadata_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"here\.onnx: "):
        Metadata.from_json(text, Path("here.onnx"))


def test_a_graph_from_elsewhere_is_refused(copy: Path) -> None:
    for path in graphs(copy):
        graph = onnx.load(path, load_external_data=False)
        del graph.metadata_props[:]
        replace(path, graph.SerializeToString())
    with pytest.raises(ModelError, match="damaged metadata"):
        open_session(ModelFolder.open(copy), "seed", PLAIN, Placement(device="cpu", lowering="direct"))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_anything_in_the_place_of_anything_is_taken_or_refused(small_model: Path, data: st.DataObject) -> None:
    sound = json.loads(read_metadata(ModelFolder.open(small_model), "small").to_json())
    whole = data.draw(misfits(sound))
    try:
        Metadata.from_json(json.dumps(whole), Path("here.onnx"))
    except ModelError as refused:
        assert str(refused).startswith("here.onnx: ")
        assert str(refused).isprintable()
