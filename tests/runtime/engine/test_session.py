"""A session runs where it was asked to, or says why not; and returns what is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from impasto.runtime.engine import opening
from impasto.runtime.engine import placement as placement_module
from impasto.runtime.engine.cuda import CudaOptions
from impasto.runtime.engine.library import CPU, CUDA
from impasto.runtime.engine.objective import Objective
from impasto.runtime.engine.opening import open_session
from impasto.runtime.engine.placement import Placement, check_device, foreseen, on_device
from impasto.runtime.engine.session import download
from impasto.runtime.errors import DeviceError, InputError, MemoryShortage, ModelError, TransferError
from impasto.runtime.machine import nvidia
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import LAYOUTS, PLAIN, WINOGRAD, GraphKey, extents
from impasto.runtime.plan.terms import GRADIENT, IMAGE, LOSS, weight_of

Noise = Callable[..., Any]

cpu_only = pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:15"])
def test_devices_are_known_by_name(device: str) -> None:
    assert Placement(device).device == device


@pytest.mark.parametrize("device", ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda:0:1", "cpu:0", "cuda 0"])
def test_other_devices_are_refused(model: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=r"expected auto, cpu, cuda, cuda:N, openvino, .* or webgpu"):
        open_session(ModelFolder.open(model), "seed", PLAIN.targets, Placement(device=device))


@cpu_only
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_that_cannot_be_had_is_an_error_that_says_why(
    model: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement_module, "check_gpu", lambda *_: None)
    with pytest.raises(DeviceError, match=r"has no CUDA provider .*CPUExecutionProvider.*onnxruntime-gpu\[") as refused:
        open_session(ModelFolder.open(model), "seed", PLAIN.targets, Placement(device=device))
    assert f"device {device}" in str(refused.value)
    assert "\n" not in str(refused.value)


@cpu_only
def test_auto_is_the_cpu_where_there_is_no_cuda(model: Path) -> None:
    with warnings.catch_warnings(action="error"):
        session = open_session(ModelFolder.open(model), "gatys", PLAIN.targets, Placement(lowering="direct"))
    assert session.device == "cpu"


@cpu_only
def test_auto_takes_the_fast_lowering_on_a_cpu(model: Path) -> None:
    assert on_device(Placement(), lambda placement: placement.layout) == WINOGRAD


@cpu_only
def test_a_device_without_its_provider_is_refused_before_anything_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement_module, "check_gpu", lambda *_: None)
    for device in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=f"device {device}: this onnxruntime has no CUDA provider"):
            check_device(device)
    for device in ("auto", "cpu"):
        check_device(device)


@cpu_only
def test_without_a_gpu_nobody_is_sent_for_another_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise DeviceError("NVIDIA's driver does not load; install it, or use --device cpu")

    monkeypatch.setattr(placement_module, "check_gpu", none)
    with pytest.raises(DeviceError, match=r"^device cuda:1: NVIDIA's driver does not load; install it, or use") as said:
        check_device("cuda:1")
    assert "pip" not in str(said.value)


@cpu_only
def test_where_onnxruntime_is_the_cpus_auto_does_not_ask_for_gpus(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That would be the first use of CUDA in a process that is to have none."""
    asked: list[object] = []
    monkeypatch.setattr(placement_module, "check_gpu", lambda *arguments: asked.append(arguments))
    assert foreseen(Placement()).device == "cpu"
    assert open_session(ModelFolder.open(model), "gatys", PLAIN.targets).device == "cpu"
    assert not asked


# --- CUDA that does not work: an onnxruntime that says it has the provider, and cannot load it -----------------


def claim_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let onnxruntime say that it has CUDA, and the driver that it has a GPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(placement_module, "check_gpu", lambda *_: None)


@pytest.fixture
def broken_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    claim_cuda(monkeypatch)


@pytest.mark.usefixtures("broken_cuda")
def test_auto_falls_back_to_the_cpu_for_both_graphs_with_one_warning(model: Path, noise: Noise) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        objective = Objective.open(model, "gatys", content=noise(), styles=[noise()])
    said = [str(warning.message) for warning in caught if "using the CPU" in str(warning.message)]
    assert len(said) == 1
    assert said[0].startswith("device cuda:0")
    assert objective.device == "cpu"


