"""The job of a command: a transfer, with its estimate, its progress and its outputs.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

import typer

from impasto import figures
from impasto.cli.given import warn_of_idle
from impasto.cli.job.estimating import announce, foresee, remember_timings
from impasto.cli.job.outputs import Ledger, Wishes
from impasto.cli.terminal.interrupt import NOT_BEGUN, Check, run_interruptibly
from impasto.cli.terminal.progress import Progress
from impasto.figures import clock
from impasto.runtime.engine.engine import Engine
from impasto.runtime.engine.evaluator import TileStep
from impasto.runtime.plan.plan import Plan
from impasto.runtime.run.checkpoint import Checkpoint
from impasto.runtime.run.estimate import CHOICES, Estimate
from impasto.runtime.run.idle import idle_options
from impasto.runtime.run.record import Origin
from impasto.runtime.run.result import Result
from impasto.runtime.run.state import Callback, State, Step
from impasto.runtime.run.transfer import Transfer

#: Carries a transfer out, from a state or its start, as `Transfer.run` does. It is also given the plan of the
#: interrupted run that goes on.
Runner = Callable[[Transfer, State | None, Plan | None], Result]

#: See `impasto.cli.terminal.interrupt.run_interruptibly`.
Interruptibly = Callable[
    [Callable[[Check], Result], Callable[[Result], None], Callable[[], None], str], tuple[Result, bool]
]


def by_itself(
    work: Callable[[Check], Result], keep: Callable[[Result], None], before_leaving: Callable[[], None], farewell: str
) -> tuple[Result, bool]:
    """Do what `run_interruptibly` does, for a job that has the process to itself.

    Until it keeps its result, what is printed goes to standard error: libraries may print, and our own output is for
    results.
    """

    def quietly(check: Check) -> Result:
        with contextlib.redirect_stdout(sys.stderr):
            return work(check)

    return run_interruptibly(quietly, keep, before_leaving, farewell)


class Job:
    """A transfer that a command runs.

    Parameters
    ----------
    transfer
        The transfer: inputs and plan.
    wishes
        The outputs that the user asks for.
    origin
        Everything that the result depends on, but the plan; by default, as far as the transfer knows it.
    earlier
        The checkpoint to resume from.
    engine
        Opens graphs; by default one that keeps none, as nothing is used again after one picture.
    runner
        Carries the transfer out in another place than this process: see `Runner`.

    Attributes
    ----------
    ledger
        Every output.
    interrupted
        Whether Ctrl-C or another signal has ended the transfer early.

    Raises
    ------
    InputError
        When something would be lost, or the checkpoint is of another transfer.
    """

    def __init__(
        self,
        transfer: Transfer,
        wishes: Wishes,
        origin: Origin | None = None,
        earlier: Checkpoint | None = None,
        engine: Engine | None = None,
        runner: Runner | None = None,
    ) -> None:
        self.transfer, self._wishes, self._runner = transfer, wishes, runner
        self.transfer.engine = engine or Engine(graphs=0)
        self.ledger = Ledger(wishes, transfer, origin or transfer.origin, earlier)
        self.interrupted = False
        self._earlier = earlier.plan if earlier else None
        self._estimate: Estimate | None = None

    def announce(
        self,
        *,
        oversize: bool,
        choices: Collection[str] = CHOICES,
        stages: int | None = None,
        idle: Mapping[str, str] | None = None,
    ) -> None:
        """Say how much the transfer, or the rest of it, will take, and which of the options given do nothing.

        Parameters
        ----------
        oversize
            Whether a picture is tried that does not fit into memory.
        choices
            The options that an error may advise.
        stages
            The number of stages that the user asked for.
        idle
            More options that do nothing -> the reason.

        Raises
        ------
        InputError
            When the picture is too large for the free memory.
        """
        self.estimate(oversize=oversize, choices=choices)
        evaluations = self.transfer.plan.evaluations
        warn_of_idle(idle_options(self.transfer, stages) | self._wishes.idle_options(evaluations) | {**(idle or {})})

    def estimate(self, *, oversize: bool, choices: Collection[str] = CHOICES, quiet: bool = False) -> Estimate:
        """Estimate what the transfer, or the rest of it, will take, and say so unless `quiet`.

        Raises
        ------
        InputError
            When the picture is too large for the free memory, and `oversize` is false.
        """
        state = self.ledger.state
        done, spent = (state.made, state.seconds) if state else ((), 0.0)
        foreseen = foresee(
            self.transfer, oversize=oversize, done=done, spent=spent, options=choices, earlier=self._earlier
        )
        self._estimate = foreseen[1] if quiet else announce(foreseen)
        return self._estimate

    @property
    def foreseen(self) -> dict[str, Any] | None:
        """The estimate as plain data, once there is one."""
        return self._estimate.to_mapping() if self._estimate else None

    def run(self, report: Callback) -> Result:
        """Run the transfer, write the outputs that are due meanwhile, and report every evaluation."""
        self.transfer.callback, state = self.ledger.watch(report), self.ledger.state
        try:
            return self._runner(self.transfer, state, self._earlier) if self._runner else self.transfer.run(state)
        except BaseException:
            self.ledger.close()
            raise

    def carry_out(
        self,
        progress_of: Callable[..., Progress] = Progress,
        farewell: str = NOT_BEGUN,
        interruptibly: Interruptibly = by_itself,
    ) -> Result:
        """Run the transfer with progress on standard error, and keep its result, even after a first signal.

        Its timings are remembered for later estimates, if it ran in this process.

        Parameters
        ----------
        progress_of
            Makes what shows the progress, as `Progress` does.
        farewell
            See `impasto.cli.terminal.interrupt.run_interruptibly`.
        interruptibly
            Does what that function does: see `by_itself`.
        """
        state = self.ledger.state
        expected = self._estimate.seconds if self._estimate else None
        if expected is not None and state:
            expected += state.seconds
        done = sum(state.made) if state else 0
        progress = progress_of(self.transfer.plan, expected, done, self.transfer.work())

        def watched(check: Check) -> Result:
            def report(step: Step) -> None:
                if check(over=step.evaluation == step.evaluations):
                    self.transfer.appraises = False
                progress.show(step)

            def between_tiles(step: TileStep) -> None:
                progress.show_tile(step.number, step.tiles)
                if self.transfer.state.has_picture:  # before that, a signal leaves at once
                    check()

            self.transfer.after_tile = between_tiles
            with progress:
                return self.run(report)

        def finish(result: Result) -> None:
            progress.finish(_summary(result))
            self.ledger.keep(result)

        result, signalled = interruptibly(watched, finish, progress.leave, farewell)
        self.interrupted = signalled and not result.finished
        if not self._runner and self.transfer.engine and self.transfer.engine.is_here:
            remember_timings(self.transfer, result)
        return result

    def describe(self, result: Result) -> dict[str, Any]:
        """Return the outputs and the result as ``--json`` prints them."""
        return {
            **self.ledger.describe(),
            "interrupted": self.interrupted,
            "recipe": result.plan.recipe.name,
            "width": result.image.width,
            "height": result.image.height,
            "evaluated": list(result.evaluated),
            "loss": result.loss,
            "loss_precision": result.loss_precision,
            "share": result.share,
            "terms": result.terms,
            "evaluations": result.evaluations,
            "reason": result.reason,
            "seconds": round(result.seconds, 3),
            "optimizer_seconds": round(result.optimizer_seconds, 3),
            "device": result.device,
            "lowering": result.lowering,
            "precision": result.precision,
            "tile": result.tile,
            "estimate": self.foreseen,
        }

    def end(self) -> None:
        """End the command as the job has ended.

        Raises
        ------
        NameTaken
            When a result had to be given another name.
        Exit
            With 1 when a signal has ended the transfer early.
        """
        self.ledger.check_names()
        if self.interrupted:
            raise typer.Exit(1)


def _summary(result: Result) -> str:
    summary = (
        f"{result.loss_text} after {figures.evaluations(result.evaluations)} in "
        f"{clock(result.seconds)} on {result.device}; {result.reason}"
    )
    if result.evaluated == result.image.size:
        return summary
    width, height = result.evaluated
    return f"{summary}; the picture is that of stage {result.stage}, {width}x{height}, enlarged"
