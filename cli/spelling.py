"""The names of options on the command line, for messages that name options: see `impasto.wording`."""

from __future__ import annotations

#: Option in Python -> parameter of a command, where the two have different names.
_RENAMED = {
    "style_masks": "style_mask",
    "region_strengths": "region_strength",
    "cuda.memory": "gpu_memory",
    "cuda.tf32": "tf32",
    "cuda.search": "conv_search",
    "cuda.workspace": "conv_workspace",
    "cuda.graph": "cuda_graph",
}


def on_command_line(name: str, value: object = None) -> str:
    """Spell an option as it is typed: ``--style-blend``, ``--size 512``, ``--low-memory``, ``--no-tf32``."""
    typed = parameter_name(name).replace("_", "-")
    if value is None or value is True:
        return f"--{typed}"
    return f"--no-{typed}" if value is False else f"--{typed} {value}"


def parameter_name(name: str) -> str:
    """Return the name that an option in Python has among the parameters of a command."""
    return _RENAMED.get(name, name)
