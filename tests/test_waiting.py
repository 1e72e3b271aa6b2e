"""Descriptors that are not ready are waited for."""

from __future__ import annotations

import os
import threading

import pytest

from impasto.waiting import WaitingFile

DATA = bytes(range(256)) * 1000


@pytest.mark.skipif(os.name != "posix", reason="pipes that do not block are POSIX's")
def test_a_pipe_that_is_full_for_the_moment_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def work() -> None:
        with WaitingFile(writer, "w") as file:
            assert file.write(DATA) == len(DATA)

    writing = threading.Thread(target=work)
    writing.start()
    with os.fdopen(reader, "rb") as read:
        assert read.read() == DATA
    writing.join()
