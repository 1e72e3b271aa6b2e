"""Load: many who watch one run, and many runs; they take minutes, and a machine with nothing else to do."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time

import psutil
import pytest
from serving import LONG, QUICK, Server, Starter

pytestmark = pytest.mark.slow

#: Seconds of a measurement, and how many there are of each kind.
_SPAN, _PAIRS = 20.0, 5


def speed(server: Server, key: str) -> float:
    """Return the evaluations of a run in a second, from its own clock."""
    first = server.run(key)["step"]
    time.sleep(_SPAN)
    last = server.run(key)["step"]
    return float((last["evaluation"] - first["evaluation"]) / (last["seconds"] - first["seconds"]))


def watch(server: Server, heard: list[int], over: threading.Event) -> None:
    """Watch all runs as a page does, which reads every event, until it is over or the server ends."""
    with contextlib.suppress(OSError), server.events() as events:
        for _ in events:
            heard[0] += 1
            if over.is_set():
                return


def test_fifty_who_watch_cost_a_run_less_than_three_percent(start_server: Starter) -> None:
    server = start_server()
    key = server.submit({**LONG, "size": "256"})
    server.wait(key, "running", step=20)
    ratios, heard = [], [0]
    for _ in range(_PAIRS):
        alone = speed(server, key)
        over = threading.Event()
        watchers = [threading.Thread(target=watch, args=(server, heard, over), daemon=True) for _ in range(50)]
        for watcher in watchers:
            watcher.start()
        time.sleep(1)
        ratios.append(speed(server, key) / alone)
        over.set()
        for watcher in watchers:
            watcher.join(30)
    assert heard[0] > 50 * _PAIRS * 10, "nobody was told anything"
    print(f"ratios of speeds: {', '.join(f'{ratio:.3f}' for ratio in ratios)}; {heard[0]} events")
    assert statistics.median(ratios) > 0.97, ratios


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
