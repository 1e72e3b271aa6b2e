"""The cluster that a user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto.runtime.engine.providers import AUTO
from impasto.runtime.errors import InputError
from impasto.runtime.machine import processors
from impasto.runtime.machine.memory import room_left

#: The side of tiles, in pixels, where none is named: large ones have less work in all, small ones spread better.
SIDE = 768


@dataclass(frozen=True)
class Wanted:
    """The cluster that a user asks for; see the options of these names.

    Raises
    ------
    InputError
        When the options exclude each other.
    """

    workers: int | None = None
    scheduler: str | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.scheduler is not None:
            raise InputError("--workers: starts a cluster of its own; leave it out with --scheduler")
        tls = {"--tls-ca": self.tls_ca, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        given = {name: path for name, path in tls.items() if path is not None}
        if given and self.scheduler is None:
            raise InputError(f"{next(iter(given))}: is for --scheduler tls://...; leave it out without a scheduler")
        for name, path in given.items():
            if not path.is_file():
                raise InputError(f"{name} {path}: no such file; expected one in PEM format")

    def __bool__(self) -> bool:
        return self.workers is not None or self.scheduler is not None

    def share(self, choices: Mapping[str, Any], *, in_tiles: bool = False) -> dict[str, Any]:
        """Return the options of a transfer for workers.

        Those that are started here share this machine's cores and its memory. With `in_tiles`, one picture is spread
        over the workers, so that it is cut into tiles even if it would fit into memory.
        """
        choices = dict(choices)
        if not self:
            return choices
        if in_tiles and choices["tile"] == AUTO:
            choices["tile"] = str(SIDE)
        if self.workers is not None and choices["threads"] is None:
            choices["threads"] = max(1, (processors.default_threads() or processors.usable()) // self.workers)
        if self.workers is not None and choices["memory"] is None and (room := room_left()):
            choices["memory"] = room.size // (self.workers + in_tiles)  # the driver has the picture and the optimiser
        return choices
