"""What happens, told to those who watch: each of them gets the newest of everything, however slowly it reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from impasto.cli.serve.runs import Phase

#: The most things that wait for one who watches: then all are dropped, and it is told so.
_MOST = 500

#: The names of events.
RUN, STEP, TILE, PREVIEW, REMOVED, LOST = "run", "step", "tile", "preview", "removed", "lost"

#: The states of a run of which nothing more comes by itself.
_OVER = tuple(str(phase) for phase in Phase if phase.is_over)


class Watcher:
    """One who watches all runs, or one of them.

    An event waits until it is taken. If there is a newer one of the same kind and run by then, it takes its place.
    """

    def __init__(self, run: str | None = None, *, until_over: bool = False) -> None:
        """Watch a run, or all; that one perhaps only until it is over."""
        self.run, self._until_over = run, until_over
        self._waiting: dict[tuple[str, str], bytes] = {}
        self._something = asyncio.Event()
        self.is_over = False

    def end(self) -> None:
        """Tell nothing more."""
        self.is_over = True
        self._something.set()

    def put(self, kind: str, run: str, data: dict[str, Any], encoded: bytes = b"") -> None:
        """Have an event wait; `encoded` is the same as it is sent, if that is known."""
        if len(self._waiting) >= _MOST:
            self._waiting = {(LOST, ""): encode(LOST, {})}
        self._waiting.pop((kind, run), None)  # events come in the order of what is newest in them
        self._waiting[kind, run] = encoded or encode(kind, data)
        self._something.set()
        if self._until_over and (kind == REMOVED or (kind == RUN and data["state"] in _OVER)):
            self.is_over = True

    async def take(self, seconds: float) -> list[bytes]:
        """Return what has happened, once something has; nothing after so many seconds."""
        try:
            await asyncio.wait_for(self._something.wait(), seconds)
        except TimeoutError:
            return []
        taken, self._waiting = [*self._waiting.values()], {}
        self._something.clear()
        return taken


class Hub:
    """Tells events to all who watch, until it is closed."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    def tell(self, kind: str, run: str, data: dict[str, Any]) -> None:
        """Tell an event of a run."""
        interested = [one for one in self._watchers if one.run in (None, run)]
        if interested:
            encoded = encode(kind, data)
            for watcher in interested:
                watcher.put(kind, run, data, encoded)

    def close(self) -> None:
        """End all streams."""
        for watcher in self._watchers:
            watcher.end()

    async def watch(self, watcher: Watcher, heartbeat: float) -> AsyncIterator[bytes]:
        """Yield events as a stream, and a comment where nothing has happened for so many seconds."""
        self._watchers.add(watcher)
        try:
            yield b"retry: 1000\n\n"
            is_over = False
            while not is_over:
                taken = await watcher.take(heartbeat)
                is_over = watcher.is_over  # and what has just been taken is the last
                yield b"".join(taken) or b":\n\n"
        finally:
            self._watchers.discard(watcher)


def encode(kind: str, data: dict[str, Any]) -> bytes:
    """Return a server-sent event: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
