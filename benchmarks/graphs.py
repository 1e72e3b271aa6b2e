"""Compare two model folders: they should differ in the metadata of their graphs and in nothing else.

    python -m benchmarks.graphs BEFORE AFTER

Where a change is to change no result, the exports before and after it have to be the same to the byte.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import onnx


def differences(before: Path, after: Path) -> list[str]:
    """Return a line for each file that only one of two folders has, or that differs between them."""
    old, new = ({path.name for path in folder.iterdir()} for folder in (before, after))
    lines = [f"{name}: only in {before if name in old else after}" for name in sorted(old ^ new)]
    for name in sorted(old & new):
        compare = _graph_difference if name.endswith(".onnx") else _difference
        if difference := compare(before / name, after / name):
            lines.append(f"{name}: {difference}")
    return lines


def _difference(before: Path, after: Path) -> str:
    return "" if before.read_bytes() == after.read_bytes() else "has other bytes"


def _graph_difference(before: Path, after: Path) -> str:
    """Name the parts of a graph that differ; its metadata may."""
    models = [onnx.load(path, load_external_data=False) for path in (before, after)]
    for model in models:
        del model.metadata_props[:]
    if len({model.SerializeToString(deterministic=True) for model in models}) == 1:
        return ""
    old, new = (model.graph for model in models)
    names = [field.name for field in onnx.GraphProto.DESCRIPTOR.fields]
    parts = [name for name in names if getattr(old, name) != getattr(new, name)]
    return f"differs in {', '.join(parts) or 'what surrounds its graph'}"


def main() -> None:
    """Run from the command line; exit with 1 if there is any difference."""
    summary, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graphs", description=summary)
    parser.add_argument("before", type=Path, help="a model folder")
    parser.add_argument("after", type=Path, help="another, of the same recipes over the same weights")
    options = parser.parse_args()
    lines = differences(options.before, options.after)
    print("\n".join(lines) or f"{options.before} and {options.after} hold the same graphs")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