@pytest.mark.usefixtures("broken_cuda")
@pytest.mark.parametrize("error", [DeviceError, TransferError])
def test_a_failure_of_the_second_graph_puts_both_on_the_cpu(error: type[Exception]) -> None:
    opened: list[tuple[str, str]] = []

    def work(placement: Placement) -> str:
        opened.append(("first", placement.device))
        if placement.device != "cpu":
            raise error("no room for the second")
        opened.append(("second", placement.device))
        return placement.device

    with pytest.warns(RuntimeWarning, match="^no room for the second; using the CPU$") as caught:
        assert on_device(Placement("auto"), work) == "cpu"
    assert len(caught) == 1
    assert opened == [("first", "cuda:0"), ("first", "cpu"), ("second", "cpu")]
    with pytest.raises(error, match="no room"):
        on_device(Placement("cuda"), work)


@pytest.mark.usefixtures("broken_cuda")
def test_a_picture_that_is_too_large_for_cuda_does_not_go_to_the_cpu() -> None:
    devices = []

    def work(placement: Placement) -> None:
        devices.append(placement.device)
        raise MemoryShortage("out of memory on cuda:0")

    with pytest.raises(MemoryShortage, match="out of memory on cuda:0"):
        on_device(Placement("auto"), work)
    assert devices == ["cuda:0"]


@pytest.mark.usefixtures("broken_cuda")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_cuda_that_does_not_load_does_not_advise_another_export(model: Path) -> None:
    with pytest.raises(DeviceError, match="device='cpu'") as refused:
        open_session(ModelFolder.open(model), "gatys", PLAIN.targets, Placement("cuda:0"))
    assert "export" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("broken_cuda")
def test_onnxruntimes_own_error_on_cuda_does_not_advise_another_export(model: Path) -> None:
    """Warnings are errors here, and onnxruntime warns of a provider that it lacks: so opening fails."""
    with pytest.raises(DeviceError, match=r"device cuda:0 does not work .*device='cpu'") as refused:
        open_session(ModelFolder.open(model), "gatys", PLAIN.targets, Placement("cuda:0"))
    assert "export it again" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("broken_cuda")
