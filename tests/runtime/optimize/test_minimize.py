"""The loop counts every evaluation, keeps the best point, and says why it ended."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from impasto import figures
from impasto.defaults import OPTIMIZERS
from impasto.runtime import stylize
from impasto.runtime.engine.algebra import Algebra
from impasto.runtime.errors import TransferError
from impasto.runtime.optimize import search as search_module
from impasto.runtime.optimize.ending import Ending, SearchOver, StopOptimization
from impasto.runtime.optimize.minimize import minimize
from impasto.runtime.optimize.search import PATIENCE, Evaluation
from impasto.runtime.optimize.variable import Within
from tests.runtime.optimize.functions import (
    Array,
    Doubled,
    Lifted,
    Recorder,
    bowl,
    broken_after,
    failing_after,
    quadratic,
    rosenbrock,
)

# --- counting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [1, 2, 3, 7, 19, 20, 21, 40, 41])
@pytest.mark.parametrize("restart_every", [None, 1, 20])
def test_exactly_the_allowed_evaluations_are_made(allowed: int, restart_every: int | None) -> None:
    start = np.array([-1.2, 1.0, -0.5, 0.8, 0.3, -2.0], np.float32)
    minimum = Recorder(rosenbrock).minimize(start, allowed, restart_every=restart_every)
    assert minimum.evaluations == allowed
    assert minimum.reason == figures.all_made(allowed)


def test_a_single_evaluation_returns_the_start() -> None:
    function, bottom = quadratic()
    start = np.full_like(bottom, 7)
    minimum = Recorder(function).minimize(start, 1, first_step=100)
    np.testing.assert_array_equal(minimum.point, start)


@pytest.mark.parametrize("optimizer", ["lbfgs", "lbfgs-device", "adam"])
def test_the_optimizers_own_time_is_that_between_evaluations(
    algebra: Algebra, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that only moves when it is read, by a second, and while the function or the callback work."""
    now = 0.0

    def read() -> float:
        nonlocal now
        now += 1
        return now

    def work(_: Evaluation) -> None:
        nonlocal now
        now += 100

    function, bottom = bowl()

    def slow(x: Array) -> tuple[float, Array]:
        nonlocal now
        now += 1000
        return function(x)

    monkeypatch.setattr(search_module, "time", SimpleNamespace(perf_counter=read))
    resident = Lifted(slow, algebra) if optimizer == "lbfgs-device" else None
    start = np.full_like(bottom, 4)
    minimum = minimize(slow, start, evaluations=7, optimizer=optimizer, resident=resident, callback=work)
    assert (
        minimum.optimizer_seconds == 2 * 7 + 1
    )  # from the start to the first, and from each evaluation to its callback


# --- bounds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_no_point_beyond_the_bounds_is_ever_looked_at(optimizer: str) -> None:
    function, bottom = quadratic()
    recorder = Recorder(function)
    start = np.full_like(bottom, 1)
    minimum = recorder.minimize(start, 150, optimizer=optimizer, first_step=3, variable=Within((0.0, 2.0)))
    assert all(call.min() >= 0 and call.max() <= 2 for call in recorder.calls)
    np.testing.assert_allclose(minimum.point, bottom.clip(0, 2), atol=0.05)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("evaluations", [1, 20])
def test_a_start_beyond_the_bounds_is_brought_inside_before_it_is_looked_at(optimizer: str, evaluations: int) -> None:
    function, bottom = quadratic()
    recorder = Recorder(function)
    start = np.linspace(-100, 100, bottom.size, dtype=np.float32).reshape(bottom.shape)
    minimum = recorder.minimize(start, evaluations, optimizer=optimizer, variable=Within((0.0, 2.0)))
    assert all(call.min() >= 0 and call.max() <= 2 for call in recorder.calls)
    np.testing.assert_array_equal(recorder.calls[0].ravel(), start.clip(0, 2).ravel())
    assert 0 <= minimum.point.min() <= minimum.point.max() <= 2


