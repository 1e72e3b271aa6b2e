"""Notes every file that Python opens, in a process that tests start with this folder in PYTHONPATH."""

from __future__ import annotations

import os
import sys

_log = os.open(os.environ["AUDITED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        path, flags = os.fsdecode(arguments[0]), arguments[2]
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        os.write(_log, f"{'w' if writes else 'r'} {path!r}\n".encode("utf-8", "backslashreplace"))


sys.addaudithook(_note)
