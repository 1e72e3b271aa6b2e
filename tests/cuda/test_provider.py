"""onnxruntime's CUDA provider takes our graphs as a whole, and copies, launches and allocates what we say it does.

The provider is the real one; the device is a stand-in that computes nothing (see `stand_in.py`). Run by hand, for it
wants a quarter of a gigabyte of onnxruntime-gpu: ``make cuda-provider``.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from impasto.export.weights.weights import Weights
from impasto.runtime import Objective, stylize
from impasto.runtime.engine.algebra import Algebra
from impasto.runtime.engine.cuda import CudaOptions
from impasto.runtime.engine.placement import Placement
from impasto.runtime.errors import MemoryShortage
from impasto.runtime.machine.nvidia import gpus, load_library, runtime_libraries
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.pictures.planes import to_planes
from impasto.runtime.plan.recipe import builtin_recipes, load_recipe
from tests.conftest import export_unchecked

DEVICE: Any = load_library(runtime_libraries(getattr(onnxruntime, "cuda_version", "")))

pytestmark = [
    pytest.mark.skipif(not hasattr(DEVICE, "stand_in_peak"), reason="run by make cuda-provider"),
    pytest.mark.filterwarnings("ignore:model .* has random weights"),
    pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered"),  # in what memory held
]

#: Kinds of `cudaMemcpy`.
UP, DOWN = 1, 2

GIB, MIB = 2**30, 2**20

#: Of VGG-19 up to the deepest layer of the recipe `gatys`, block5_conv1.
CONVOLUTIONS = 2 + 2 + 4 + 4 + 1

CONTENT, STYLE = (np.random.default_rng(k).uniform(0, 255, (256, 320, 3)).astype(np.float32) for k in (0, 1))
PLANES = to_planes(CONTENT, "content")
HALVES = np.zeros(CONTENT.shape, np.uint8)
HALVES[:, HALVES.shape[1] // 2 :] = 255

#: What graphs there are -> how they are opened, and whether they can be recorded.
KINDS: dict[str, tuple[dict[str, Any], bool]] = {
    "objective": ({}, True),
    "half": ({"precision": "fp16"}, True),
    "guided": ({"content_mask": HALVES, "style_masks": [HALVES]}, False),
    "half-guided": ({"precision": "fp16", "content_mask": HALVES, "style_masks": [HALVES]}, False),
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, random_weights: Weights) -> Path:
    folder = tmp_path_factory.mktemp("models") / "everything"
    export_unchecked(folder, [load_recipe(name) for name in builtin_recipes()], random_weights)
    return folder


@pytest.fixture(autouse=True)
def device() -> Iterator[Any]:
    """A device of 64 GiB, whose counts begin with the test; what others before it left open is closed."""
    gc.collect()
    DEVICE.stand_in_has.argtypes = [ctypes.c_size_t]
    for name in ("stand_in_peak", "stand_in_used", "stand_in_bytes"):
        getattr(DEVICE, name).restype = ctypes.c_size_t
    for name in ("stand_in_copies", "stand_in_launches"):
        getattr(DEVICE, name).restype = ctypes.c_long
    DEVICE.stand_in_has(64 * GIB)
    DEVICE.stand_in_reset()
    yield DEVICE
    DEVICE.stand_in_has(64 * GIB)


def opened(folder: Path, recipe: str = "gatys", size: int | None = None, **options: Any) -> Objective:
    content, style = (CONTENT, STYLE) if size is None else (np.resize(x, (size, size, 3)) for x in (CONTENT, STYLE))
    return Objective.open(folder, recipe, content=content, styles=[style], **{"device": "cuda", **options})


def test_the_device_is_the_stand_in() -> None:
    assert gpus() == ["a stand-in"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recipe", builtin_recipes())
def test_every_graph_runs_as_a_whole_on_the_provider(recipe: str, kind: str, everything: Path, device: Any) -> None:
    """What `disable_cpu_ep_fallback` refuses is opened without, with a warning; and warnings are errors here."""
    options, recorded = KINDS[kind]
    objective = opened(everything, recipe, **options)
    assert objective.device == "cuda:0"
    assert objective.evaluator.session.placement.recorded == recorded
    device.stand_in_reset()
    objective.evaluate(PLANES)
    assert (device.stand_in_launches(b"") == 0) == recorded


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recipe", ["gatys", "impasto", "seed"])
def test_the_picture_goes_up_and_terms_and_gradient_come_down_and_nothing_else(
    recipe: str, kind: str, everything: Path, device: Any
) -> None:
    objective = opened(everything, recipe, **KINDS[kind][0], cuda=CudaOptions(graph=False))
    device.stand_in_reset()
    objective.evaluate(PLANES)
    assert device.stand_in_launches(b"") > CONVOLUTIONS
    assert device.stand_in_copies(UP) == 1
    assert device.stand_in_copies(DOWN) == len(objective.terms) + len(["loss", "gradient"])


def test_the_optimisers_arithmetic_sends_numbers_only(everything: Path, device: Any) -> None:
    """Nothing of a picture's size goes up or comes down, and the graphs, opened for any size, compute on the device."""
    algebra, m = Algebra.open(ModelFolder.open(everything), Placement("cuda:0")), 5
    x, y, z, w = (algebra.allocate(PLANES.shape) for _ in range(4))
    rows, spare = (algebra.allocate((2 * m, *PLANES.shape[1:])) for _ in range(2))
    products = algebra.allocate((2 * m, 2))
    box = algebra.box((0.0, 255.0))
    for _ in range(2):  # the first time there may be constants to be copied
        device.stand_in_reset()
        algebra.step(x, y, 1.0, box, z)
        algebra.slope(w, y, 1.0, z, box)
        algebra.direction(rows, np.zeros(2 * m), w, -1.0, 1.0, x, box, y)
        algebra.remember(rows, (1.0, y), (w, w), 1.0, (z, x), 1.0, box, spare, products)
    assert device.stand_in_launches(b"") > 20
    assert device.stand_in_bytes(UP) < 1024
    assert device.stand_in_bytes(DOWN) < 1024


