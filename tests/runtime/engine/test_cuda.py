"""What CUDA has to know is checked before any work, and told to onnxruntime in its words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from impasto.runtime import InputError, stylize
from impasto.runtime.engine.cuda import SEARCHES, CudaOptions
from impasto.runtime.engine.placement import Placement


def test_the_defaults_leave_memory_to_onnxruntime_and_a_search_is_for_what_runs_often() -> None:
    often, once = (CudaOptions(search="exhaustive").provider(n, search=n == "0") for n in ("0", "1"))
    assert often == {
        "device_id": "0",
        "use_tf32": "1",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "cudnn_conv_use_max_workspace": "1",
        "enable_cuda_graph": "1",
        "prefer_nhwc": "1",
        "fuse_conv_bias": "1",
    }
    assert once == {**often, "device_id": "1", "cudnn_conv_algo_search": "HEURISTIC"}
    assert CudaOptions().provider("1") == once


def test_every_option_reaches_the_provider() -> None:
    found = CudaOptions(memory=1.5, tf32=False, search="default", workspace=False, graph=False).provider("0")
    assert found["gpu_mem_limit"] == str(3 * 2**29)
    assert found["use_tf32"] == found["cudnn_conv_use_max_workspace"] == "0"
    assert found["enable_cuda_graph"] == "0"
    assert found["cudnn_conv_algo_search"] == "DEFAULT"


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_is_never_more_thorough_for_a_graph_that_runs_once(search: str) -> None:
    order = ["DEFAULT", "HEURISTIC", "EXHAUSTIVE"]
    often, once = (CudaOptions(search=search).provider("0", search=s)["cudnn_conv_algo_search"] for s in (True, False))
    assert order.index(once) <= min(order.index(often), 1)


@pytest.mark.parametrize("memory", [0.0, -1.0, 0.24, float("nan"), float("inf")])
def test_memory_that_will_not_do_is_refused(memory: float) -> None:
    with pytest.raises(InputError, match=r"cuda\.memory is .*; expected (0.25 or more, in GiB|a finite number)"):
        CudaOptions(memory=memory)


def test_searches_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InputError, match="'fast': expected exhaustive, heuristic, default"):
        CudaOptions(search="fast")


def test_a_cuda_graph_and_an_optimiser_that_moves_pictures_about_exclude_each_other(
    model: Path, noise: Callable[..., Any]
) -> None:
    with pytest.raises(InputError, match=r"cuda\.graph=True: .*lbfgs-device"):
        stylize(noise(), [noise()], model=model, optimizer="lbfgs-device", cuda=CudaOptions(graph=True))


def test_for_pictures_that_change_places_nothing_is_recorded_by_default() -> None:
    assert Placement("cuda").recorded
    assert not Placement("cuda").unrecorded().recorded
