"""The candidates, and how each paints a pair: as a whole command, as a user would call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from benchmarks.files import ROOT
from benchmarks.look.pairs import Pair

#: The candidates that have a name here; others are read from a file of the same form.
FILE = Path(__file__).with_name("candidates.toml")


@dataclass(frozen=True)
class Candidate:
    """A way to paint.

    Attributes
    ----------
    name
        Of its folder, and in tables.
    program
        ``impasto``, or ``pastiche``: the peer's own program.
    options
        Of ``impasto stylize``, beyond those of the comparison.
    recipe
        For impasto: a recipe's name, or its file, relative to the file of the candidates.
    """

    name: str
    program: str = "impasto"
    options: tuple[str, ...] = ()
    recipe: str = "impasto"


@dataclass(frozen=True)
class Conditions:
    """What all candidates of a comparison share.

    Attributes
    ----------
    size
        The long side in pixels.
    model
        The model folder, where recipes are exported to.
    seconds
        The time that a picture may take, or None: as many evaluations as the candidate says.
    processes
        Pictures that are painted at once, each in one thread.
    peer
        The interpreter that has pastiche.
    """

    size: int
    model: Path
    seconds: float | None
    processes: int
    peer: Path


@dataclass
class Painter:
    """Paints all pairs with one candidate after the other; a picture that is there already is not painted again."""

    conditions: Conditions
    work: Path
    failed: list[str] = field(default_factory=list)

    def path(self, candidate: Candidate, pair: Pair) -> Path:
        """Return where a picture is written."""
        return self.work / candidate.name / f"{pair.name}.png"

    def paint(self, candidates: Sequence[Candidate], pairs: Sequence[Pair]) -> None:
        """Paint what is missing.

        Raises
        ------
        subprocess.CalledProcessError
            When a program fails.
        """
        missing = [(c, p) for p in pairs for c in candidates if not self.path(c, p).exists()]
        with ThreadPoolExecutor(self.conditions.processes) as pool:
            for number, _ in enumerate(pool.map(self._paint, *zip(*missing, strict=True)) if missing else (), 1):
                print(f"{number} of {len(missing)} painted", file=sys.stderr, flush=True)

    def _paint(self, candidate: Candidate, pair: Pair) -> None:
        path = self.path(candidate, pair)
        path.parent.mkdir(parents=True, exist_ok=True)
        command = _impasto if candidate.program == "impasto" else _pastiche
        arguments = command(candidate, pair, path.with_suffix(".part.png"), self.conditions)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            done.check_returncode()
        path.with_suffix(".json").write_text(done.stdout or "{}", "utf-8")
        path.with_suffix(".part.png").replace(path)

    def seconds(self, candidate: Candidate, pair: Pair) -> float:
        """Return the seconds that a picture took, as its program says; not a number where it does not."""
        text = self.path(candidate, pair).with_suffix(".json").read_text("utf-8")
        return float(json.loads(text.splitlines()[-1]).get("seconds", "nan"))


def _impasto(candidate: Candidate, pair: Pair, path: Path, conditions: Conditions) -> list[str]:
    limit = [] if conditions.seconds is None else ["--time-limit", f"{conditions.seconds:g}"]
    return [
        sys.executable, "-m", "impasto", "stylize", str(pair.photograph), str(pair.painting), "--output", str(path),
        "--model", str(conditions.model), "--recipe", Path(candidate.recipe).stem, "--size", str(conditions.size),
        "--device", "cpu", "--threads", "1", "--json", "--force", *limit, *candidate.options,
    ]  # fmt: skip


def _pastiche(candidate: Candidate, pair: Pair, path: Path, conditions: Conditions) -> list[str]:
    """Return pastiche's command; its size is the square root of the picture's area, whose long side is ours."""
    with Image.open(pair.photograph) as photograph:
        width, height = photograph.size
    area = conditions.size * (min(width, height) / max(width, height)) ** 0.5
    return [
        str(conditions.peer), "-m", "pastiche", "--content", str(pair.photograph), "--styles", str(pair.painting),
        "--output", str(path), "--size", str(round(area)), "--device", "cpu", *candidate.options,
    ]  # fmt: skip


def read_candidates(names: Sequence[str], path: Path = FILE) -> Iterator[Candidate]:
    """Read candidates by name.

    Raises
    ------
    KeyError
        When the file has none of that name.
    """
    tables: Mapping[str, dict[str, object]] = tomllib.loads(path.read_text("utf-8"))
    for name in names:
        if name not in tables:
            raise KeyError(f"{path}: has no candidate {name}; it has {', '.join(tables)}")
        table = dict(tables[name])
        options = table.pop("options", ())
        yield Candidate(name, options=tuple(map(str, options)), **table)  # type: ignore[arg-type, call-overload]


def recipes_of(candidates: Sequence[Candidate], path: Path = FILE) -> list[str]:
    """Return the recipes that candidates need, each a name or a file, as ``impasto export --recipe`` takes it."""
    named = dict.fromkeys(candidate.recipe for candidate in candidates if candidate.program == "impasto")
    return [str(path.parent / name) if name.endswith(".toml") else name for name in named]
