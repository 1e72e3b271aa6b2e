r"""The standard streams of a process of the command line: nobody who does not read them can stop its run.

- Descriptors 0, 1 and 2 are open, so that no file that is opened later gets the number of one that was closed: what
  libraries print would land in it.
- Standard error never fails and never waits: a thread writes what is said. After the first failure, such as a pipe
  whose reader is gone, all is silent.
- Standard output is for results. It has a descriptor of its own, and what libraries print on descriptor 1 goes to
  standard error. A reader that is gone is no failure, for it has read what it wanted; a full disk is one.
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

#: More pieces of text than these wait for no reader: the rest is left out.
_WAITING = 1000

#: Seconds that a result waits for what has been said before it, so that both are in order where they go one way.
_ORDER = 0.5

#: Seconds that the process waits at its end for a reader of what has been said.
_END = 2.0

#: How Windows says that a reader is gone, and how all others do.
_GONE = (errno.EPIPE, errno.EINVAL) if sys.platform == "win32" else (errno.EPIPE,)

#: The names of `_escape` and `_keep_bytes` among the handlers of encoding errors.
_ESCAPED, _EXACT = "impasto.escaped", "impasto.exact"


def prepare() -> None:
    """Put the streams in order; before anything else opens a file."""
    _open_missing()
    register_escapes()
    if sys.stderr is None or _descriptor(sys.stderr) is not None:  # a test's streams may be of another kind
        sys.stderr = _speech(sys.stderr)
        atexit.register(settle, _END)
    if sys.stdout is not None and _descriptor(sys.stdout) is not None:
        sys.stdout = _results(sys.stdout)
        setattr(sys, "__stdout__", sys.stdout)  # noqa: B010, a constant to type checkers; for who names /dev/stdout


def settle(seconds: float) -> None:
    """Wait until all that was said is written, but no longer than that."""
    raw = getattr(sys.stderr, "buffer", None)
    if isinstance(raw, _Speech):
        raw.settle(seconds)


def take_floor() -> None:
    """From now on let nobody but this thread say anything."""
    raw = getattr(sys.stderr, "buffer", None)
    if isinstance(raw, _Speech):
        raw.speaker = threading.get_ident()


def hush(seconds: float) -> None:
    """Wait like `settle`; from then on nothing is said, nor heard of libraries."""
    settle(seconds)
    raw = getattr(sys.stderr, "buffer", None)
    if isinstance(raw, _Speech):
        raw.end()
        _silence(raw.fileno())


def _open_missing() -> None:
    """Open the null device on each of the three descriptors that is closed. `sys` still says that it was."""
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:  # it is the lowest that is free, and so the one to be got
            os.set_inheritable(os.open(os.devnull, mode), True)


def _silence(descriptor: int) -> None:
    """Let what is written there go nowhere."""
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
    """Whether a stream is a window of Windows, to which text goes by other ways than a descriptor."""
    return sys.platform == "win32" and stream.isatty()


def _raw(stream: TextIO) -> io.RawIOBase:
    """Return what is below a standard stream, without its buffers."""
    if _is_console(stream):
        buffer: Any = stream.buffer
        raw: io.RawIOBase = getattr(buffer, "raw", buffer)  # with ``python -u`` there is no buffer
        return raw
    return WaitingFile(stream.fileno(), "w", closefd=False)


# --- standard error -------------------------------------------------------------------------------------------


def _speech(stream: TextIO | None) -> TextIO:
    """Return a stream in the place of standard error."""
    raw = _Speech(None if stream is None else _raw(stream))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return io.TextIOWrapper(raw, encoding, _ESCAPED, write_through=True)  # type: ignore[type-var]


class _Speech(io.RawIOBase):
    """Takes bytes at once; a thread of its own writes them, as long as that works.

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
        heard = self.speaker in (None, threading.get_ident())
        if heard and self._raw is not None and self._pieces.qsize() < _WAITING:
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
        """Wait until everything so far is written."""
        if self._raw is not None:
            reached = threading.Event()
            self._pieces.put(reached)
            reached.wait(seconds)

    def end(self) -> None:
        """Write no more."""
        self._raw = None


# --- standard output ------------------------------------------------------------------------------------------


def _results(stream: TextIO) -> TextIO:
    """Return a stream in the place of standard output."""
    terminal = stream.isatty()
    if terminal:  # what libraries print may stand there, too
        raw = _raw(stream)
    else:
        raw = WaitingFile(os.dup(stream.fileno()), "w")
        os.dup2(2, stream.fileno())
    buffer = io.BufferedWriter(raw)
    return _Results(buffer, stream.encoding, _ESCAPED if terminal else _EXACT, line_buffering=terminal)


class _Results(io.TextIOWrapper):
    """Text that a program may read; pictures go to its `buffer`, where every failure is one.

    Raises
    ------
    SaveError
        When it cannot be written, for another reason than that nobody reads it any longer.
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
            _silence(self.fileno())  # else Python tries, and complains, once more when it ends
            if error.errno in _GONE:
                return
            from impasto.runtime.errors import SaveError

            reason = error.strerror or error
            raise SaveError(
                f"standard output: could not be written ({reason}); every file that was to be written is there"
            ) from None


# --- characters -----------------------------------------------------------------------------------------------


def register_escapes() -> None:
    """Make the two handlers of encoding errors known."""
    codecs.register_error(_ESCAPED, _escape)
    codecs.register_error(_EXACT, _keep_bytes)


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Write what an encoding lacks as an escape; of a file name that is no text, bytes: ``caf\xe9.png``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    byte = _byte(character)
    shown = character.encode("ascii", "backslashreplace").decode() if byte is None else f"\\x{byte:02x}"
    return shown, error.start + 1


def _keep_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write file names as they are, byte by byte, for programs that read them; what else is lacking as an escape."""
    byte = _byte(error.object[error.start]) if isinstance(error, UnicodeEncodeError) else None
    if byte is None or not isinstance(error, UnicodeEncodeError):
        return _escape(error)
    return bytes([byte]), error.start + 1


def _byte(character: str) -> int | None:
    """Return the byte that a surrogate stands for in a file name (PEP 383), if the character is one."""
    return ord(character) - 0xDC00 if "\udc80" <= character <= "\udcff" else None
