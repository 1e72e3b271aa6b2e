"""onnxruntime as a library: imported with its telemetry off, and what all that use it share."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Any

from impasto import packages
from impasto.runtime.errors import DeviceError, MemoryShortage
from impasto.shortage import advice, is_shortage

#: The execution providers that are used.
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

#: onnxruntime's log level for nothing but what is fatal: errors are raised, and need not be printed, too.
FATAL = 4

#: Of two threads that import a package, one could be given what the other's failure has left of it.
_IMPORTING = threading.Lock()

#: Standard output is one for all threads, and two graphs may be opened at once.
_REDIRECTING = threading.Lock()

#: What onnxruntime looks at when it is imported: with 1 it reports to nobody, and writes no identifier into the cache.
_TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry switched off, or say how to install it.

    Whoever has set ``ORT_DISABLE_TELEMETRY`` has decided, and nothing is switched. An onnxruntime that another part of
    the program has imported before sends nothing from now on.

    Raises
    ------
    DeviceError
        When onnxruntime is not installed or cannot be loaded.
    MemoryShortage
        When there is no room for it.
    """
    decided, imported_before = _TELEMETRY_SWITCH in os.environ, "onnxruntime" in sys.modules
    os.environ.setdefault(_TELEMETRY_SWITCH, "1")
    try:
        with _IMPORTING:
            import onnxruntime
    except (ImportError, MemoryError) as error:
        if is_shortage(error):
            raise MemoryShortage(f"onnxruntime does not load for want of memory; {advice()}") from error
        assert isinstance(error, ImportError)
        what = "is not installed" if error.name == "onnxruntime" else f"does not load ({error})"
        raise DeviceError(f"onnxruntime {what}; {packages.EITHER}") from None
    if not hasattr(onnxruntime, "InferenceSession"):  # what an uninstalled twin of the two wheels leaves behind
        raise DeviceError(f"onnxruntime is damaged; {packages.NEITHER}, then {packages.EITHER}")
    if imported_before and not decided:
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def preload_libraries(ort: Any) -> None:
    """Have onnxruntime find CUDA and cuDNN in the packages that came with onnxruntime-gpu.

    And have it print nothing of its own in the whole process: 1.31 says for every session that CUDA is no plug-in, and
    of what fails it says on many lines what is raised as well.
    """
    ort.set_default_logger_severity(FATAL)
    if hasattr(ort, "preload_dlls"):
        with _REDIRECTING, contextlib.redirect_stdout(sys.stderr):  # it prints what it misses; our own is for results
            ort.preload_dlls()
