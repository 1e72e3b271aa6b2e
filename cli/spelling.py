"""How options are called on the command line: the spelling of `impasto.wording` for it."""

from __future__ import annotations

#: Options of Python's that the command line calls otherwise than by their own names.
_OTHERWISE = {
    "style_masks": "style_mask",
    "cuda.memory": "gpu_memory",
    "cuda.tf32": "tf32",
    "cuda.search": "conv_search",
    "cuda.workspace": "conv_workspace",
    "cuda.graph": "cuda_graph",
}


def on_command_line(name: str, value: object = None) -> str:
    """Spell an option as it is typed: ``--style-blend``, ``--size 512``, ``--low-memory``, ``--no-tf32``."""
    typed = parameter(name).replace("_", "-")
    if value is None or value is True:
        return f"--{typed}"
    return f"--no-{typed}" if value is False else f"--{typed} {value}"


def parameter(name: str) -> str:
    """Return what the functions of the command line call an option of Python's."""
    return _OTHERWISE.get(name, name)