# --- ending ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["nan", "inf", "-inf", "gradient"])
def test_a_loss_that_breaks_midway_keeps_the_best_point(how: str) -> None:
    seen: list[Evaluation] = []
    minimum = minimize(
        broken_after(5, how), np.full((1, 3, 4, 5), 50, np.float32), evaluations=50, callback=seen.append
    )
    assert minimum.evaluations == len(seen) == 6
    assert minimum.reason == "loss or gradient was not finite at evaluation 6"
    assert not seen[-1].improved
    best = min(seen[:5], key=lambda e: e.loss)
    assert minimum.loss == best.loss
    assert quadratic()[0](minimum.point)[0] == best.loss


@pytest.mark.parametrize("how", ["nan", "inf", "-inf", "gradient"])
def test_a_start_without_a_finite_loss_is_an_error(how: str) -> None:
    with pytest.raises(TransferError, match=r"the start has no finite loss \(.* at evaluation 1\)"):
        minimize(broken_after(0, how), np.zeros((1, 3, 4, 5), np.float32), evaluations=50)


@pytest.mark.parametrize("restart_every", [None, 3])
def test_a_failure_midway_keeps_the_best_point_and_is_the_reason(restart_every: int | None) -> None:
    seen: list[Evaluation] = []
    start = np.full((1, 3, 4, 5), 50, np.float32)
    minimum = minimize(failing_after(5), start, evaluations=50, restart_every=restart_every, callback=seen.append)
    assert minimum.evaluations == len(seen) == 5
    assert minimum.reason == "evaluation 6 failed: out of memory"
    assert minimum.loss == min(e.loss for e in seen)
    assert quadratic()[0](minimum.point)[0] == minimum.loss


def test_a_failure_at_the_start_is_handed_on() -> None:
    with pytest.raises(TransferError, match=r"^out of memory$"):
        minimize(failing_after(0), np.zeros((1, 3, 4, 5), np.float32), evaluations=50)


@pytest.mark.parametrize("restart_every", [None, 20])
def test_the_callback_ends_the_search(restart_every: int | None) -> None:
    seen: list[Evaluation] = []

    def stop_after_four(evaluation: Evaluation) -> None:
        seen.append(evaluation)
        if len(seen) == 4:
            raise StopOptimization("enough")

    start = np.array([-1.2, 1.0], np.float32)
    minimum = minimize(rosenbrock, start, evaluations=50, restart_every=restart_every, callback=stop_after_four)
    assert (minimum.evaluations, minimum.reason) == (4, "enough")
    assert minimum.loss == min(e.loss for e in seen)


def test_a_stop_without_a_word_is_explained() -> None:
    def stop(_: Evaluation) -> None:
        raise StopOptimization

    minimum = minimize(rosenbrock, np.zeros(2, np.float32), evaluations=9, callback=stop)
    assert (minimum.evaluations, minimum.reason) == (1, "stopped by the callback")


def test_other_errors_of_function_and_callback_are_handed_on() -> None:
    def fail(_: object) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        minimize(rosenbrock, np.zeros(2, np.float32), evaluations=9, callback=fail)
    with pytest.raises(KeyError, match="mine"):
        minimize(fail, np.zeros(2, np.float32), evaluations=9)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_search_that_no_longer_improves_ends_by_itself(optimizer: str) -> None:
    function, bottom = quadratic()
    seen: list[Evaluation] = []
    minimum = minimize(
        function, np.full_like(bottom, 50), evaluations=5000, optimizer=optimizer, first_step=10,
        min_improvement=1e-3, callback=seen.append,
    )  # fmt: skip
    assert PATIENCE < minimum.evaluations < 5000
    assert minimum.reason == "10 evaluations lowered the loss by less than 0.001 of it"
    assert not minimum.stopped
    best = list(itertools.accumulate((e.loss for e in seen), min))
    gains = [(best[k - PATIENCE] - best[k]) / best[k - PATIENCE] for k in range(PATIENCE, len(best))]
    assert gains[-1] < 1e-3 <= min(gains[:-1])


def test_a_min_improvement_of_zero_ends_only_where_nothing_improves() -> None:
    minimum = Recorder(rosenbrock).minimize(np.array([-1.2, 1.0], np.float32), 12, min_improvement=0.0)
    assert minimum.evaluations == 12


