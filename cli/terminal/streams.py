r"""The standard streams of the command line: a program that is to read them, and does not, cannot stop a run.

- Descriptors 0, 1 and 2 are open. Otherwise a file that is opened later could get one of these numbers, and libraries
  would print into it.
- Standard error never fails and never waits: a thread writes the messages. After the first failure, such as a pipe
  whose reader is gone, it writes nothing more.
- Standard output is for results. It has a descriptor of its own. Libraries print on descriptor 1, which leads to
  standard error. A reader that is gone is no failure, because it has read what it wanted; a full disk is one.
- A character that an encoding lacks is written as an escape, such as ``\xe9``.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import errno
import io
import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from impasto.waiting import WaitingFile

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: The most pieces of text that wait for a reader; any more are left out.
_WAITING = 1000

#: Seconds that a result waits for the messages before it, so that both are in order if they go to one place.
_ORDER = 0.5

#: Seconds that the process waits at its end for a reader of its messages.
_END = 2.0

#: The errors for a reader that is gone, on Windows and on other systems.
_GONE = (errno.EPIPE, errno.EINVAL) if sys.platform == "win32" else (errno.EPIPE,)

#: The names of `_escape` and `_keep_bytes` among the handlers of encoding errors.
_ESCAPED, _EXACT = "impasto.escaped", "impasto.exact"


def prepare() -> None:
    """Set up the streams; to be called before anything else opens a file."""
    _open_missing()
    register_escapes()
    if sys.stderr is None or _descriptor(sys.stderr) is not None:  # a test's streams may be of another kind
        sys.stderr = _speech(sys.stderr)
        atexit.register(settle, _END)
    if sys.stdout is not None and _descriptor(sys.stdout) is not None:
        sys.stdout = _results(sys.stdout)
        setattr(sys, "__stdout__", sys.stdout)  # noqa: B010, a constant to type checkers; for outputs named /dev/stdout


def settle(seconds: float) -> None:
    """Wait until all messages are written, but no longer than so many seconds."""
    raw = getattr(sys.stderr, "buffer", None)
    if isinstance(raw, _Speech):
        raw.settle(seconds)


def mute_other_threads() -> None:
    """From now on write messages of this thread only."""
    raw = getattr(sys.stderr, "buffer", None)
    if isinstance(raw, _Speech):
        raw.speaker = threading.get_ident()


def end_messages(seconds: float) -> None:
    """Wait like `settle`; after that, write no more messages, and discard what libraries print."""
    settle(seconds)
    raw = getattr(sys.stderr, "buffer", None)
    if isinstance(raw, _Speech):
        raw.end()
        _discard(raw.fileno())


def _open_missing() -> None:
    """Open the null device on each of the three descriptors that is closed. `sys` still shows it as closed."""
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:  # it is the lowest free one, which `open` returns
            os.set_inheritable(os.open(os.devnull, mode), True)


def _discard(descriptor: int) -> None:
    """Discard everything that is written to a descriptor."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def _descriptor(stream: TextIO) -> int | None:
    """Return a stream's descriptor, if it has one."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _is_console(stream: TextIO) -> bool:
    """Whether a stream is a console of Windows, which takes text in another way than a descriptor."""
    return sys.platform == "win32" and stream.isatty()


def _raw(stream: TextIO) -> io.RawIOBase:
    """Return the stream of bytes below a standard stream, without a buffer."""
    if _is_console(stream):
        buffer: Any = stream.buffer
        raw: io.RawIOBase = getattr(buffer, "raw", buffer)  # with ``python -u`` there is no buffer
        return raw
    return WaitingFile(stream.fileno(), "w", closefd=False)


# --- standard error -------------------------------------------------------------------------------------------


def _speech(stream: TextIO | None) -> TextIO:
    """Return the stream that replaces standard error."""
    raw = _Speech(None if stream is None else _raw(stream))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return io.TextIOWrapper(raw, encoding, _ESCAPED, write_through=True)  # type: ignore[type-var]


class _Speech(io.RawIOBase):
    """Takes bytes at once; a thread of its own writes them, until that fails.

    Attributes
    ----------
    speaker
        The only thread whose bytes are taken; None for all.
    """

    def __init__(self, raw: io.RawIOBase | None) -> None:
        super().__init__()
        self._raw = raw
        self.speaker: int | None = None
        self._descriptor, self._terminal = (2, False) if raw is None else (raw.fileno(), raw.isatty())
        self._pieces: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        if raw is not None:
            threading.Thread(target=self._write_all, daemon=True).start()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: ReadableBuffer, /) -> int:
        piece = bytes(data)
        accepted = self.speaker in (None, threading.get_ident())
        if accepted and self._raw is not None and self._pieces.qsize() < _WAITING:
            self._pieces.put(piece)
        return len(piece)

    def _write_all(self) -> None:
        while True:
            piece = self._pieces.get()
            if isinstance(piece, threading.Event):
                piece.set()
                continue
            try:
                while piece and (raw := self._raw) is not None:
                    piece = piece[raw.write(piece) :]
            except (OSError, ValueError):
                self.end()

    def settle(self, seconds: float) -> None:
        """Wait until everything is written that was taken so far."""
        if self._raw is not None:
            reached = threading.Event()
            self._pieces.put(reached)
            reached.wait(seconds)

    def end(self) -> None:
        """Write no more."""
        self._raw = None


# --- standard output ------------------------------------------------------------------------------------------


def _results(stream: TextIO) -> TextIO:
    """Return the stream that replaces standard output."""
    terminal = stream.isatty()
    if terminal:  # libraries may print there, too
        raw = _raw(stream)
    else:
        raw = WaitingFile(os.dup(stream.fileno()), "w")
        os.dup2(2, stream.fileno())
    buffer = io.BufferedWriter(raw)
    return _Results(buffer, stream.encoding, _ESCAPED if terminal else _EXACT, line_buffering=terminal)


class _Results(io.TextIOWrapper):
    """Text for another program. A reader that is gone is an error only in its `buffer`, which takes pictures.

    Raises
    ------
    SaveError
        When it cannot be written, unless its reader is gone.
    """

    def write(self, text: str, /) -> int:
        settle(_ORDER)
        with self._explained():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._explained():
            super().flush()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _discard(self.fileno())  # else Python tries once more when it ends, and complains
            if error.errno in _GONE:
                return
            from impasto.runtime.errors import SaveError

            reason = error.strerror or error
            raise SaveError(
                f"standard output: could not be written ({reason}); every file that was to be written is there"
            ) from None


# --- characters -----------------------------------------------------------------------------------------------


def register_escapes() -> None:
    """Register the two handlers of encoding errors."""
    codecs.register_error(_ESCAPED, _escape)
    codecs.register_error(_EXACT, _keep_bytes)


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Escape a character that an encoding lacks, or a byte of a file name that is no text: ``caf\xe9.png``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    byte = _byte(character)
    escape = character.encode("ascii", "backslashreplace").decode() if byte is None else f"\\x{byte:02x}"
    return escape, error.start + 1


def _keep_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Keep the bytes of file names, for programs that read them; escape other characters that an encoding lacks."""
    byte = _byte(error.object[error.start]) if isinstance(error, UnicodeEncodeError) else None
    if byte is None or not isinstance(error, UnicodeEncodeError):
        return _escape(error)
    return bytes([byte]), error.start + 1


def _byte(character: str) -> int | None:
    """Return the byte that a surrogate stands for in a file name (PEP 383), if the character is one."""
    return ord(character) - 0xDC00 if "\udc80" <= character <= "\udcff" else None