def test_a_damaged_graph_is_not_blamed_on_cuda(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = copy / "gatys.direct.statistics.onnx"
    graph.unlink()
    graph.write_bytes(b"garbage")
    with pytest.raises(ModelError, match=r"statistics\.onnx: onnxruntime cannot open it .*export it again"):
        open_session(ModelFolder.open(copy), "gatys", PLAIN.targets, Placement("cuda:0"))
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("broken_cuda")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_for_one_size_that_cannot_be_had_says_why_and_prints_nothing(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DeviceError, match="could not load CUDA and cuDNN"):
        open_session(ModelFolder.open(model), "gatys", PLAIN, Placement("cuda:0"), extents(64, 48))
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("broken_cuda")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_what_onnxruntime_prints_of_missing_libraries_goes_to_standard_error(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not hasattr(onnxruntime, "preload_dlls"):
        pytest.skip("this onnxruntime does not load CUDA's libraries itself")
    monkeypatch.setattr(onnxruntime, "cuda_version", "11.8")  # too old: it says so, without loading anything
    with pytest.raises(DeviceError):
        open_session(ModelFolder.open(model), "gatys", PLAIN.targets, Placement("cuda:0"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "CUDA" in err  # the words are onnxruntime's, and change


@pytest.mark.usefixtures("broken_cuda")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_driver_that_is_missing_is_told_before_anything_is_opened(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement_module, "check_gpu", nvidia.check_gpu)
    monkeypatch.setattr(nvidia, "load_library", lambda names: None)
    with pytest.raises(DeviceError, match=f"^device {device}: NVIDIA's driver does not load; install it, or"):
        check_device(device)
    check_device("auto")


def test_of_a_long_error_of_cudas_the_heart_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(ort: Any, path: Path, providers: list[Any], options: Any) -> Any:
        if providers == [CPU]:
            return ort.InferenceSession(str(path), providers=providers)
        raise RuntimeError(
            "/onnxruntime_src/cuda_info.cc:63 FAIL : Failed to parse: CUDA failure 35: CUDA driver version is "
            "insufficient for CUDA runtime version ; GPU=-1 ; hostname=vm ; expr=cudaGetDeviceCount(&num_devices);"
        )

    claim_cuda(monkeypatch)
    monkeypatch.setattr(opening, "_create", create)
    heart = r"\(CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version\)"
    with pytest.raises(DeviceError, match=f"^device cuda:0 does not work {heart}; check the driver"):
        open_session(ModelFolder.open(model), "gatys", PLAIN.targets, Placement("cuda:0"))


@pytest.mark.usefixtures("broken_cuda")
def test_a_device_is_expected_where_the_driver_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for device in ("auto", "cuda"):
        found = foreseen(Placement(device))
        assert (found.device, found.lowering) == ("cuda:0", "direct")
    monkeypatch.setattr(placement_module, "check_gpu", nvidia.check_gpu)
    monkeypatch.setattr(nvidia, "load_library", lambda names: None)
    found = foreseen(Placement("auto"))
    assert (found.device, found.lowering) == ("cpu", "winograd")
    assert foreseen(Placement("cuda:1")).device == "cuda:1"


# --- CUDA graphs: how a session is opened, told by an onnxruntime that opens it on the CPU ---------------------


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each attempt to open a session was to be recorded; one that was is refused, as graphs with loops are."""
    tried: list[bool] = []

    def create(ort: Any, path: Path, providers: list[Any], options: Any) -> Any:
        tried.append(providers[0][1]["enable_cuda_graph"] == "1")
        if tried[-1]:
            raise RuntimeError("This session cannot use the graph capture feature: control flow nodes")
        return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])  # its options forbid the CPU

    claim_cuda(monkeypatch)
    monkeypatch.setattr(opening, "_create", create)
    return tried


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        (Placement("cuda:0"), [True, False]),
        (Placement("cuda:0", low_memory=True), [False]),
        (Placement("cuda:0", cuda=CudaOptions(graph=False)), [False]),
    ],
)
def test_what_cannot_be_recorded_is_opened_without_and_still_for_one_size(
    model: Path, attempts: list[bool], placement: Placement, expected: list[bool]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session = open_session(ModelFolder.open(model), "gatys", PLAIN, placement, extents(40, 48))
    assert attempts == expected
    assert not session.placement.recorded


def test_a_recording_that_was_asked_for_and_cannot_be_had_is_told_of(model: Path, attempts: list[bool]) -> None:
    placement = Placement("cuda:0", cuda=CudaOptions(graph=True))
    with pytest.warns(RuntimeWarning, match="cannot be recorded; runs without cuda.graph=True"):
        open_session(ModelFolder.open(model), "gatys", PLAIN, placement, extents(40, 48))
    assert attempts == [True, False]


def test_a_recording_needs_the_memory_that_low_memory_gives_back() -> None:
    with pytest.raises(InputError, match=r"cuda\.graph=True: .*low_memory"):
        Placement("cuda", low_memory=True, cuda=CudaOptions(graph=True))


def test_no_room_for_a_graph_is_told_as_such(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*_: Any) -> Any:
        raise RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer")

    claim_cuda(monkeypatch)
    monkeypatch.setattr(opening, "_create", create)
    with pytest.raises(MemoryShortage, match="out of memory on cuda:0; choose a smaller size, or device='cpu'"):
        open_session(ModelFolder.open(model), "gatys", PLAIN, Placement("cuda:0"), extents(40, 48))


# --- threads --------------------------------------------------------------------------------------------------


def test_threads_do_not_change_the_result(model: Path, noise: Noise) -> None:
    image = noise().transpose(2, 0, 1)[None]
    name = "style/block2_conv1.target"
    one, two = (
        open_session(
            ModelFolder.open(model), "gatys", PLAIN.targets, Placement(device="cpu", lowering="direct", threads=threads)
        )
        for threads in (1, 2)
    )
    np.testing.assert_allclose(one.run({"image": image}, [name])[name], two.run({"image": image}, [name])[name], 1e-5)


def test_bad_thread_counts_are_refused(model: Path, noise: Noise) -> None:
    for threads in (0, -1):
        with pytest.raises(InputError, match=f"threads is {threads}; expected 1 or more"):
            Objective.open(model, content=noise(), styles=[noise()], device="cpu", threads=threads)


# --- outputs --------------------------------------------------------------------------------------------------


def test_the_wanted_outputs_are_returned(deep_model: Path, noise: Noise) -> None:
    session = open_session(
        ModelFolder.open(deep_model), "gatys", PLAIN.targets, Placement(device="cpu", lowering="direct")
    )
    image = noise().transpose(2, 0, 1)[None]
    everything = session.run({"image": image})
    assert set(everything) == set(session.outputs)
    wanted = [f"style/block{k}_conv1.target" for k in (3, 1)]
    styles = session.run({"image": image}, wanted)
    assert list(styles) == wanted
    for name in wanted:
        np.testing.assert_array_equal(styles[name], everything[name])
    assert styles[wanted[0]].shape == (256, 256)


@pytest.mark.parametrize("lowering", LAYOUTS)
@pytest.mark.parametrize("recipe", ["wasserstein", "impasto"])
def test_optimizers_that_are_left_out_would_change_no_bit(
    model: Path, noise: Noise, monkeypatch: pytest.MonkeyPatch, recipe: str, lowering: str
) -> None:
    def evaluated() -> tuple[float, Any]:
        pictures: dict[str, Any] = {"content": noise(), "styles": [noise(seed=1)]}
        opened = Objective.open(model, recipe, **pictures, device="cpu", lowering=lowering, threads=1)
        return opened(noise(seed=2))

    loss, gradient = evaluated()
    monkeypatch.setattr(opening, "_IDLE_OPTIMIZERS", ())
    with_all = evaluated()
    assert loss == with_all[0]
    np.testing.assert_array_equal(gradient, with_all[1])


# --- arrays in place ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lowering", LAYOUTS)
@pytest.mark.parametrize("recipe", ["wasserstein", "seed"])
def test_arrays_in_place_give_the_same_bits_as_arrays_that_are_handed_over(
    model: Path, noise: Noise, recipe: str, lowering: str
) -> None:
    folder, placement = ModelFolder.open(model), Placement("cpu", lowering, threads=1)
    first, second = (np.ascontiguousarray(noise(seed=seed).transpose(2, 0, 1)[None]) for seed in (1, 2))
    key = GraphKey(layout=lowering)
    feeds = {
        name: x.copy() for name, x in open_session(folder, recipe, key.targets, placement).run({IMAGE: first}).items()
    }
    session = open_session(folder, recipe, key, placement)
    terms = [name for name in session.outputs if name not in (LOSS, GRADIENT)]
    feeds |= {weight_of(term): np.array(2.0, np.float32) for term in terms}
    bound = session.bind(feeds)
    results = {name: session.allocate(first.shape if name == GRADIENT else ()) for name in session.outputs}
    image = session.allocate(first.shape)
    for planes in (second, first, second):
        image.update_inplace(planes)
        bound.run({IMAGE: image}, results)
        for name, expected in session.run({IMAGE: planes, **feeds}).items():
            np.testing.assert_array_equal(download(results[name]), expected)
            assert download(results[name]).shape == expected.shape


def test_a_gradient_belongs_to_whoever_asked_for_it(model: Path, noise: Noise) -> None:
    objective = Objective.open(model, "gatys", content=noise(), styles=[noise(seed=1)], device="cpu")
    one, other = (np.ascontiguousarray(noise(seed=seed).transpose(2, 0, 1)[None]) for seed in (2, 3))
    loss, gradient = objective.evaluate(one)
    terms, kept = objective.terms, gradient.copy()
    gradient[:] = 0
    assert objective.evaluate(other)[0] != loss
    assert sum(terms.values()) == pytest.approx(loss, rel=1e-5)
    np.testing.assert_array_equal(objective.evaluate(one)[1], kept)
    np.testing.assert_array_equal(gradient, 0)


def test_an_error_with_arrays_in_place_is_one_line_that_names_the_graph(model: Path) -> None:
    session = open_session(ModelFolder.open(model), "gatys", PLAIN.targets, Placement("cpu", "direct"))
    into = {name: session.allocate((1,)) for name in session.outputs}
    with pytest.raises(TransferError, match=r"^gatys\.direct\.statistics\.onnx: ") as failed:
        session.bind().run({IMAGE: session.allocate((1, 4, 40, 40))}, into)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("lowering", ["", "Direct", "fft"])
def test_lowerings_that_do_not_exist_are_refused(model: Path, lowering: str) -> None:
    with pytest.raises(ModelError, match=r"lowering .*expected auto, direct or winograd"):
        open_session(ModelFolder.open(model), "gatys", PLAIN.targets, Placement(device="cpu", lowering=lowering))


# --- failures while running -----------------------------------------------------------------------------------


def test_an_error_of_onnxruntime_is_one_line_that_names_the_graph(model: Path) -> None:
    session = open_session(ModelFolder.open(model), "gatys", PLAIN.targets, Placement("cpu", "direct"))
    with pytest.raises(
        TransferError, match=r"^gatys\.direct\.statistics\.onnx: onnxruntime failed on cpu \("
    ) as failed:
        session.run({"image": np.zeros((1, 4, 40, 40), np.float32)})
    assert "\n" not in str(failed.value)
    assert "memory" not in str(failed.value)


STARVE = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
import scipy.optimize
from impasto.runtime import TransferError, stylize
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.opening import open_session
from impasto.runtime.model.graphs import PLAIN

def starve():
    "Leave the process 32 MB more than it has now; an evaluation needs more."
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**25
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

warnings.simplefilter("ignore")
model = sys.argv[1]
picture = np.random.default_rng(0).uniform(0, 255, (320, 320, 3)).astype(np.float32)
"""

MIDWAY = """
def starve_at_two(step):
    if step.evaluation == 2:
        starve()

result = stylize(picture, [picture], model=model, recipe="gatys", size=320, evaluations=9, init="random",
                 device="cpu", lowering="direct", low_memory=True, callback=starve_at_two)
print(result.evaluations, result.loss == min(step.loss for step in result.history), result.reason)
"""

AT_THE_START = """
session = open_session(ModelFolder.open(model), "gatys", PLAIN.targets, Placement("cpu", "direct"))
large = np.zeros((1, 3, 1024, 1024), np.float32)  # more than what has been given back to the process could hold
starve()
try:
    session.run({"image": large})
except TransferError as error:
    print(error)
"""


@linux_only
def test_memory_that_runs_out_midway_keeps_the_best_picture(model: Path) -> None:
    told, _, limit = run_python(STARVE + MIDWAY, None, model).partition(", or raise the limit of ulimit -v, which is ")
    assert (
        told == "2 True evaluation 3 failed: gatys.direct.objective.onnx: out of memory on cpu; choose a smaller size"
    )
    assert limit.endswith(" MB")


@linux_only
def test_memory_that_is_too_short_is_an_error_that_says_what_to_do(model: Path) -> None:
    assert run_python(STARVE + AT_THE_START, None, model).startswith(
        "gatys.direct.statistics.onnx: out of memory on cpu; choose a smaller size, or low_memory=True, or raise"
    )


# --- telemetry ------------------------------------------------------------------------------------------------

TELEMETRY = """
import os, sys
{before}
from impasto.runtime.engine.library import import_onnxruntime
ort = import_onnxruntime()
print(os.environ["ORT_DISABLE_TELEMETRY"], getattr(import_onnxruntime(), "told", []))
"""

STAND_IN = """
told = []
InferenceSession = None

def disable_telemetry_events():
    told.append("disable")
"""


@pytest.mark.parametrize(
    ("before", "outcome"),
    [
        ("", "1 []"),  # onnxruntime itself looks at the variable
        ("import onnxruntime", "1 ['disable']"),
        ("os.environ['ORT_DISABLE_TELEMETRY'] = '0'", "0 []"),
        ("os.environ['ORT_DISABLE_TELEMETRY'] = '0'; import onnxruntime", "0 []"),
    ],
)
def test_telemetry_is_switched_off_once_unless_the_user_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, outcome: str
) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text(STAND_IN)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    assert run_python(TELEMETRY.format(before=before), tmp_path) == outcome


def test_onnxruntime_has_a_switch_for_telemetry() -> None:
    onnxruntime.disable_telemetry_events()


# --- installations --------------------------------------------------------------------------------------------

OPEN = """
from impasto.runtime import DeviceError, Objective
import numpy as np
picture = np.zeros((32, 32, 3))
try:
    Objective.open({model!r}, content=picture, styles=[picture])
except DeviceError as error:
    print(error)
"""

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def run_python(code: str, path: Path | None = None, *arguments: object) -> str:
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_a_missing_onnxruntime_is_an_error_that_names_both_packages(model: Path) -> None:
    said = run_python(BLOCK.format(blocked={"onnxruntime"}) + OPEN.format(model=str(model)))
    assert said.startswith("onnxruntime is not installed")
    assert "pip install onnxruntime or" in said
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "onnxruntime is damaged; pip uninstall --yes onnxruntime onnxruntime-gpu"),
        ("raise ImportError('no libcudart.so.12')", "onnxruntime does not load (no libcudart.so.12)"),
    ],
)
def test_an_onnxruntime_that_does_not_load_is_an_error(model: Path, tmp_path: Path, code: str, reason: str) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text(code)
    said = run_python(OPEN.format(model=str(model)), tmp_path)
    assert said.startswith(reason)
    assert "pip install onnxruntime or" in said