@pytest.mark.parametrize(("kind", "transposed"), [("objective", 0), ("half", 1)])
def test_no_map_is_transposed(everything: Path, device: Any, kind: str, transposed: int) -> None:
    """Graphs are written with channels first and run with channels last; a map that changed would be a pass over it.

    Pictures are transposed, by cuBLAS; but that in half precision by a kernel.
    """
    objective = opened(everything, cuda=CudaOptions(graph=False), **KINDS[kind][0])
    device.stand_in_reset()
    objective.evaluate(PLANES)
    assert device.stand_in_launches(b"Relu") == CONVOLUTIONS
    assert device.stand_in_launches(b"ranspose") == transposed


def test_low_memory_gives_it_back_and_takes_no_more_of_it(everything: Path, device: Any) -> None:
    peaks, kept = [], []
    for low_memory in (False, True):
        device.stand_in_reset()
        objective = opened(everything, size=1024, low_memory=low_memory)
        for _ in range(3):
            objective.evaluate(np.zeros((1, 3, 1024, 1024), np.float32))
        peaks.append(device.stand_in_peak())
        kept.append(device.stand_in_used())
        del objective
    assert peaks[1] <= peaks[0]
    assert kept[1] < 0.25 * kept[0]


@pytest.mark.parametrize("device_is", ["auto", "cuda"])
@pytest.mark.parametrize(("megabytes", "graph"), [(64, "statistics"), (128, "statistics"), (384, "objective")])
def test_a_device_that_is_too_small_is_told_in_one_line(
    everything: Path, device: Any, megabytes: int, graph: str, device_is: str
) -> None:
    """The weights do not fit, or what measures the targets, or the evaluation."""
    device.stand_in_has(megabytes * MIB)
    said = rf"^gatys\.direct\.{graph}\.onnx: out of memory on cuda:0; choose a smaller size, or device='cpu'$"
    with pytest.raises(MemoryShortage, match=said):
        opened(everything, size=512, device=device_is)


def documented() -> dict[tuple[str, str, int], int]:
    """Return the table of docs/cuda.md: recipe, precision and size -> the MiB that have to be free."""
    text = (Path(__file__).parents[2] / "docs" / "cuda.md").read_text("utf-8")
    section = text.split("## Memory\n")[1].split("\n## ")[0]
    head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if "|" in line)
    sizes = [int(cell.split("x")[0]) for cell in head[1:]]
    found = {}
    for name, *cells in rows:
        recipe, precision = name.split("`")[1], "fp16" if "fp16" in name else "fp32"
        found |= {(recipe, precision, size): int(cell) for size, cell in zip(sizes, cells, strict=True)}
    return found


@pytest.mark.parametrize(
    ("recipe", "precision", "size"),
    [x for x in documented() if x[2] > 256],  # what a process keeps, tens of MiB, would count for too much
)
def test_a_twentieth_more_memory_than_documented_is_enough_and_three_tenths_less_is_not(
    everything: Path, device: Any, recipe: str, precision: str, size: int
) -> None:
    told, before = documented()[recipe, precision, size] * MIB, device.stand_in_used()
    device.stand_in_has(before + round(1.05 * told))
    opened(everything, recipe, size, precision=precision)
    gc.collect()
    device.stand_in_has(before + round(0.7 * told))
    with pytest.raises(MemoryShortage):
        opened(everything, recipe, size, precision=precision)


def test_a_limit_is_kept(everything: Path, device: Any) -> None:
    before = device.stand_in_used()
    opened(everything, size=512, cuda=CudaOptions(memory=0.9))
    assert device.stand_in_peak() - before < GIB
    with pytest.raises(MemoryShortage, match="out of memory on cuda:0; choose a smaller size, or device='cpu'"):
        opened(everything, size=512, cuda=CudaOptions(memory=0.25))


@pytest.mark.parametrize("optimizer", ["lbfgs", "lbfgs-device", "adam"])
def test_transfers_run(everything: Path, optimizer: str) -> None:
    result = stylize(CONTENT, [STYLE], model=everything, recipe="gatys", size=64, evaluations=3, optimizer=optimizer)
    assert result.device == "cuda:0"
