"""onnxruntime as a library: imported with its telemetry off, and the constants for its use."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from typing import Any

from impasto import packages
from impasto.runtime.errors import DeviceError, MemoryShortage
from impasto.shortage import advice, is_shortage

#: The execution providers that an onnxruntime may have of its own.
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

#: A failure of CUDA or its libraries in the text of an onnxruntime error, which has many other words.
_CUDA_FAILURE = re.compile(r"\b(?:CUDA|CUDNN|CUDNN_FE|CUBLAS|CUBLASLT) failure \d+: [^;]+")

#: onnxruntime's log level for fatal errors only: all errors are raised, and need not be printed, too.
FATAL = 4

#: If two threads import a package and one fails, the other could get a half-imported package.
_IMPORTING = threading.Lock()

#: All threads share standard output, and two graphs may be opened at once.
_REDIRECTING = threading.Lock()

#: The environment variable that onnxruntime reads when it is imported: with 1 it sends no reports, and writes no
#: identifier into the cache.
_TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry switched off, or say how to install it.

    If the user has set ``ORT_DISABLE_TELEMETRY``, that is left as it is. An onnxruntime that another part of the
    program has imported before sends nothing from now on.

    Raises
    ------
    DeviceError
        When onnxruntime is not installed or cannot be loaded.
    MemoryShortage
        When there is too little memory for it.
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
        problem = "is not installed" if error.name == "onnxruntime" else f"does not load ({error})"
        raise DeviceError(f"onnxruntime {problem}; {packages.EITHER}") from None
    if not hasattr(onnxruntime, "InferenceSession"):  # two wheels share these files, and one was uninstalled
        raise DeviceError(f"onnxruntime is damaged; {packages.NEITHER}, then {packages.EITHER}")
    if imported_before and not decided:
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def preload_libraries(ort: Any) -> None:
    """Let onnxruntime load CUDA and cuDNN from the packages that came with onnxruntime-gpu.

    Also stop it from printing in the whole process: 1.31 prints for every session that CUDA is no plug-in, and prints
    on many lines the errors that it also raises.
    """
    ort.set_default_logger_severity(FATAL)
    if hasattr(ort, "preload_dlls"):
        with (
            _REDIRECTING,
            contextlib.redirect_stdout(sys.stderr),
        ):  # it prints missing libraries; standard output is for results
            ort.preload_dlls()


def one_line(error: Exception) -> str:
    """Return the text of an error; of a long one of CUDA's, the failure without onnxruntime's source lines."""
    text = " ".join(str(error).split())
    match = _CUDA_FAILURE.search(text)
    return match[0].rstrip() if match else text
