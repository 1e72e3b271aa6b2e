"""A batch whose pictures are made by the workers of a cluster, each of them one at a time.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from impasto.cli.cluster import lanes, worker
from impasto.cli.cluster.connection import Cluster, ClusterError, WorkerLost, connected
from impasto.cli.cluster.lanes import Lanes
from impasto.cli.cluster.models import Manifest
from impasto.cli.cluster.remote import RemoteRunner
from impasto.cli.cluster.wanted import Wanted
from impasto.cli.job.batch import Batch, Outcome, Prepared, Status
from impasto.cli.job.batch_run import BatchRun, Tell
from impasto.cli.job.estimating import announce
from impasto.cli.job.job import Interruptibly, Job
from impasto.cli.job.tasks import Task
from impasto.cli.terminal.interrupt import Check, Phase, within
from impasto.cli.terminal.messages import say
from impasto.cli.terminal.progress import BatchProgress
from impasto.runtime.errors import InputError
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.run.checkpoint import Checkpoint
from impasto.runtime.run.estimate import Estimate
from impasto.runtime.run.result import Result
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.storage.own import remove

#: If a worker dies, a picture that has taken no more seconds begins anew: then it gets the bits that it would have had.
#: One that has taken more goes on from its checkpoint.
AFRESH = 60.0


class ClusterRun(BatchRun):
    """The run of a batch over a cluster: see `impasto.cli.cluster.lanes`."""

    of_all_pictures = (WorkerLost, ClusterError)

    def __init__(self, batch: Batch, wanted: Wanted) -> None:
        super().__init__(batch)
        self._wanted = wanted
        self._cluster: Cluster
        self._telling = threading.Lock()
        self._is_over = False
        self._failure: ClusterError | None = None

    @contextmanager
    def workplace(self) -> Iterator[None]:
        """Connect to the cluster for a `with` block, if there is anything to be made.

        Raises
        ------
        InputError
            When there is no cluster, or a worker is not fit.
        """
        if not self._left:
            yield
            return
        choices = self._batch.choices
        with connected(self._wanted, Manifest.of(ModelFolder.open(choices["model"]), choices["recipe"])) as cluster:
            self._cluster, self._lanes = cluster, len(cluster.admitted())
            yield

    def _foresee(self, largest: Transfer) -> Estimate:
        """Say what the largest picture takes on a worker; it must fit into the memory of each that there is."""
        manifest, oversize = self._cluster.manifest, self._batch.oversize

        def estimated(address: str) -> tuple[list[str], Estimate]:
            try:
                return self._cluster.ask(address, worker.estimated, largest, manifest, oversize)
            except InputError as error:
                raise InputError(f"worker {address}: {error}") from None

        told = list[tuple[list[str], Estimate]]()
        for address in self._cluster.admitted():
            with suppress(WorkerLost):
                told.append(estimated(address))
        if not told:
            raise self._cluster.deserted()
        self._cluster.trial = estimated
        return announce(told[-1])

    def paint(self, report: Path | None) -> None:
        """Make the pictures that are left, and say what has come of each.

        Raises
        ------
        ClusterError
            When the scheduler, or all workers, are gone.
        """
        super().paint(report)
        if self._failure:
            raise ClusterError(f"{self._failure}{self._advice}")

    def _paint_left(self, progress: BatchProgress, tell: Tell) -> None:
        if not self._left:
            return
        progress.lanes = max(1, self._lanes)
        phase = Phase(self._farewell, "stopping after these evaluations, to keep the best pictures", progress.leave)

        def work(address: str, number: int, task: Task) -> None:
            self._record(number, self._paint_on(address, task, progress, phase), progress, tell, phase)

        def lost(number: int, task: Task, address: str, again: bool) -> None:
            if again:
                say(f"worker {address} is gone; {task.named.title} is left to another one")
                self._begin_anew(task)
            else:
                died = f"{lanes.MOST_DEATHS} workers died while they made it"
                error = f"{died}; a smaller --size may help, or fewer --workers"
                self._record(number, Outcome(task, Status.FAILED, error), progress, tell, phase)

        with within(phase):
            try:
                Lanes(self._cluster, work, lost, lambda: phase.signalled).run(self._left)
            except ClusterError as error:
                self._failure = error
        with self._telling:
            self._is_over = True
        self.interrupted = phase.signalled

    def _record(self, number: int, outcome: Outcome, progress: BatchProgress, tell: Tell, phase: Phase) -> None:
        with self._telling:
            if self._is_over:  # it has been told already that the cluster is gone
                return
            self.interrupted = phase.signalled
            self._note(number, outcome, progress, tell)
            phase.farewell = self._farewell

    def _paint_on(self, address: str, task: Task, progress: BatchProgress, phase: Phase) -> Outcome:
        """Make one picture on a worker; whatever fails but the cluster, the batch goes on.

        Raises
        ------
        WorkerLost
            When the worker is gone.
        ClusterError
            When the scheduler is gone.
        """
        runner = RemoteRunner(
            self._cluster, address, task.wishes.save_every, self._batch.oversize, ending=lambda: phase.signalled
        )
        progress_of = progress.begin(task.named.title)

        def carry_out(job: Job) -> Result:
            return job.carry_out(progress_of, self._farewell, _beside_others(phase))

        def paint(prepared: Prepared) -> Result:
            runner.adopt(prepared.transfer)
            return prepared.paint(carry_out, runner.run)

        return self._outcome(task, paint)

    def _begin_anew(self, task: Task) -> None:
        """Forget the checkpoint and the log of a picture whose worker has died, if little work is lost with them."""
        with suppress(InputError, OSError):
            path = self._batch.prepared(task).checkpoint
            if task.wishes.save_every is not None or not path.exists():
                return
            checkpoint = Checkpoint.read(path)
            if checkpoint.state.seconds <= AFRESH:
                remove(path)
                if (log := task.wishes.log) and checkpoint.log and checkpoint.log.path == str(log.absolute()):
                    remove(log)


def _beside_others(phase: Phase) -> Interruptibly:
    """Return what `run_interruptibly` is for one picture, for many at a time: a signal is for all of them."""

    def run(
        work: Callable[[Check], Result],
        keep: Callable[[Result], None],
        before_leaving: Callable[[], None],
        farewell: str,
    ) -> tuple[Result, bool]:
        result = work(phase.check)
        keep(result)
        return result, phase.signalled

    return run
