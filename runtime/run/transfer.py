"""A transfer: a plan being carried out on its pictures, stage after stage."""

from __future__ import annotations

import contextlib
import functools
import math
import time
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from impasto import figures
from impasto.runtime.engine.engine import ENGINE, Engine
from impasto.runtime.engine.evaluator import Evaluator, TileStep, ignore
from impasto.runtime.engine.footprints import budget_of
from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.tile_graphs import halos_of
from impasto.runtime.errors import MemoryShortage, TransferError
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import SINGLE
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.optimize.ending import Ending, SearchOver, StopOptimization
from impasto.runtime.optimize.minimize import Minimum, minimize, optimizer_named, preload
from impasto.runtime.optimize.noise import NOISE
from impasto.runtime.optimize.search import Evaluation
from impasto.runtime.optimize.variable import Within
from impasto.runtime.pictures.planes import Planes, difference, without_surroundings
from impasto.runtime.pictures.planes import resize as resize_image
from impasto.runtime.plan.plan import Plan, Stage
from impasto.runtime.run import canvas, notebook
from impasto.runtime.run.appraisal import appraise
from impasto.runtime.run.budget import Budget
from impasto.runtime.run.fitting import Need, told, told_of_tiles
from impasto.runtime.run.material import Material, weights_in
from impasto.runtime.run.record import Origin, Record
from impasto.runtime.run.result import Result
from impasto.runtime.run.share import Share
from impasto.runtime.run.state import Callback, RunEnding, State, Step, View
from impasto.shortage import advice
from impasto.wording import option

#: The first step of the line search changes pixels by so many levels (root mean square).
FIRST_STEP = 4.0


@contextlib.contextmanager
def _shortage_explained() -> Iterator[None]:
    """Raise a shortage of memory in Python, NumPy or SciPy as `MemoryShortage`, like those of onnxruntime."""
    try:
        yield
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        raise MemoryShortage(f"out of memory{reason}; choose a smaller {option('size')}, or {advice()}") from error


