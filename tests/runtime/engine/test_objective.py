"""An objective that is opened on CUDA has been evaluated there; told by an onnxruntime whose CUDA is the CPU.

What an objective computes is tested in `test_api.py`, and on real hardware in `test_on_gpu.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from impasto.runtime.engine import library, opening, placement, session
from impasto.runtime.engine.cuda import CudaOptions
from impasto.runtime.engine.objective import Objective
from impasto.runtime.errors import TransferError
from impasto.runtime.model.graphs import OBJECTIVE

pytestmark = pytest.mark.filterwarnings("ignore:model .* has random weights")

CONTENT, STYLE = (np.random.default_rng(k).uniform(0, 255, (40, 48, 3)).astype(np.float32) for k in (0, 1))


class Inference:
    """An onnxruntime session that cannot be recorded, or cannot run at all, and only then says so."""

    def __init__(self, inference: Any, fails: bool) -> None:
        self._inference, self._fails = inference, fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inference, name)

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        if self._fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self._inference.run_with_iobinding(binding, options)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[bool]]:
    """A maker of such an onnxruntime: which of its recorded and unrecorded evaluations fail -> a list of them.

    The list grows by whether it was to be recorded, for each objective that is opened.
    """

    def make(*failing: bool) -> list[bool]:
        opened: list[bool] = []

        def create(ort: Any, path: Path, providers: list[Any], options: Any) -> Any:
            inference = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            if providers == [library.CPU]:
                return inference
            recorded = providers[0][1]["enable_cuda_graph"] == "1"
            if path.name.endswith(f"{OBJECTIVE}.onnx"):
                opened.append(recorded)
            return Inference(inference, recorded in failing)

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [library.CUDA, library.CPU])
        monkeypatch.setattr(placement, "check_gpu", lambda *_: None)
        monkeypatch.setattr(opening, "_create", create)
        monkeypatch.setattr(opening, "_open_cuda", lambda ort, path, _, provider: create(ort, path, [provider], None))
        run_options = session._run_options
        monkeypatch.setattr(session.Runner, "_memory", lambda _: ("cpu", 0))
        monkeypatch.setattr(session, "_run_options", lambda _, **options: run_options("cpu", **options))
        return opened

    return make


def test_what_fails_when_it_is_recorded_is_opened_again_without(model: Path, cuda: Callable[..., list[bool]]) -> None:
    expected = Objective.open(model, "gatys", content=CONTENT, styles=[STYLE], device="cpu", lowering="direct")(CONTENT)
    opened = cuda(True)
    objective = Objective.open(model, "gatys", content=CONTENT, styles=[STYLE])
    assert opened == [True, False]
    assert objective.device == "cuda:0"
    assert objective.terms == {}
    loss, gradient = objective(CONTENT)
    assert loss == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])


def test_a_recording_that_was_asked_for_and_fails_is_told_of(model: Path, cuda: Callable[..., list[bool]]) -> None:
    opened = cuda(True)
    options = CudaOptions(graph=True)
    with pytest.warns(RuntimeWarning, match=r"gatys\.direct\.objective\.onnx: cannot be recorded; runs without"):
        Objective.open(model, "gatys", content=CONTENT, styles=[STYLE], device="cuda", cuda=options)
    assert opened == [True, False]


def test_what_fails_either_way_is_an_error_and_no_word_of_recording(
    model: Path, cuda: Callable[..., list[bool]]
) -> None:
    """Warnings are errors here."""
    opened = cuda(True, False)
    with pytest.raises(TransferError, match=r"onnxruntime failed on cuda:0 .*; try device='cpu'$"):
        Objective.open(model, "gatys", content=CONTENT, styles=[STYLE], device="cuda", cuda=CudaOptions(graph=True))
    assert opened == [True, False]


def test_what_was_opened_without_recording_is_not_tried_again(model: Path, cuda: Callable[..., list[bool]]) -> None:
    opened = cuda(False)
    with pytest.raises(TransferError, match=r"onnxruntime failed on cuda:0 .*; try device='cpu'$"):
        Objective.open(model, "gatys", content=CONTENT, styles=[STYLE], device="cuda", cuda=CudaOptions(graph=False))
    assert opened == [False]


def test_auto_takes_the_cpu_where_the_first_evaluation_on_cuda_fails(
    model: Path, cuda: Callable[..., list[bool]]
) -> None:
    opened = cuda(True, False)
    with pytest.warns(RuntimeWarning, match=r"onnxruntime failed on cuda:0 .*; using the CPU$"):
        objective = Objective.open(model, "gatys", content=CONTENT, styles=[STYLE])
    assert opened == [True, False]
    assert (objective.device, objective.metadata.lowering) == ("cpu", "winograd")
    with pytest.raises(TransferError, match=r"onnxruntime failed on cuda:0 .*; try device='cpu'$"):
        Objective.open(model, "gatys", content=CONTENT, styles=[STYLE], device="cuda")


def test_what_works_is_opened_once(model: Path, cuda: Callable[..., list[bool]]) -> None:
    opened = cuda()
    Objective.open(model, "gatys", content=CONTENT, styles=[STYLE])
    assert opened == [True]


def test_the_lowering_for_cpus_is_advised_against_on_cuda(model: Path, cuda: Callable[..., list[bool]]) -> None:
    cuda()
    with pytest.warns(
        RuntimeWarning, match="lowering='winograd': is made for CPUs, and some of it runs on one; leave it"
    ):
        Objective.open(model, "gatys", content=CONTENT, styles=[STYLE], device="cuda", lowering="winograd")
