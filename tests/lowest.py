"""Print the lowest versions that pyproject.toml allows, as constraints for pip: ``python tests/lowest.py``.

Only under the lowest Python are they all to be had.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

#: A requirement with a lower bound, and nothing else.
_BOUNDED = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<lowest>[\d.]+)")

#: One without: of this project itself, or of something that is not held to a version.
_FREE = re.compile(r"[\w.-]+(\[[\w,-]+\])?")


def pins(project: Mapping[str, Any]) -> list[str]:
    """Return ``name==version`` of every requirement that has a lower bound, extras included.

    Raises
    ------
    ValueError
        When a requirement has any other form: its lowest version would not be tested.
    """
    requirements = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        requirements += extra
    found = []
    for requirement in requirements:
        if bounded := _BOUNDED.fullmatch(requirement):
            found.append(f"{bounded['name']}=={bounded['lowest']}")
        elif not _FREE.fullmatch(requirement):
            raise ValueError(f"{requirement}: expected name, name>=version or name[extra]>=version")
    return found


def main() -> None:
    """Print them, if this is the lowest Python."""
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    python = project["requires-python"].removeprefix(">=")
    if python != f"{sys.version_info.major}.{sys.version_info.minor}":
        sys.exit(f"the lowest versions are those of Python {python}, and this is {sys.version.split()[0]}; set PYTHON=")
    print("\n".join(pins(project)))


if __name__ == "__main__":
    main()
