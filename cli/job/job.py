"""The job of a command: a transfer, the estimate of it, who watches it, and what is written of it.

To be imported by a command that runs: it takes the runtime with it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Mapping
from typing import Any

import typer

from impasto import figures
from impasto.cli.given import warn_of_idle
from impasto.cli.job.estimating import announce, teach
from impasto.cli.job.outputs import Ledger, Wishes
from impasto.cli.terminal.interrupt import Check, run_interruptibly
from impasto.cli.terminal.messages import say
from impasto.cli.terminal.progress import Progress
from impasto.figures import clock
from impasto.runtime.engine.engine import Engine
from impasto.runtime.run.checkpoint import Checkpoint
from impasto.runtime.run.estimate import Estimate
from impasto.runtime.run.idle import idle_options
from impasto.runtime.run.record import Origin
from impasto.runtime.run.result import Result
from impasto.runtime.run.state import Callback, Step
from impasto.runtime.run.transfer import Transfer

#: What of a transfer the user can choose, where it does not fit into memory.
CHOICES = ("size", "low_memory")


class Job:
    """A transfer that a command runs.

    Parameters
    ----------
    transfer
        The inputs and the plan.
    wishes
        What is to be written.
    origin
        What the transfer depends on; by default as far as it knows itself.
    earlier
        The checkpoint to go on from.
    engine
        Opens graphs; by default one that keeps none, as after one picture nothing would be used again.

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
    ) -> None:
        self.transfer, self._wishes = transfer, wishes
        self.transfer.engine = engine or Engine(graphs=0)
        self.ledger = Ledger(wishes, transfer, origin or transfer.origin, earlier)
        self.interrupted = False
        self._estimate: Estimate | None = None

    def announce(
        self,
        *,
        oversize: bool,
        choices: Collection[str] = CHOICES,
        stages: int | None = None,
        idle: Mapping[str, str] | None = None,
    ) -> None:
        """Say what the transfer, or what is left of it, will take, and which of the options given do nothing.

        Parameters
        ----------
        oversize
            Whether a picture that does not fit into memory is tried all the same.
        choices
            The options that an error may advise.
        stages
            How many were wished for.
        idle
            More options that do nothing, and of each where.

        Raises
        ------
        InputError
            When the picture is too large for the memory there is.
        """
        state = self.ledger.state
        made, spent = (state.made, state.seconds) if state else ((), 0.0)
        self._estimate = announce(self.transfer, oversize=oversize, made=made, spent=spent, options=choices)
        evaluations = self.transfer.plan.evaluations
        warn_of_idle(idle_options(self.transfer, stages) | self._wishes.idle_options(evaluations) | {**(idle or {})})

    def paint(self, report: Callback) -> Result:
        """Run the transfer, with everything written that is wished for meanwhile, and report every evaluation."""
        self.transfer.callback = self.ledger.watch(report)
        return self.transfer.run(self.ledger.state)

    def carry_out(self) -> Result:
        """Run the transfer with progress on standard error, and keep its result, which a first signal does not prevent.

        What it has taught of the machine's speed is remembered.
        """
        state = self.ledger.state
        expected = self._estimate.seconds if self._estimate else None
        if expected is not None and state:
            expected += state.seconds
        progress = Progress(self.transfer.plan, expected)

        def watched(check: Check) -> Result:
            def report(step: Step) -> None:
                check(over=step.evaluation == step.evaluations)
                progress.show(step)

            with contextlib.redirect_stdout(sys.stderr), progress:  # libraries may print; our own is for results
                return self.paint(report)

        def finish(result: Result) -> None:
            say(_summary(result))
            self.ledger.keep(result)

        result, signalled = run_interruptibly(watched, finish, progress.stop)
        self.interrupted = signalled and not result.finished
        teach(self.transfer, result)
        return result

    def describe(self, result: Result) -> dict[str, Any]:
        """Return what ``--json`` says of the outputs and the result."""
        return {
            **self.ledger.describe(),
            "interrupted": self.interrupted,
            "recipe": result.plan.recipe.name,
            "width": result.image.width,
            "height": result.image.height,
            "evaluated": list(result.evaluated),
            "loss": result.loss,
            "share": result.share,
            "terms": result.terms,
            "evaluations": result.evaluations,
            "reason": result.reason,
            "seconds": round(result.seconds, 3),
            "optimizer_seconds": round(result.optimizer_seconds, 3),
            "device": result.device,
            "lowering": result.lowering,
            "estimate": self._estimate.to_mapping() if self._estimate else None,
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
        f"{figures.loss(result.loss, result.share)} after {figures.evaluations(result.evaluations)} in "
        f"{clock(result.seconds)} on {result.device}; {result.reason}"
    )
    if result.evaluated == result.image.size:
        return summary
    width, height = result.evaluated
    return f"{summary}; the picture is that of stage {result.stage}, {width}x{height}, enlarged"
