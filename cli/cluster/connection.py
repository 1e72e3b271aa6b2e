"""A cluster of Dask: one that is started on this machine, or one that a scheduler's address names.

Commands import it only when they run, because it imports Dask.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import platform
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, wait
from multiprocessing import resource_tracker
from pathlib import Path
from threading import Thread
from typing import Any, ParamSpec, TypeVar, cast

from impasto import packages
from impasto.cli.cluster.models import Manifest, is_here, keep
from impasto.cli.cluster.wanted import Wanted
from impasto.cli.terminal.messages import say, warn
from impasto.runtime.errors import ImpastoError, InputError, TransferError
from impasto.runtime.run.record import Machine

#: Any free port that nobody elsewhere can reach.
_HERE = "127.0.0.1:0"

P = ParamSpec("P")
T = TypeVar("T")

#: How long a scheduler is waited for, in seconds; and workers of this machine; and others, where there are no more.
_CONNECTING, _STARTING, NO_WORKERS = 10.0, 120.0, 60.0

#: The seconds between two questions to a worker.
ASKING = 0.3

#: Loggers that tell what is told here in a line; and those below them.
_TALKATIVE = ("distributed", "tornado", "asyncio")

#: The advice about a worker with other versions.
_INSTALL = "install what this machine has"

#: The schemes of a scheduler's address.
_SCHEMES = ("tcp://", "ws://", *(_ENCRYPTED := ("tls://", "wss://")))

#: What can go wrong while a scheduler is looked for: its address, its name, its certificate, its version.
_REFUSALS = (OSError, ValueError, TypeError, ImportError)

#: How often a worker is asked that does not answer, before it counts as gone.
_TRIES = 3

#: Settings of Dask, where its user has chosen no others. A worker that dies is dealt with here, not by the scheduler;
#: one that hangs is noticed sooner.
_SETTINGS = {
    "scheduler": {"allowed-failures": 0, "worker-ttl": "90s"},
    "worker": {
        "daemon": True,
        "memory": {"target": False, "spill": False, "pause": False, "terminate": False},
    },
    "admin": {"tick": {"limit": "1h"}},  # a warning that a process was busy helps nobody here
}


class WorkerLost(Exception):
    """A worker has died, or does not answer any more."""


class _NotSent(Exception):
    """Nothing could be sent to a worker."""


class ClusterError(TransferError):
    """The cluster has failed: its scheduler, or all of its workers."""


def _import_distributed() -> Any:
    """Import Dask's scheduler and workers, and keep them from writing.

    Raises
    ------
    InputError
        When they are not installed.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise InputError(f"{error.name} is not installed; for clusters, {packages.CLUSTER}") from None
    for name in {*_TALKATIVE, *logging.root.manager.loggerDict}:
        if name.partition(".")[0] in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module="distributed")  # a table of versions, for instance: they are checked here
    dask.config.update_defaults({"distributed": _SETTINGS})
    return distributed


@contextlib.contextmanager
def connected(wanted: Wanted, manifest: Manifest) -> Iterator[Cluster]:
    """Start a cluster, or connect to one, for a `with` block; its workers have impasto of this version and the model.

    Raises
    ------
    InputError
        When there is none, or a worker is not fit for it: the text names the reason.
    ClusterError
        When its workers do not start, or are gone at once.
    """
    distributed = _import_distributed()
    with contextlib.ExitStack() as stack:
        if wanted.workers is not None:
            local = stack.enter_context(_local(distributed, wanted.workers))
            client = stack.enter_context(distributed.Client(local, direct_to_workers=True, set_as_default=False))
        else:
            client = stack.enter_context(_client(distributed, wanted))
        cluster = Cluster(client, manifest, wanted.scheduler or "the local cluster")
        cluster.begin()
        yield cluster


