"""Connections that are bounded: in number, in the time until they ask for something, and until they take the answer.

uvicorn waits for ever for the head of a request, and for a reader of an answer. So programs that open many connections,
and never finish a request, would keep the page from everybody else.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from impasto.cli.serve import limits


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, over a connection that is closed when its time is over."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._unwanted = 0
        self._idle_since = self.loop.time()

    @property
    def _is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin a connection; if there are too many, the one that has waited for a request for longest is closed."""
        super().connection_made(transport)
        if len(self.connections) > limits.CONNECTIONS:
            idle = [one for one in self.connections if isinstance(one, BoundedProtocol) and not one._is_busy]
            min(idle, key=lambda one: one._idle_since, default=self)._abort()
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take what has come; a request whose head is there has no hurry any more."""
        if not self._is_busy and self._head is None:
            self._await_head()
        if self._rest is not None:
            self._unwanted += len(data)
            if self._unwanted > limits.UNWANTED:
                self._abort()
                return
        super().data_received(data)
        if self._rest is not None and self.conn.their_state is not h11.SEND_BODY:
            _cancel(self._rest)
            self._rest, self._unwanted = None, 0
        if self._is_busy:
            _cancel(self._head)
            self._head = None

    def on_response_complete(self) -> None:
        """Wait for the next request; first for the rest of this one, if it was answered before it was there.

        A client that is refused reads the answer only when it has sent all, so a little is taken, and thrown away.
        """
        if self.conn.their_state is h11.SEND_BODY:
            self._rest = self.loop.call_later(limits.HEAD, self._abort)
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give a reader who takes nothing a limited time."""
        super().pause_writing()
        _cancel(self._reader)
        self._reader = self.loop.call_later(limits.SENDING, self._abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        _cancel(self._reader)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        _cancel(self._head, self._reader, self._rest)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head = self.loop.call_later(limits.HEAD, self._abort)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def _cancel(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()
