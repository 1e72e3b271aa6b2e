"""How long evaluations take on this machine: measured once, kept in a file, refined by every run that finishes.

The seconds of an evaluation are a + b * pixels: nearly all of the work is done for each pixel. Measuring beats counting
operations and dividing by a rate, as how fast a graph runs is as much a matter of memory as of arithmetic.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import impasto
from impasto.runtime.engine.library import import_onnxruntime
from impasto.runtime.engine.placement import Placement
from impasto.runtime.errors import ImpastoError
from impasto.runtime.machine import processors
from impasto.runtime.plan.plan import Plan
from impasto.runtime.storage.replacing import replacing

#: Raised whenever what a file holds changes its meaning: files of another format are begun anew.
FORMAT = 2

#: How many kinds of evaluation are remembered; the one that was not used for longest is forgotten.
KINDS = 64

#: How much a new measurement counts beside what is remembered of that size: other programs disturb any single one.
NEWS = 0.5

#: Pixels from which on time is all but proportional to them.
LARGE = 256 * 256

#: No picture has more pixels, and no evaluation takes more seconds, or fewer than its inverse.
_MOST = 1e12

#: Measuring the targets of a picture is an evaluation without its way back: about so much of its time for each pixel.
FORWARD = 0.4


@dataclass
class Timing:
    """What is known of one kind of evaluation.

    Attributes
    ----------
    opening
        Seconds to open the graphs, before anything that depends on pictures.
    points
        (pixels, seconds of an evaluation) by size class, the logarithm to base 2 of the pixels, rounded.
    """

    opening: float = 0.0
    points: dict[int, tuple[float, float]] = field(default_factory=dict)

    def learn(self, pixels: int, seconds: float) -> None:
        """Take in how long an evaluation of so many pixels took."""
        size = round(math.log2(pixels))
        known_pixels, known = self.points.get(size, (pixels, seconds))
        mixed = (1 - NEWS) * known * pixels / known_pixels + NEWS * seconds
        self.points[size] = (float(pixels), mixed)

    def learn_opening(self, seconds: float) -> None:
        """Take in how long opening the graphs took."""
        self.opening = (1 - NEWS) * self.opening + NEWS * seconds if self.opening else max(0.0, seconds)

    def serves(self, pixels: int) -> bool:
        """Whether what is known tells of pictures of that size: in small ones, overheads count."""
        return 2 * max(known for known, _ in self.points.values()) >= min(pixels, LARGE)

    def line(self, pixels: float) -> tuple[float, float]:
        """Return a and b of seconds = a + b * pixels near a size; neither is negative.

        The least squares of relative errors; a measurement counts half as much for each doubling of size that lies
        between. Of a single one, all is taken to be proportional to the pixels.
        """
        p, s = np.array(list(self.points.values())).T
        weight = 2 ** -np.abs(np.log2(p / pixels)) / s
        if len(p) > 1:
            (a, b), *_ = np.linalg.lstsq(np.stack([weight, weight * p], axis=1), weight * s, rcond=None)
            if a >= 0 and b >= 0:
                return float(a), float(b)
        return 0.0, float((weight**2 * p * s).sum() / (weight**2 * p * p).sum())

    def evaluation(self, pixels: int) -> float:
        """Return the seconds of one evaluation."""
        a, b = self.line(pixels)
        return a + b * pixels

    def targets(self, pixels: Sequence[int]) -> float:
        """Return the seconds that measuring the targets of pictures takes."""
        return FORWARD * sum(map(self.evaluation, pixels))

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain data; `from_mapping` reads it back."""
        return {"opening": self.opening, "points": [[pixels, seconds] for pixels, seconds in self.points.values()]}

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Timing:
        """Read back what `to_mapping` returned.

        Raises
        ------
        ValueError
            When it is anything else.
        """
        try:
            opening, points = float(data["opening"]), [(float(p), float(s)) for p, s in data["points"]]
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(str(error)) from None
        sound = all(1 <= p <= _MOST and 1 / _MOST <= s <= _MOST for p, s in points)
        if not (points and sound and 0 <= opening <= _MOST):
            raise ValueError("expected pixels and seconds")
        return cls(opening, {round(math.log2(pixels)): (pixels, seconds) for pixels, seconds in points})


class Timings:
    """The timings in a file, or none that are kept.

    Nothing about the file ever raises: one that is missing or damaged is empty, and one that cannot be written stays
    as it is. An estimate is not worth a failed run.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the file at `path`, if there is one."""
        self.path = path
        self._kinds = dict[str, Any]()
        if path is not None:
            with contextlib.suppress(OSError, ValueError, RecursionError, AttributeError):
                data = json.loads(path.read_text("utf-8"))
                if data.get("format") == FORMAT:
                    self._kinds = dict(data["kinds"].items()) if "kinds" in data else {}

    def __getitem__(self, kind: str) -> Timing | None:
        """Return what is known of a kind of evaluation, if anything is."""
        with contextlib.suppress(ValueError):
            return Timing.from_mapping(self._kinds.get(kind, {}))
        return None

    def keep(self, kind: str, timing: Timing) -> None:
        """Remember what is known of a kind of evaluation, and write the file."""
        self._kinds.pop(kind, None)
        self._kinds = dict([*self._kinds.items(), (kind, timing.to_mapping())][-KINDS:])
        if self.path is not None:
            text = json.dumps({"format": FORMAT, "kinds": self._kinds}, indent=1)
            with contextlib.suppress(OSError, ImpastoError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(self.path) as file:
                    file.write(text.encode())


def kind_of(plan: Plan, network: str, placement: Placement, regions: int | None = None) -> str:
    """Name all that the seconds of an evaluation depend on, but the picture's size.

    Of a recipe that is how deep its layers lie and what its style loss is computed of; weights take no time. The
    optimiser works between evaluations, so that its time is part of theirs.

    Parameters
    ----------
    placement
        With a definite device and lowering.
    regions
        How many the masks have; None without masks.
    """
    recipe = plan.recipe
    parts = {
        "network": network,
        "deepest": max(recipe.layers),
        "style": recipe.style.loss,
        "pooling": recipe.pooling,
        "tv": recipe.tv.form,
        "optimizer": plan.optimizer,
        "clip": plan.clip,
        "lowering": placement.layout,
        "precision": placement.precision,
        "device": placement.device,
        "cuda": None if placement.device == "cpu" else asdict(placement.cuda),
        "threads": placement.threads or "auto",
        "low_memory": placement.low_memory,
        "regions": regions,
        "impasto": impasto.__version__,
        "onnxruntime": import_onnxruntime().__version__,
        "machine": _machine(),
    }
    return json.dumps(parts, sort_keys=True)


def _machine() -> str:
    """Return the processor and how many of it there are: a home may be shared by several machines."""
    return f"{processors.usable()} x {processors.name()}"