@contextlib.contextmanager
def _local(distributed: Any, workers: int) -> Iterator[Any]:
    """Start workers on this machine, each a process with one thread of Dask's; nobody elsewhere can reach them.

    Raises
    ------
    ClusterError
        When they do not start.
    """
    start = functools.partial(
        distributed.LocalCluster,
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=_HERE,  # Dask has a server for metrics in any case
        worker_dashboard_address=_HERE,
        scheduler_kwargs={"dashboard": False},
        memory_limit=None,
        silence_logs=logging.CRITICAL + 1,
    )
    try:
        with _without_interrupts():
            starting = _in_thread(start)
            if not wait([starting], _STARTING).done:  # Dask may try again and again
                raise OSError(f"not within {_STARTING:.0f} seconds")
        local = starting.result()
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"--workers {workers}: they do not start ({_why(error)}); try fewer") from None
    with local:
        yield local


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let processes and threads that are started in a `with` block not hear Ctrl-C: it is the driver that answers."""
    if sys.platform == "win32":  # there, no process can be kept from hearing it
        yield
    else:
        resource_tracker.ensure_running()  # now: starting it would end what is blocked below
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _client(distributed: Any, wanted: Wanted) -> Any:
    """Connect to a scheduler: by its address, or by the file that it has written.

    Raises
    ------
    InputError
        When it cannot be reached.
    """
    assert wanted.scheduler is not None
    where = wanted.scheduler if wanted.scheduler.startswith(_SCHEMES) else _address_in(wanted.scheduler)
    tls, encrypted = (wanted.tls_ca, wanted.tls_cert, wanted.tls_key), where.startswith(_ENCRYPTED)
    if encrypted and not all(tls):
        raise InputError(f"--scheduler {where}: name --tls-ca, --tls-cert and --tls-key, too")
    if any(tls) and not encrypted:
        raise InputError(f"--scheduler {where}: is not encrypted; leave out the options of TLS, or expected tls://...")
    try:
        security = None
        if encrypted:
            ca, cert, key = map(str, tls)
            security = distributed.Security(
                tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True
            )
        connect = functools.partial(distributed.Client, where, security=security, timeout=_CONNECTING)
        client = _in_thread(functools.partial(connect, direct_to_workers=True, set_as_default=False))
        if not wait([client], 2 * _CONNECTING).done:  # Dask waits for ever for one who listens and says nothing
            raise OSError("what listens there is no scheduler")
        return client.result()
    except _REFUSALS as error:
        raise InputError(f"--scheduler {where}: cannot be reached ({_why(error)}); {_advice(where)}") from None


def _address_in(file: str) -> str:
    """Return the address in a scheduler's file.

    Raises
    ------
    InputError
        When it is not one.
    """
    try:
        address = json.loads(Path(file).read_text("utf-8"))["address"]
        if address.startswith(_SCHEMES):
            return str(address)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        pass
    raise InputError(f"--scheduler {file}: expected tcp://HOST:8786, tls://HOST:8786 or the file of a scheduler")


def _minor(version: str) -> str:
    """Return the first two numbers of a version."""
    return ".".join(version.split(".")[:2])


def _in_thread(work: Callable[[], T]) -> Future[T]:
    """Do some work in a thread that no end of the process waits for."""
    outcome = Future[T]()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    return outcome


def _why(error: BaseException) -> str:
    """Return the reason of a failed connection in a few words: the innermost one, for Dask wraps it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."


def _advice(where: str) -> str:
    if where.startswith(_ENCRYPTED):
        return "check the address, and whether its certificates are signed by the one of --tls-ca"
    return "start one with: dask scheduler"


def _apply(function: Callable[..., T], shipped: tuple[tuple[Any, ...], dict[str, Any]]) -> T:
    """Call a function, on a worker, with arguments that were sent there."""
    arguments, named = shipped
    return function(*arguments, **named)


