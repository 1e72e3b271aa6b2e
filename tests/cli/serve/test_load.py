"""Load: many who watch one run, and many runs; they take minutes."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time

import psutil
import pytest
from serving import LONG, QUICK, Server, Starter

pytestmark = pytest.mark.slow

#: Seconds of a measurement.
_SPAN = 20.0


def busy(process: psutil.Process) -> float:
    """Return the seconds of processor time that a process takes in a second."""
    before = process.cpu_times()
    time.sleep(_SPAN)
    after = process.cpu_times()
    return float(after.user + after.system - before.user - before.system) / _SPAN


def watch(server: Server, heard: list[int], over: threading.Event) -> None:
    """Watch all runs as a page does, which reads every event, until it is over or the server ends."""
    with contextlib.suppress(OSError), server.events() as events:
        for _ in events:
            heard[0] += 1
            if over.is_set():
                return


def test_fifty_who_watch_cost_a_run_less_than_three_percent(start_server: Starter) -> None:
    """At worst, the run loses the processor time that the server takes for them, which a busy machine tells as well."""
    server = start_server()
    key = server.submit({**LONG, "size": "128"})
    server.wait(key, "running", step=20)
    process = psutil.Process(server.process.pid)
    alone, heard, over = busy(process), [0], threading.Event()
    watchers = [threading.Thread(target=watch, args=(server, heard, over), daemon=True) for _ in range(50)]
    for watcher in watchers:
        watcher.start()
    time.sleep(1)
    watched = busy(process)
    over.set()
    for watcher in watchers:
        watcher.join(30)
    assert heard[0] > 50 * 2 * _SPAN, "nobody was told anything"
    processors = psutil.cpu_count() or 1
    print(f"of {processors} processors, {alone:.4f} alone, {watched:.4f} with those who watch; {heard[0]} events")
    assert (watched - alone) / processors < 0.03


def test_memory_stays_flat_over_a_hundred_runs(start_server: Starter) -> None:
    server = start_server()
    process = psutil.Process(server.process.pid)

    def memory() -> int:
        """Return the sizes of the server and of the process beside it; between runs there is no other."""
        family = [process, *process.children()]
        return sum(one.memory_info().rss for one in family if "stylize" not in one.cmdline())

    sizes, over = list[int](), threading.Event()
    watcher = threading.Thread(target=watch, args=(server, [0], over), daemon=True)
    watcher.start()
    for number in range(100):
        if number == 99:
            over.set()  # with the last run's events
        key = server.submit({**QUICK, "seed": number})
        server.wait(key, "done")
        server.get(f"/api/runs/{key}/thumbnail")
        sizes.append(memory())
    watcher.join(30)
    print(f"MB after 10, 50 and 100 runs: {', '.join(f'{sizes[n - 1] / 1e6:.1f}' for n in (10, 50, 100))}")
    assert statistics.median(sizes[-10:]) - statistics.median(sizes[5:15]) < 10_000_000, sizes