def test_the_end_is_a_value_beside_the_sentence_and_tells_reasons_from_outside_from_its_own() -> None:
    def stop(_: Evaluation) -> None:
        raise StopOptimization("enough")

    def go_on(_: Evaluation) -> None:
        raise SearchOver("the next one, please")

    start = np.full((1, 3, 4, 5), 50, np.float32)
    bowl, bottom = quadratic()
    ends = {
        Ending.EVALUATIONS: minimize(bowl, start, evaluations=9),
        Ending.CONVERGED: minimize(bowl, bottom, evaluations=9),
        Ending.LITTLE_IMPROVEMENT: minimize(bowl, start, optimizer="adam", evaluations=5000, min_improvement=1e-3),
        Ending.NOT_FINITE: minimize(broken_after(3, "nan"), start, evaluations=9),
        Ending.FAILED: minimize(failing_after(3), start, evaluations=9),
        Ending.STOPPED: minimize(bowl, start, evaluations=9, callback=stop),
        Ending.SEARCH_STOPPED: minimize(bowl, start, evaluations=9, callback=go_on),
    }
    assert [minimum.end.kind for minimum in ends.values()] == list(ends) == list(Ending)
    assert {kind for kind, minimum in ends.items() if minimum.stopped} == {Ending.FAILED, Ending.STOPPED}
    assert ends[Ending.SEARCH_STOPPED].reason == "the next one, please"


# --- other optimisers and variables -----------------------------------------------------------------------------

MOMENTUM = """
from typing import NoReturn

import numpy as np
from impasto.runtime.optimize.search import Optimizer, Options, Search
from impasto.runtime.optimize.variable import clipped


def run(search: Search, options: Options) -> NoReturn:
    variable = options.variable
    x = variable.inverse(options.start)
    speed = np.zeros_like(x)
    while True:
        gradient = variable.adjoint(search.evaluate(variable.picture(x))[1])
        length = options.first_step / (1 + search.done)
        speed = 0.5 * speed - np.float32(length / np.linalg.norm(gradient)) * gradient
        x = clipped(x + speed, variable.bounds)


OPTIMIZER = Optimizer(run)
"""


@pytest.fixture
def momentum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of an optimiser that is a file, and an entry in the table."""
    (tmp_path / "momentum_of_a_test.py").write_text(MOMENTUM, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(OPTIMIZERS, "momentum", "momentum_of_a_test")
    return "momentum"


def test_a_new_optimizer_is_one_file_and_its_name(momentum: str, model: Path, noise: Callable[..., Array]) -> None:
    function, bottom = quadratic()
    recorder = Recorder(function)
    options: dict[str, Any] = {"optimizer": momentum, "variable": Within((0.0, 2.0)), "first_step": 5.0}
    minimum = recorder.minimize(np.full_like(bottom, 1), 100, **options)
    assert minimum.loss < 1.01 * function(bottom.clip(0, 2))[0]
    assert minimum.end.kind is Ending.EVALUATIONS
    result = stylize(noise(), [noise(seed=1)], model=model, recipe="gatys", size=48, evaluations=4, optimizer=momentum)
    assert result.loss < result.history[0].loss
    assert result.plan.optimizer == momentum


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_another_variable_changes_how_optimizers_go_but_not_the_pictures_they_see(optimizer: str) -> None:
    function, bottom = quadratic()
    recorder, start = Recorder(function), np.full_like(bottom, 5)
    minimum = recorder.minimize(start, 300, optimizer=optimizer, variable=Doubled(), first_step=0.5)
    np.testing.assert_array_equal(recorder.calls[0], start)
    np.testing.assert_allclose(minimum.point, bottom, atol=5e-2)


def test_a_resident_function_and_an_optimizer_on_the_device_go_together(algebra: Algebra) -> None:
    resident = Lifted(rosenbrock, algebra)
    mismatches: list[dict[str, Any]] = [{"optimizer": "lbfgs-device"}, {"optimizer": "adam", "resident": resident}]
    for options in mismatches:
        with pytest.raises(ValueError, match="lbfgs-device"):
            minimize(rosenbrock, np.zeros(2, np.float32), evaluations=9, **options)