class Cluster:
    """The workers of a cluster.

    Parameters
    ----------
    client
        Dask's client.
    manifest
        The files of the model that workers use.
    name
        Its name in messages.

    Attributes
    ----------
    trial
        Refuses, by an `InputError`, a worker that comes later and cannot do what is to be done.
    """

    def __init__(self, client: Any, manifest: Manifest, name: str) -> None:
        self._client, self.manifest, self.name = client, manifest, name
        self.trial: Callable[[str], object] | None = None
        self._machines: dict[str, Machine] = {}
        self._pythons: dict[str, str] = {}
        self._refused = set[str]()
        self._warnings = set[str]()

    def begin(self) -> None:
        """Wait for a worker, and check all that there are.

        Raises
        ------
        InputError
            When none comes, or one is not fit.
        """
        waited_until = time.monotonic() + _CONNECTING
        while not (addresses := self.addresses()):
            if time.monotonic() > waited_until:
                raise InputError(f"cluster {self.name}: has no workers; start some with: dask worker {self.name}")
            time.sleep(ASKING)
        for address in addresses:
            with contextlib.suppress(WorkerLost):
                self._admit(address)
        if not self._machines:
            raise self.deserted()

    def addresses(self) -> list[str]:
        """Return the addresses of all workers.

        Raises
        ------
        ClusterError
            When the scheduler is gone.
        """
        try:
            return sorted(self._client.nthreads())
        except Exception as error:
            raise self._gone(error) from None

    def deserted(self) -> ClusterError:
        """Return the error that no worker is left."""
        return ClusterError(f"cluster {self.name}: all workers are gone")

    def _gone(self, error: BaseException) -> ClusterError:
        return ClusterError(f"cluster {self.name}: its scheduler is gone ({_why(error)})")

    def admitted(self) -> list[str]:
        """Return the addresses of the workers that are fit; of new ones that are not, warn.

        Raises
        ------
        ClusterError
            When the scheduler is gone.
        """
        addresses = self.addresses()
        for address in addresses:
            if address not in self._machines and address not in self._refused:
                try:
                    self._admit(address)
                except WorkerLost:
                    continue
                except ClusterError:
                    raise
                except ImpastoError as error:
                    self._refuse(f"{error}; the others go on", address)
        return [address for address in addresses if address in self._machines]

    def _refuse(self, why: str, address: str) -> None:
        """Leave a worker out from now on."""
        self._refused.add(address)
        self._machines.pop(address, None)
        warn(why)

    def machine(self, address: str) -> Machine:
        """Return the machine of a worker."""
        return self._machines[address]

    def warn(self, text: str) -> None:
        """Write a warning of a worker, once, however many pictures and workers give it."""
        if text not in self._warnings:
            self._warnings.add(text)
            warn(text)

    def _admit(self, address: str) -> None:
        """Check a worker, and bring it the model if it has none.

        Raises
        ------
        InputError
            When it is not fit.
        """
        self._check_python(address)
        self._check_versions(address)
        if not self.ask(address, is_here, self.manifest):
            say(f"worker {address}: gets a copy of the model")
            self.ask(address, keep, self.manifest, dict(self.manifest.read()))
        machine = self.ask(address, Machine.here)
        self._check_packages(address, machine)
        if self.trial:
            self.trial(address)
        self._machines[address] = machine

    def _check_python(self, address: str) -> None:
        """Refuse a worker whose Python would not understand the code that is sent there."""
        try:
            if address not in self._pythons:  # the scheduler asks all workers each time
                told = self._client.get_versions()["workers"]
                self._pythons = {worker: versions["packages"]["python"] for worker, versions in told.items()}
            theirs, own = self._pythons.pop(address), platform.python_version()
        except (OSError, KeyError):
            self.addresses()
            raise WorkerLost(address) from None
        if _minor(theirs) != _minor(own):
            raise InputError(f"worker {address}: has python {_minor(theirs)} instead of {_minor(own)}; {_INSTALL}")

    def _check_versions(self, address: str) -> None:
        """Refuse a worker with another impasto or Dask than here: it might not understand what is sent."""

        def versions() -> dict[str, str]:  # travels as code: the worker may have no impasto, or another one
            from importlib import metadata

            found = {}
            for name in ("impasto", "distributed"):
                try:
                    found[name] = metadata.version(name)
                except metadata.PackageNotFoundError:
                    found[name] = ""
            return found

        self._compare(address, self.ask(address, versions), versions())

    def _check_packages(self, address: str, machine: Machine) -> None:
        """Refuse a worker with other packages to compute with: its pictures would be others."""
        theirs, own = ({**of.versions, "python": ""} for of in (machine, Machine.here()))
        self._compare(address, theirs, own)

    def _compare(self, address: str, theirs: Mapping[str, str], own: Mapping[str, str]) -> None:
        differences = [
            f"{name} {theirs.get(name) or 'is missing'} instead of {version}"
            for name, version in own.items()
            if theirs.get(name) != version
        ]
        if differences:
            raise InputError(f"worker {address}: has {', '.join(differences)}; {_INSTALL}")

    def ask(self, address: str, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a function on a worker, beside what it evaluates, and return its result.

        Raises
        ------
        WorkerLost
            When the worker is gone.
        ClusterError
            When the scheduler is gone.
        """
        for _ in range(_TRIES):
            if address not in self.addresses():
                break
            try:
                result: T = self._client.run(function, *arguments, workers=[address], **named)[address]
                return result
            except ImpastoError:
                raise
            except (OSError, KeyError):  # of the connection
                time.sleep(ASKING)  # if the worker has died, the scheduler may learn it a moment later
        raise WorkerLost(address)

    def call(self, address: str, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> Iterator[T | None]:
        """Have a worker call a function that takes long. Yield None while that is under way, and the result at its end.

        Raises
        ------
        WorkerLost
            When the worker is gone.
        ClusterError
            When the scheduler is gone.
        """
        held: list[Any] = []

        def obtain() -> T:
            held.append(self._ship((arguments, named), address))
            held.append(self._client.submit(_apply, function, held[0], workers=[address], pure=False))
            return cast(T, held[1].result())

        outcome = _in_thread(obtain)  # if the worker dies while something travels, Dask would wait for ever
        try:
            while not wait([outcome], ASKING).done:
                if address not in self.addresses():
                    raise WorkerLost(address)
                yield None
            yield self._result(outcome, address)
        finally:
            for one in held:
                one.release()

    def result(self, address: str, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Have a worker call a function that takes long, wait for it, and return its result; raises as `call` does."""
        *_, value = self.call(address, function, *arguments, **named)
        return cast(T, value)

    def _ship(self, value: Any, address: str) -> Any:
        """Send a value straight to a worker, past the scheduler.

        Raises
        ------
        _NotSent
            When that fails.
        """
        try:
            (shipped,) = self._client.scatter([value], workers=[address], direct=True, hash=False)
            return shipped
        except Exception as error:  # Dask has many errors for a connection that fails
            raise _NotSent(_why(error)) from None

    def _result(self, outcome: Future[T], address: str) -> T:
        import distributed

        try:
            return outcome.result()
        except distributed.scheduler.KilledWorker:
            raise WorkerLost(address) from None
        except _NotSent as error:
            if address in self.addresses():  # this machine has no way to it, or Dask has paused it
                self._refuse(f"worker {address}: takes nothing from here ({error}); the others go on", address)
            raise WorkerLost(address) from None
        except (CancelledError, distributed.client.FutureCancelledError) as error:
            if address in self.addresses():
                raise self._gone(error) from None
            raise WorkerLost(address) from None
