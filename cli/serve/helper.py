"""A process beside the server that looks at pictures and estimates: what takes memory and time, and what may crash.

The server asks, one question at a time, by a line of JSON on the process's standard input; the answer is a line on its
standard output. `impasto.cli.serve.chores` is the other side. A process that has crashed, or takes too long, costs its
question; the next one starts another. One that has nothing to do for a while is ended, and gives its memory back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from typing import Any

from impasto.cli.serve.errors import HelperError, TooLarge
from impasto.runtime.errors import InputError, PictureError

#: Seconds for an answer, and seconds without a question after which the process is ended.
_PATIENCE, _IDLE = 300.0, 300.0

#: The errors that the process tells as what they are.
_KINDS: dict[str, type[Exception]] = {kind.__name__: kind for kind in (InputError, PictureError, TooLarge)}


class Helper:
    """Asks the process, and starts it when it is needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def ask(self, chore: str, /, **arguments: Any) -> Any:
        """Return the answer of a function of `impasto.cli.serve.chores`.

        Raises
        ------
        InputError
            When the function does: with its text.
        HelperError
            When there is no answer.
        """
        question = json.dumps({"chore": chore, **arguments}).encode() + b"\n"
        async with self._turn:
            if self._idle:
                self._idle.cancel()
            try:
                answer = await asyncio.to_thread(self._exchange, question)
            finally:
                self._idle = asyncio.get_running_loop().call_later(_IDLE, self.end)
        if "error" in answer:
            raise _KINDS.get(answer["kind"], HelperError)(answer["error"])
        return answer["answer"]

    def _exchange(self, question: bytes) -> dict[str, Any]:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "impasto.cli.serve.chores"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert process.stdin is not None and process.stdout is not None
        late = threading.Timer(_PATIENCE, process.kill)
        late.start()
        try:
            process.stdin.write(question)
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        finally:
            late.cancel()
        if not line.endswith(b"\n"):
            process.kill()
            process.wait()
            self._process = None
            raise HelperError(
                f"the process that looks at pictures has ended (exit code {process.returncode}), perhaps for want of "
                "memory; try a smaller picture"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process = None