class Transfer:
    """A plan being carried out on its pictures.

    Parameters
    ----------
    plan
        The plan.
    material
        The pictures.
    model
        A model folder that holds the plan's recipe.
    placement
        The device, and how it is used.
    callback
        Called after every evaluation; may raise `StopOptimization` to end early with the best picture so far.
    progress
        Whether a notebook shows the transfer while it runs; by default if there is no callback.
    engine
        Opens graphs and measures styles; by default the one that keeps them for the next transfer of the process.

    Attributes
    ----------
    state
        The state of the transfer.
    after_stage
        Called without arguments after every stage but the last.
    after_tile
        Called after every tile of pictures that are evaluated in tiles; may raise `StopOptimization`, as the callback.
    appraises
        Whether the final loss is evaluated once in float32 if the evaluations were less precise.
    memory
        The size in bytes that the process may grow to: known once the transfer is `settled`, if the machine tells it.
    kept
        The number of first stages that keep their optimisers, however little memory there is: those that have begun,
        or all, of a plan that was carried out before.
    untold
        The sentences of `settle` that are still to be told: `run` warns of them.
    """

    def __init__(
        self,
        plan: Plan,
        material: Material,
        model: str | Path,
        placement: Placement | None = None,
        callback: Callback | None = None,
        progress: bool | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.plan, self.material, self.model, self.placement = plan, material, model, placement or Placement()
        self.callback, self.progress, self.engine = callback, progress, engine
        self.after_stage: Callable[[], None] | None = None
        self.after_tile: Callable[[TileStep], None] = ignore
        self.appraises = True
        self.memory: int | None = None
        self.kept = 0
        self.untold: list[str] = []
        self._is_settled = False
        self._watchers: list[Callback] = []
        self._begin(State((), np.empty(0, np.float32)))

    def _begin(self, state: State) -> None:
        """Take a state to run from; nothing of an earlier run remains."""
        self.state, self._share = state, Share(state.share)
        self._time_is_over = self._was_shortened = False
        self._history: list[Step] = []
        self._optimizer_seconds = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes that can be pickled: all but callbacks and the engine."""
        return {
            **self.__dict__,
            "callback": None,
            "after_stage": None,
            "after_tile": ignore,
            "_watchers": [],
            "engine": None,
        }

    @functools.cached_property
    def metadata(self) -> Metadata:
        """The metadata of the model's graph for the plan's recipe.

        Raises
        ------
        InputError
            When the model cannot be used.
        """
        return read_metadata(ModelFolder.open(self.model), self.plan.recipe.name)

    @functools.cached_property
    def origin(self) -> Origin:
        """The inputs, model and machine that the result depends on.

        Raises
        ------
        InputError
            When the model cannot be used.
        """
        return Origin.of(self)

    @property
    def need(self) -> Need:
        """What the transfer needs of memory.

        Raises
        ------
        InputError
            When the model cannot be used.
        """
        styles, count = [style.size for style in self.material.cropped], self.material.guided or 0
        halos = halos_of(ModelFolder.open(self.model), self.plan.recipe.name)
        return Need(self.plan, styles, self.placement, count, halos, self.engine or ENGINE, self.kept)

    def settle(self, plan: Plan | None = None, made: Sequence[int] | None = None) -> list[str]:
        """Choose, once, optimisers for which there is memory; return a sentence for each that is not the planned one.

        One more says so where the machine has not the memory that was asked for, and the tiles are others for it.

        Parameters
        ----------
        plan
            The plan of an interrupted run of this transfer, whose choices stand.
        made
            The `State.made` of a transfer that goes on: its stages that have begun keep their optimisers. By default
            those of the present state.

        Raises
        ------
        InputError
            When the model or the device cannot be used.
        """
        if self._is_settled:
            return []
        if plan:
            chosen = zip(self.plan.stages, plan.stages, strict=True)
            stages = (replace(now, optimizer=then.optimizer, pairs=then.pairs) for now, then in chosen)
            self.plan = replace(self.plan, stages=tuple(stages))
        self.kept = max(self.kept, sum(map(bool, self.state.made if made is None else made)))
        self.memory, planned, need = budget_of(self.placement), self.plan, self.need
        self.plan, self._is_settled = need.fitted(self.memory), True
        return [*told(planned, self.plan), *told_of_tiles(replace(need, plan=self.plan), self.memory)]

    def work(self) -> list[float]:
        """Return the work of an evaluation in each stage, as a multiple of that of whole pictures, once it is settled.

        Raises
        ------
        InputError
            When the model or the device cannot be used.
        """
        need = self.need
        return [need.work(stage, self.memory) for stage in self.plan.stages]

    @_shortage_explained()
    def run(self, resume: State | None = None) -> Result:
        """Carry the plan out, from its start or from a state. Other optimisers than the planned ones are warned of.

        Raises
        ------
        InputError
            When the model or the device cannot be used.
        TransferError
            When not even the start has a finite loss, or onnxruntime fails before there is a picture.
        """
        began = time.perf_counter() - (resume.seconds if resume else 0.0)
        wanted = notebook.is_running() and (self.callback is None if self.progress is None else self.progress)
        with notebook.live(self.plan, self.material.photograph, wanted=wanted) as live:
            self._watchers = [watcher for watcher in (live, self.callback) if watcher]
            self._begin(_resumed(resume) if resume else State((), canvas.begin(self.plan, self.material)))
            _ = self.origin  # refuses an unusable model before the work
            untold, self.untold = [*self.untold, *self.settle()], []
            for choice in untold:
                warnings.warn(choice, RuntimeWarning, stacklevel=3)
            if live:
                live.weigh(self.work())
            if self.state.ending is None:
                for optimizer in dict.fromkeys(map(self.plan.optimizer_of, self.plan.stages)):
                    preload(optimizer)
                self._run_stages(began)
            if self._is_to_be_appraised():
                self.state = replace(self.state, final=appraise(self))
            self.state = replace(self.state, seconds=time.perf_counter() - began)
            result = self._result_despite_interrupt()
            if live:
                with contextlib.suppress(KeyboardInterrupt):  # the work is done
                    live.finish(result)
        self._watchers = []
        return result

    def _result_despite_interrupt(self) -> Result:
        """Return the result, in spite of an interrupt, unless an earlier one has ended the transfer already."""
        try:
            return self._result()
        except KeyboardInterrupt:
            if self.state.ending is RunEnding.INTERRUPTED:
                raise
            return self._result()

    def _run_stages(self, began: float) -> None:
        """Run every stage, or the rest of it; note why the last one ended."""
        pictures = 1 + len(self.material.paintings)
        self._budget = Budget(self.plan.stages, self.plan.time_limit, pictures, self.work())
        for number, stage in enumerate(self.plan.stages):
            begun = len(self.state.made)
            if begun > number + 1:
                continue  # it ended before the interruption
            if begun == number:
                self.state = replace(self.state, made=(*self.state.made, 0))
                if number and self.after_stage:
                    self.after_stage()
            seconds = time.perf_counter() - began
            if number and not self._budget.pays(number, seconds):
                size = f"{stage.width}x{stage.height}"
                return self._end(RunEnding.TIME_OVER, f"{self._limit_text()} leaves too little for {size}")
            self._budget.begin(seconds)
            try:
                if self._run_stage(number, stage, began):
                    return None
            except KeyboardInterrupt:
                if not self.state.has_picture:
                    raise
                if self.state.evaluations < self.plan.evaluations:
                    return self._end(RunEnding.INTERRUPTED, RunEnding.INTERRUPTED.value)
            except StopOptimization as stop:  # within an evaluation, before the stage has a picture
                if not self.state.has_picture:
                    raise
                return self._end(RunEnding.STOPPED, str(stop) or RunEnding.STOPPED.value)
            except TransferError as error:
                if not self.state.has_picture:
                    raise
                return self._end(RunEnding.FAILED, f"stage {number + 1} failed: {error}")
        return self._end(RunEnding.FINISHED, self._finish_reason())

    def _is_to_be_appraised(self) -> bool:
        """Whether the final loss is to be evaluated in float32; one who stops a transfer does not wait for it."""
        state, at_leisure = self.state, self.state.ending in (RunEnding.FINISHED, RunEnding.TIME_OVER)
        return self.appraises and at_leisure and state.precision != SINGLE and state.final is None and state.has_picture

    def _end(self, ending: RunEnding, reason: str) -> None:
        self.state = replace(self.state, ending=ending, reason=reason)

    def _limit_text(self) -> str:
        return f"the time limit of {self.plan.time_limit:g} seconds"

    def _finish_reason(self) -> str:
        last = self.plan.stages[-1].evaluations
        if self.state.evaluations == self.plan.evaluations:
            return figures.all_made(self.plan.evaluations)
        if self.state.made[-1] != last:
            return self.state.reason
        reason = f"all {last} evaluations of the last stage were made"
        return f"{reason}, and fewer before it for {self._limit_text()}" if self._was_shortened else reason

    @_shortage_explained()
    def _run_stage(self, number: int, stage: Stage, began: float) -> bool:
        """Run the rest of a stage, and return whether the whole transfer has ended with it."""
        of_stage = self.state.made[number]
        if of_stage == stage.evaluations:  # killed before the next stage, or the result
            self.state = replace(self.state, reason=figures.all_made(stage.evaluations))
            return False
        self._share.begin(self.state.loss if of_stage else None)
        need = self.need
        placement = need.placed(stage, self.memory)
        with contextlib.closing(self._evaluator(stage, placement)) as evaluator:
            if of_stage and self.state.precision != evaluator.precision:  # their losses do not compare
                self.state = replace(self.state, adam=None)
            self.state = replace(
                self.state,
                device=evaluator.device,
                lowering=evaluator.lowering,
                precision=evaluator.precision,
                tile=need.side(stage, self.memory) or self.state.tile,
            )
            while True:
                minimum = self._search(number, stage, evaluator, began)
                self._optimizer_seconds += minimum.optimizer_seconds
                self.state = replace(self.state, reason=minimum.reason)
                if minimum.stopped:
                    failed = minimum.end.kind is Ending.FAILED
                    stopped = RunEnding.TIME_OVER if self._time_is_over else RunEnding.STOPPED
                    self._end(RunEnding.FAILED if failed else stopped, minimum.reason)
                    return True
                self.state = replace(self.state, adam=None)
                if self.state.made[number] == stage.evaluations or self.state.evaluations not in self._restarts():
                    return False

    def _restarts(self) -> list[int]:
        """Return after how many evaluations L-BFGS starts again: as planned, and at each resumption."""
        ends = list(accumulate(self.state.made))  # Adam goes on as if it had not been interrupted
        optimizers = {at: self.plan.optimizer_of(self.plan.stages[bisect_left(ends, at)]) for at in self.state.resumed}
        return sorted({*self.plan.restarts, *(at for at, name in optimizers.items() if name != "adam")})

    def _search(self, number: int, stage: Stage, evaluator: Evaluator, began: float) -> Minimum:
        """Search until the stage is over, or L-BFGS must start again."""
        parity, done = self.plan.restart_every is not None, self.state.evaluations
        fresh = self.state.made[number] == 0
        start = previous = canvas.entered(self.state.point, stage, self.plan, self.material, fresh=fresh)
        left = stage.evaluations - self.state.made[number]
        optimizer = self.plan.optimizer_of(stage)
        resident = evaluator.resident() if optimizer_named(optimizer).on_device else None
        terms: dict[str, float] = {}

        def evaluate(point: Planes) -> tuple[float, Planes]:
            nonlocal terms
            loss, terms, gradient = evaluator.evaluate(point)
            return loss, gradient

        def note(evaluation: Evaluation) -> None:
            nonlocal previous
            change = difference(evaluation.point, previous)
            previous = evaluation.point
            self._note(number, evaluation, resident.terms if resident else terms, change, time.perf_counter() - began)

        return minimize(
            evaluate,
            start,
            evaluations=min([left, *(at - done for at in self._restarts() if at > done)]),
            optimizer=optimizer,
            first_step=1.0 if parity else FIRST_STEP * start.size**0.5,  # for parity, the reference's
            variable=Within(canvas.LEVELS if self.plan.clip else None),
            restart_every=self.plan.restart_every,
            pairs=stage.pairs,
            min_improvement=self.plan.min_improvement,
            noise=NOISE[evaluator.precision],
            steps=stage.steps,
            adam=self.state.adam,
            best=self.state.loss if self.state.adam else math.inf,
            resident=resident,
            callback=note,
        )

    def _note(
        self, number: int, evaluation: Evaluation, terms: dict[str, float], change: float, seconds: float
    ) -> None:
        """Update the state with an evaluation, call the callbacks, and keep to the time limit."""
        share, stage = self._share.of(evaluation.loss), self.plan.stages[number]
        self.state = self.state.after(evaluation, terms, self._share.best, seconds)
        step = Step(
            evaluation=self.state.evaluations,
            evaluations=self.plan.evaluations,
            stage=number + 1,
            stages=len(self.plan.stages),
            width=stage.width,
            height=stage.height,
            of_stage=self.state.made[number],
            loss=evaluation.loss,
            terms=terms,
            share=share,
            improved=evaluation.improved,
            change=change,
            seconds=seconds,
            precision=self.state.precision,
        )
        self._history.append(step)
        view = View(self.picture) if self.state.has_picture else None
        viewable = replace(step, view=view)
        try:
            for watcher in self._watchers:
                watcher(viewable)
        finally:
            if view:
                view.close()
        self._keep_to_budget(number)

    def _keep_to_budget(self, number: int) -> None:
        """End the search, or the transfer, when the time of the stage is over."""
        of_stage, seconds = self.state.made[number], self.state.seconds
        self._budget.note(number, of_stage, self.state.evaluations, seconds)
        if self._budget.spent(number, seconds):
            self._time_is_over = True
            raise StopOptimization(f"{self._limit_text()} was reached")
        if self._budget.is_enough(number, of_stage, seconds):
            self._was_shortened = True
            raise SearchOver("the rest of the time is for finer stages")

    def _evaluator(self, stage: Stage, placement: Placement) -> Evaluator:
        recipe, references = self.plan.of(stage).recipe, self.material.references(self.plan, stage)
        weights = weights_in(recipe)
        engine, folder = self.engine or ENGINE, ModelFolder.open(self.model)
        evaluator = engine.evaluator(folder, recipe.name, references, placement, weights, self.after_tile)
        for warning in evaluator.warnings:
            warnings.warn(warning, RuntimeWarning, stacklevel=2)
        return evaluator

    def picture(self, side: int | None = None) -> Image.Image:
        """Return the best picture so far as the user would get it: see `impasto.runtime.run.canvas.picture_of`."""
        return canvas.picture_of(self.state.point, self.plan, self.material, side)

    def executed_plan(self) -> Plan:
        """Return the plan that leads to the present state, and ends there."""
        return self.plan.executed(self.state.made, [at for at in self._restarts() if at < self.state.evaluations])

    def _result(self) -> Result:
        image, state, photograph = self.picture(), self.state, self.material.photograph
        alpha = resize_image(photograph.alpha, *image.size) if photograph.alpha else None
        loss, (height, width) = state.appraisal, without_surroundings(state.point, self.plan.bleed).shape[2:]
        assert state.ending is not None
        return Result(
            image=image,
            loss=loss.loss,
            terms=loss.terms,
            loss_precision=loss.precision,
            share=state.share,
            stage=state.stage,
            evaluated=(width, height),
            evaluations=state.evaluations,
            reason=state.reason,
            ending=state.ending,
            history=tuple(self._history),
            seconds=state.seconds,
            optimizer_seconds=self._optimizer_seconds,
            device=state.device,
            lowering=state.lowering,
            precision=state.precision,
            tile=state.tile,
            plan=self.executed_plan(),
            photograph=replace(photograph, picture=image, alpha=alpha),
            record=Record.of(self, self.origin, image, recorded_places=True),
        )


def _resumed(state: State) -> State:
    """Return the state from which a transfer goes on; a stage without evaluations is not resumed, but begun."""
    if state.reason:
        return replace(state, ending=RunEnding.FINISHED)
    resumed = (*state.resumed, state.evaluations) if state.made[-1] else state.resumed
    return replace(state, ending=None, resumed=resumed)
