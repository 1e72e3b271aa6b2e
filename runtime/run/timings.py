"""The time of evaluations on this machine: measured once, kept in a file, refined by every run that ends.

The seconds of an evaluation are a + b * pixels: nearly all of the work is done for each pixel. A count of operations
would not predict them: the speed of a graph depends on memory as much as on arithmetic.
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
from impasto.runtime.engine.library import CUDA, import_onnxruntime
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.plugins import version
from impasto.runtime.engine.providers import provider_of
from impasto.runtime.errors import ImpastoError
from impasto.runtime.machine import processors
from impasto.runtime.plan.plan import Plan
from impasto.runtime.storage.replacing import replacing

#: Raised whenever the contents of a file change their meaning: a file of another format is not read, but replaced.
FORMAT = 2

#: The number of kinds of evaluation that are remembered; the one that was updated least recently is forgotten.
KINDS = 64

#: The weight of a new measurement in its average with the remembered one: other programs disturb single measurements.
NEWS = 0.5

#: From so many pixels on, the time is nearly proportional to them.
LARGE = 256 * 256

#: No picture has more pixels; an evaluation takes no more seconds, and no fewer than the inverse.
_MOST = 1e12

#: Measuring the targets of a picture takes this share of an evaluation's time, about: there is no backward pass.
FORWARD = 0.4


@dataclass
class Timing:
    """The known timing of one kind of evaluation.

    Attributes
    ----------
    opening
        Seconds to open the graphs, before any work that depends on pictures.
    points
        Size class, the rounded logarithm to base 2 of the pixels -> (pixels, seconds of an evaluation).
    """

    opening: float = 0.0
    points: dict[int, tuple[float, float]] = field(default_factory=dict)

    def learn(self, pixels: int, seconds: float) -> None:
        """Learn the seconds of an evaluation of so many pixels."""
        size = round(math.log2(pixels))
        known_pixels, known = self.points.get(size, (pixels, seconds))
        mixed = (1 - NEWS) * known * pixels / known_pixels + NEWS * seconds
        self.points[size] = (float(pixels), mixed)

    def learn_opening(self, seconds: float) -> None:
        """Learn the seconds of opening the graphs."""
        self.opening = (1 - NEWS) * self.opening + NEWS * seconds if self.opening else max(0.0, seconds)

    def serves(self, pixels: int) -> bool:
        """Whether the known points predict pictures of that size; smaller pictures do not, because of overheads."""
        return 2 * max(known for known, _ in self.points.values()) >= min(pixels, LARGE)

    def line(self, pixels: float) -> tuple[float, float]:
        """Return a and b of seconds = a + b * pixels near a size; neither is negative.

        They minimise the squares of relative errors. The weight of a measurement halves with each doubling of size
        between it and the given size. With a single measurement, a is 0.
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
            When it is something else.
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
    """The timings in a file; without a path, in memory only.

    No error about the file is raised: a missing or damaged file counts as empty, and one that cannot be written stays
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
        """Return the timing of a kind of evaluation; None if it is unknown."""
        with contextlib.suppress(ValueError):
            return Timing.from_mapping(self._kinds.get(kind, {}))
        return None

    def keep(self, kind: str, timing: Timing) -> None:
        """Remember the timing of a kind of evaluation, and write the file."""
        self._kinds.pop(kind, None)
        self._kinds = dict([*self._kinds.items(), (kind, timing.to_mapping())][-KINDS:])
        if self.path is not None:
            text = json.dumps({"format": FORMAT, "kinds": self._kinds}, indent=1)
            with contextlib.suppress(OSError, ImpastoError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(self.path) as file:
                    file.write(text.encode())


def kind_of(plan: Plan, network: str, placement: Placement, regions: int | None = None, *, tiled: bool = False) -> str:
    """Name everything that the seconds of an evaluation depend on, except the picture's size.

    Of a recipe these are its deepest layer and its style loss; weights take no time. The optimiser works between
    evaluations, so that its time counts as theirs.

    Parameters
    ----------
    placement
        One with a definite device, precision and lowering.
    regions
        The number of regions in the masks; None without masks.
    tiled
        Whether pictures are evaluated in tiles. The known seconds are then those of the same work on whole pictures:
        see `impasto.runtime.engine.footprints.Load.work`.
    """
    recipe, provider = plan.recipe, provider_of(placement.device)
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
        "cuda": asdict(placement.cuda) if provider.name == CUDA else None,
        "threads": placement.threads or "auto",
        "low_memory": placement.low_memory,
        "regions": regions,
        **({"tiled": True} if tiled else {}),
        "impasto": impasto.__version__,
        "onnxruntime": import_onnxruntime().__version__,
        **({provider.plugin.distribution: version(provider.plugin)} if provider.plugin else {}),
        "machine": _machine(),
    }
    return json.dumps(parts, sort_keys=True)


def _machine() -> str:
    """Return the name and the number of processors: several machines may share a home folder."""
    return f"{processors.usable()} x {processors.name()}"
