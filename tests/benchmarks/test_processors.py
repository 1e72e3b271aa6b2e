"""The page of all processors' speed is what the kept results tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import processors
from benchmarks.processors import load, render

XEON = {"cpu": "Intel(R) Xeon(R) Processor @ 2.20GHz", "simd": ["avx2", "avx512f", "amx_bf16"], "cores": 2}
EPYC = {"cpu": "AMD EPYC", "simd": ["avx2"], "cores": 2}


def run(
    day: str, machine: dict[str, Any], seconds: dict[str, float], size: int = 300, gpu: str | None = None
) -> dict[str, Any]:
    answers = {name: [{"seconds": s * factor} for factor in (1, 2, 0.5)] for name, s in seconds.items()}
    return {
        "started": f"2026-01-{day}T00:00:00+00:00",
        "commit": f"commit{day}",
        "machine": machine,
        "gpu": gpu,
        "threads": 2,
        "versions": {"impasto": {"onnxruntime": "1.32.0", "numpy": "2.4"}, "torch": None},
        "evaluation": [{"recipe": "seed", "size": size, "answers": answers}],
    }


def page(folder: Path, *runs: dict[str, Any]) -> list[str]:
    for number, content in enumerate(runs):
        (folder / f"{number}.json").write_text(json.dumps(content))
    return render(load(folder.glob("*.json"))).splitlines()


def test_the_page_is_what_the_kept_results_tell() -> None:
    assert processors.PAGE.read_text("utf-8") == render(processors.kept()), "run: python -m benchmarks.processors"


def test_each_precision_has_a_table_with_ratios_of_its_own(tmp_path: Path) -> None:
    seconds = {"impasto": 0.4, "torch": 0.9, "keras": 0.8, "openvino-fp32": 0.6}
    brain = {"impasto-openvino-bf16": 0.1, "impasto-direct": 0.7, "torch-bf16": 0.3, "openvino-bf16": 0.09}
    machine = {**XEON, "cache_kib": {"L1": 48, "L2": 2048}}
    lines = page(tmp_path, run("02", machine, {**seconds, **brain}), run("01", EPYC, {"impasto": 1, "torch": 2}))
    name = "Intel Xeon, AVX-512, AMX, 2 threads"
    assert lines.index("## Float32") < lines.index(
        "| AMD EPYC, AVX2, 2 threads | seed, 300 | 1000 | 2000 (torch) | 2.00 | – | – |"
    )
    assert lines.index(f"| {name} | seed, 300 | 400 | 800 (keras) | 2.00 | 600 | 1.50 |") < lines.index("## Bfloat16")
    assert f"| {name} | seed, 300 | 100 | 300 (torch-bf16) | 3.00 | 90 | 0.90 | 400 |" in lines
    assert f"| {name} | 2026-01-02 | commit02 | 2 | 2048 KiB | onnxruntime 1.32.0 |" in lines
    assert "| AMD EPYC, AVX2, 2 threads | 2026-01-01 | commit01 | 2 | – | onnxruntime 1.32.0 |" in lines


def test_without_bfloat16_there_is_no_table_of_it(tmp_path: Path) -> None:
    assert "## Bfloat16" not in page(tmp_path, run("01", EPYC, {"impasto": 1, "torch": 2}))


def test_where_the_plugin_takes_no_processor_others_in_bfloat16_are_beside_impasto_in_float32(tmp_path: Path) -> None:
    machine = {**EPYC, "simd": ["avx512f", "avx512_bf16"]}
    lines = page(tmp_path, run("01", machine, {"impasto": 0.4, "keras": 0.9, "keras-bf16": 0.5, "openvino-bf16": 0.45}))
    row = "| AMD EPYC, AVX-512, AVX512-BF16, 2 threads | seed, 300 | – | 500 (keras-bf16) | – | 450 | – | 400 |"
    assert lines.index(row) > lines.index("## Bfloat16")


def test_the_newest_run_of_a_processor_and_a_size_counts(tmp_path: Path) -> None:
    runs = [run(day, EPYC, {"impasto": seconds}) for day, seconds in (("03", 0.3), ("05", 0.5), ("04", 0.4))]
    lines = page(tmp_path, *runs, run("01", EPYC, {"impasto": 0.1}, size=96))
    rows = [line for line in lines if "seed" in line]
    assert [row.split(" | ")[1:3] for row in rows] == [["seed, 96", "100"], ["seed, 300", "500"]]


def test_runs_on_a_gpu_are_left_out(tmp_path: Path) -> None:
    lines = page(tmp_path, run("01", EPYC, {"impasto": 1}), run("02", XEON, {"impasto": 2}, gpu="NVIDIA H200"))
    assert not [line for line in lines if "Xeon" in line]
