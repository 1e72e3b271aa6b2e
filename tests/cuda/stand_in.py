"""Build a stand-in for CUDA's libraries, so that onnxruntime's CUDA provider itself runs where there is no GPU.

    python stand_in.py FOLDER

The provider then opens graphs, assigns nodes, plans memory, copies, launches and records as it does on a GPU; the
kernels alone are missing. `device.c` has what behaves; every other function that the provider asks for is made here and
does nothing. Linux only; needs gcc and binutils.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from impasto.runtime.machine.nvidia import CUDA_PARTS, CUDNN_LIBRARIES, DRIVER

SOURCE = Path(__file__).with_name("device.c")

#: A function of one of the libraries, and which, where that is said: ``cudaMalloc@libcudart.so.13``.
_WANTED = re.compile(r"\b((?:__)?(?:cuda|cublas|curand|cu[A-Z])\w*)(?:@(lib\w+\.so\.\d+))?$", re.MULTILINE)

#: cuDNN is opened at run time: its functions are known by their names in the provider's text.
_CUDNN_NAME = re.compile(rb"\0(cudnn[A-Z]\w+)(?=\0)")


def build(folder: Path) -> None:
    """Write the libraries into a folder: one file, under all the names that the provider asks for."""
    provider = provider_library()
    needed = re.findall(r"\(NEEDED\).*\[(lib(?:cu\w+)\.so\.\d+)\]", _run("readelf", "-d", str(provider)))
    wanted = dict(_WANTED.findall(_run("nm", "-D", "--undefined-only", str(provider))))
    wanted |= {name.decode(): "" for name in _CUDNN_NAME.findall(provider.read_bytes())}
    here = set(re.findall(r"^\w[\w *]*?(\w+)\(", SOURCE.read_text("utf-8"), re.MULTILINE))
    major = next(name.rpartition(".")[2] for name in needed if name.startswith("libcudart"))
    folder.mkdir(parents=True, exist_ok=True)
    code = [f"#define VERSION {major}000", f'#include "{SOURCE}"']
    code += [_does_nothing(name) for name in sorted(wanted.keys() - here)]
    (folder / "libraries.c").write_text("\n".join(code) + "\n", "utf-8")
    (folder / "versions.map").write_text(_versions(wanted), "utf-8")
    first = folder / "stand_in.so"
    script = f"-Wl,--version-script={folder / 'versions.map'}"
    _run("gcc", "-w", "-O1", "-shared", "-fPIC", script, "-o", str(first), str(folder / "libraries.c"))
    for name in {*needed, DRIVER[0], CUDNN_LIBRARIES[0]}:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(first.name)


def provider_library() -> Path:
    """Return where onnxruntime's part for CUDA is."""
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise SystemExit("onnxruntime is not installed; pip install onnxruntime-gpu")
    path = Path(spec.origin).parent / "capi" / CUDA_PARTS[0]
    if not path.exists():
        raise SystemExit(f"{path} is missing; pip uninstall onnxruntime, then pip install onnxruntime-gpu")
    return path


def _does_nothing(name: str) -> str:
    if re.search(r"(String|Name)$", name):
        return f'const char *{name}(void) {{ return "a stand-in"; }}'
    if "Create" in name:
        return f"int {name}(void **made) {{ return *made = handle, SUCCESS; }}"
    return f"int {name}(void) {{ return SUCCESS; }}"


def _versions(wanted: dict[str, str]) -> str:
    """Return a version script: the loader looks for each function under the version that it was linked with."""
    libraries = sorted({library for library in wanted.values() if library})
    parts = []
    for library in libraries:
        names = "; ".join(sorted(name for name, where in wanted.items() if where == library))
        parts.append(f"{library} {{ global: {names}; }};")
    return "\n".join(parts) + "\n"


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    build(Path(sys.argv[1]).absolute())
