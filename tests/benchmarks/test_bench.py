"""The benchmarks' own logic, and the conversation with contenders that need no environment of a peer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench, memory, quality
from benchmarks.bench import parse
from benchmarks.contenders import CONTENDERS, CUDA_CONTENDERS
from benchmarks.files import model_folder
from benchmarks.machine import cache_kib, describe, slug
from benchmarks.prepare import write_pictures, write_weights
from benchmarks.problem import PROBLEMS
from benchmarks.protocol import Answer, Contender, Job, Transferred, Unavailable
from benchmarks.report import (
    Case,
    Command,
    Disagreement,
    Startup,
    check_agreement,
    evaluation_table,
    optimisation_table,
    startup_table,
    table,
    transfer_table,
)
from impasto.export.weights.weights import Weights

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="benchmarks run on Linux only")

SIZE = 48

ROOT = Path(__file__).parents[2]


def answers(*seconds: float, loss: float = 5.0, peak: float = 100.0) -> list[Answer]:
    return [Answer(s, loss, 2.0, peak) for s in seconds]


# --- tables -----------------------------------------------------------------------------------------------


def test_a_table_is_aligned() -> None:
    assert table([("a", "ms"), ("long", "1.5")]) == "a      ms\n---------\nlong  1.5"


def test_ratios_are_of_medians_and_the_claim_names_the_fastest_framework() -> None:
    case = Case("seed", 64)
    case.answers = {
        "impasto": answers(0.1, 0.2, 0.9),
        "impasto-direct": answers(0.3, 0.3, 0.3),
        "torch": answers(0.8, 0.8, 0.8),
        "keras": answers(0.5, 0.4, 0.3, peak=321),
    }
    case.unavailable = {"torch-compile": "no compiler"}
    lines = evaluation_table(case).splitlines()
    assert lines[0] == "One evaluation, seed, 64x64, 3 rounds"
    assert lines[3].split() == ["impasto", "200.0", "100.0", "1.00", "100"]
    assert lines[6].split() == ["keras", "400.0", "300.0", "2.00", "321"]
    assert lines[-2:] == [
        "torch-compile: left out, no compiler",
        "fastest framework / impasto: 2.00 by medians (3.00 by minima), keras",
    ]


def test_each_precision_is_compared_with_impasto_in_the_same_precision() -> None:
    case = Case("seed", 64)
    case.answers = {
        "impasto": answers(0.4),
        "impasto-openvino-bf16": answers(0.2, loss=5.04),
        "torch": answers(0.8),
        "torch-bf16": answers(0.5, loss=4.96),
        "openvino-fp32": answers(0.6),
        "openvino-bf16": answers(0.21, loss=5.04),
    }
    lines = evaluation_table(case).splitlines()
    assert {line.split()[0]: line.split()[3] for line in lines[3:9]} == {
        "impasto": "1.00",
        "impasto-openvino-bf16": "1.00",
        "torch": "2.00",
        "torch-bf16": "2.50",
        "openvino-fp32": "1.50",
        "openvino-bf16": "1.05",
    }
    assert lines[9:] == [
        "fastest framework / impasto: 2.00 by medians (2.00 by minima), torch",
        "fastest framework in bfloat16 / impasto-openvino-bf16: 2.50 by medians (2.50 by minima), torch-bf16",
        "OpenVINO by itself / impasto: 1.50 by medians (1.50 by minima), openvino-fp32",
        "OpenVINO by itself in bfloat16 / impasto-openvino-bf16: 1.05 by medians (1.05 by minima), openvino-bf16",
    ]


def test_bfloat16_without_an_impasto_in_bfloat16_makes_no_claim() -> None:
    case = Case("seed", 64, {"impasto": answers(0.4), "torch-bf16": answers(0.2)})
    lines = evaluation_table(case).splitlines()
    assert lines[-1].split()[:4] == ["torch-bf16", "200.0", "200.0", "-"]


def test_impasto_alone_makes_no_claim() -> None:
    text = evaluation_table(Case("seed", 64, {"impasto": answers(1), "impasto-direct": answers(2)}))
    assert "fastest" not in text


@pytest.mark.parametrize("loss", [5.01, 4.99, float("nan"), float("inf")])
def test_no_table_of_contenders_that_disagree(loss: float) -> None:
    case = Case("seed", 64, {"impasto": answers(1), "torch": answers(1), "keras": answers(1, loss=loss)})
    with pytest.raises(Disagreement, match=r"^loss differs by more than 0.001: .*keras"):
        evaluation_table(case)


def test_float32_is_no_disagreement() -> None:
    check_agreement({"impasto": answers(1, loss=5.0001), "keras": answers(1, loss=5.0)})


def test_bfloat16_may_differ_by_more_than_float32() -> None:
    check_agreement({"impasto": answers(1), "torch-bf16": answers(1, loss=5.14), "keras-bf16": answers(1, loss=4.86)})
    for loss in (5.16, 4.84, float("nan")):
        with pytest.raises(Disagreement, match=r"^loss differs by more than 0.03: .*torch-bf16"):
            check_agreement({"impasto": answers(1), "torch-bf16": answers(1, loss=loss)})
    with pytest.raises(Disagreement, match=r"^loss differs by more than 0.001: .*torch"):
        check_agreement({"impasto": answers(1), "torch": answers(1, loss=5.14), "torch-bf16": answers(1)})


def test_tables_of_starts_and_of_commands() -> None:
    text = startup_table([Startup({"imports": 0.5, "sessions": 1.0}, [0.2, 0.3, 0.4], 1.0)], "seed", 64)
    rows = {line.rpartition("  ")[0].strip(): line.split()[-1] for line in text.splitlines()[1:-1]}
    assert rows["first result, in all"] == "1500.0"
    assert rows["3 warm evaluations + 1.5 s"] == "2400.0"
    assert text.endswith("share of the time: 10.0 %")
    commands = {"impasto": [Command(2, 50), Command(3, 60)], "pastiche": [Command(10, 40)]}
    assert transfer_table(commands, "gatys", 64, 5).endswith("impasto takes 0.25 times as long as pastiche")


def test_the_memory_of_a_device_is_a_column_where_there_is_a_device() -> None:
    taken = [Answer(0.1, 5.0, 2.0, 100.0, device_mib=321.0), Answer(0.1, 5.0, 2.0, 100.0, device_mib=320.0)]
    lines = evaluation_table(Case("gatys", 64, {"impasto": taken, "torch": answers(0.2)})).splitlines()
    assert lines[1].endswith("device MiB")
    assert lines[3].split()[-1] == "321"
    assert lines[4].split()[-1] == "-"


def test_a_table_of_transfers_tells_the_optimisers_share() -> None:
    case = Case("gatys", 64, transfers={"impasto": [Transferred(2.0, 1.5, 7.5)], "torch": [Transferred(3.0, 3.0, 8.0)]})
    case.evaluations = 30
    lines = optimisation_table(case).splitlines()
    assert lines[0] == "A transfer, gatys, 64x64, 30 evaluations"
    assert lines[3].split() == ["impasto", "2.00", "2.00", "1.00", "25.0", "7.5", "-"]
    assert lines[4].split() == ["torch", "3.00", "3.00", "1.50", "0.0", "8", "-"]


# --- the command line -------------------------------------------------------------------------------------


def test_options(tmp_path: Path) -> None:
    plan = parse(
        ["--sizes", "64", "gatys:96", "--skip", "keras", "--python", "torch=/usr/bin/python3", "--rounds", "3"]
    )
    assert plan.cases == (("seed", 64), ("gatys", 96))
    assert plan.contenders == tuple(name for name in CONTENDERS if name != "keras")
    assert plan.pythons["torch"] == "/usr/bin/python3"
    assert (plan.rounds, plan.threads, plan.evaluations) == (3, 2, 100)
    assert parse([]).cases == (("seed", 300), ("seed", 512), ("seed", 1024), ("gatys", 512))


@pytest.mark.parametrize("bad", [["--sizes", "vgg:64"], ["--rounds", "0"], ["--skip", "impasto"], ["--python", "x=y"]])
def test_bad_options_are_refused(bad: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(bad)


def test_options_for_a_gpu() -> None:
    plan = parse(["--device", "cuda", "--skip", "torch-channels-last", "--rounds", "2"])
    assert plan.device == "cuda:0"
    assert plan.cases == (("gatys", 512), ("gatys", 1024), ("gatys", 2048))
    assert plan.contenders == tuple(name for name in CUDA_CONTENDERS if name != "torch-channels-last")
    assert plan.job("gatys", 512, "eager").device == "cuda:0"
    assert parse([]).device == parse([]).job("gatys", 512).device == "cpu"
    for bad in ("gpu", "cuda:", "cuda:x", "cpu:0"):
        with pytest.raises(SystemExit):
            parse(["--device", bad])


def test_the_machine_goes_without_a_name() -> None:
    assert set(describe()) == {"cpu", "simd", "cache_kib", "cores", "ram_gib", "system"}
    xeon = {"cpu": "Intel(R) Xeon(R) CPU @ 2.20GHz", "cores": 2}
    assert slug({**xeon, "simd": ["avx2"]}) == "intel-xeon-2-cores"
    assert slug({**xeon, "simd": ["avx2", "avx512f"]}) == "intel-xeon-avx512-2-cores"
    assert slug({**xeon, "simd": ["avx2", "avx512f", "amx_bf16"]}) == "intel-xeon-avx512-amx-2-cores"
    assert slug({**xeon, "simd": ["avx2", "avx512f", "avx512_bf16"]}) == "intel-xeon-avx512-bf16-2-cores"


def test_the_machine_tells_the_caches_of_data(tmp_path: Path) -> None:
    caches = {
        "index0": ("1", "Data", "48K"),
        "index1": ("1", "Instruction", "32K"),
        "index2": ("2", "Unified", "2048K"),
    }
    for name, values in caches.items():
        (tmp_path / name).mkdir()
        for entry, value in zip(("level", "type", "size"), values, strict=True):
            (tmp_path / name / entry).write_text(f"{value}\n")
    assert cache_kib(tmp_path) == {"L1": 48, "L2": 2048}
    assert cache_kib(tmp_path / "missing") == {}


def test_other_systems_than_linux_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    for main in (bench.main, memory.main, quality.main):
        with pytest.raises(SystemExit, match=r"^error: benchmarks run on Linux only"):
            main()


def test_a_command_is_measured(tmp_path: Path) -> None:
    measure = (
        "import sys; from pathlib import Path; from benchmarks.bench import run_measured; "
        "done = run_measured([sys.executable, '-c', 'bytearray(200 << 20)'], Path(sys.argv[1]), {}); "
        "print(done.seconds, done.peak_mib)"
    )
    small = [sys.executable, "-c", measure, str(tmp_path / "log")]  # the process of the tests may be large
    told = subprocess.run(small, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    seconds, peak = map(float, told.split())
    assert seconds > 0
    assert 200 < peak < 1000


# --- the conversation -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, deep_model: Path, random_weights: Weights) -> Path:
    folder = tmp_path_factory.mktemp("data")
    model_folder(folder).symlink_to(deep_model)
    write_weights(folder, random_weights)
    write_pictures(folder, [SIZE])
    return folder


def start(name: str, data: Path, recipe: str = "seed") -> Contender:
    entry = {**CUDA_CONTENDERS, **CONTENDERS}[name]
    command = [sys.executable, "-m", f"benchmarks.{entry.module}"]
    return Contender(command, Job(str(data), recipe, SIZE, 1, entry.variant), data / f"{name}.log")


@pytest.mark.parametrize(
    "recipe", ["gatys", *(pytest.param(x, marks=pytest.mark.slow) for x in sorted(PROBLEMS) if x != "gatys")]
)
def test_contenders_agree_and_optimise(data: Path, recipe: str) -> None:
    pytest.importorskip("torch")
    evaluated: dict[str, list[Answer]] = {}
    for name in ("impasto", "torch", "torch-bf16", *(["impasto-lbfgs-device"] if recipe == "gatys" else [])):
        contender = start(name, data, recipe)
        before, after = contender.evaluate(), contender.transfer(6)
        contender.close()
        evaluated[name] = [before]
        assert before.seconds > 0 and before.peak_mib > 50 and np.isfinite(before.loss), name
        assert after.loss < before.loss, name
        assert 0 < after.evaluating < after.seconds, name
        assert after.device_mib is None
    check_agreement(evaluated)


def test_a_contender_that_fails_says_why(data: Path) -> None:
    with pytest.raises(Unavailable, match=r"^ModelError: .*other"):
        start("impasto", data, "other")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/no/such/python"], "^/no/such/python: No such file"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with status 3; see .*log"),
    ],
)
def test_a_contender_that_does_not_start(tmp_path: Path, command: list[str], reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        Contender(command, Job("", "seed", SIZE, 1, ""), tmp_path / "log")
