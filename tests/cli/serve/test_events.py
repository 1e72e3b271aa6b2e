"""Events for those who watch: the newest of everything, and never more than so much."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from impasto.cli.serve import events
from impasto.cli.serve.events import Hub, Watcher, encode


def taken(watcher: Watcher, seconds: float = 1.0) -> list[tuple[str, Any]]:
    """Return the names and the data of the events that wait."""
    found = []
    for event in asyncio.run(watcher.take(seconds)):
        name, data = event.decode().strip().split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_a_slow_reader_gets_the_newest_of_each_kind_and_run() -> None:
    watcher = Watcher()
    for number in range(1000):
        watcher.put("step", "a", {"number": number})
        watcher.put("step", "b", {"number": -number})
        watcher.put("preview", "a", {"version": number})
    assert taken(watcher) == [("step", {"number": 999}), ("step", {"number": -999}), ("preview", {"version": 999})]
    assert taken(watcher, 0.01) == []


def test_the_end_of_a_run_comes_after_its_last_evaluation() -> None:
    watcher = Watcher("a", until_over=True)
    for kind, data in (("run", {"state": "running"}), ("step", {"number": 1}), ("run", {"state": "done"})):
        watcher.put(kind, "a", data)
    assert taken(watcher) == [("step", {"number": 1}), ("run", {"state": "done"})] and watcher.is_over


def test_a_reader_that_is_too_slow_is_told_that_something_is_lost() -> None:
    watcher = Watcher()
    for number in range(events._MOST + 1):
        watcher.put("run", str(number), {"id": str(number)})
    assert taken(watcher) == [("lost", {}), ("run", {"id": str(events._MOST)})]


def test_one_who_watches_a_run_hears_of_no_other_and_until_its_end() -> None:
    async def heard() -> list[bytes]:
        hub, watcher = Hub(), Watcher("a", until_over=True)
        stream = hub.watch(watcher, 5.0)
        found = [await anext(stream)]
        hub.tell("run", "a", {"state": "running"})
        hub.tell("run", "b", {"state": "done"})
        found.append(await anext(stream))
        hub.tell("run", "a", {"state": "done"})
        return [*found, *[event async for event in stream]]

    expected = [b"retry: 1000\n\n", encode("run", {"state": "running"}), encode("run", {"state": "done"})]
    assert asyncio.run(heard()) == expected


def test_where_nothing_happens_there_is_a_sign_of_life_until_the_hub_closes() -> None:
    async def heard() -> list[bytes]:
        hub = Hub()
        stream = hub.watch(Watcher(), 0.01)
        found = [await anext(stream), await anext(stream)]
        hub.close()
        return [*found, *[event async for event in stream]]

    assert asyncio.run(heard()) == [b"retry: 1000\n\n", b":\n\n", b":\n\n"]


def test_text_of_a_stranger_cannot_begin_an_event() -> None:
    assert encode("run", {"error": "a\n\nevent: x\r\ndata: y"}).count(b"\n") == 3
