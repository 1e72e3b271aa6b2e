"""The cluster that a user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto.runtime.engine.placement import OFF
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
        When the options exclude each other, or name a file that is not there.
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

    @property
    def threads(self) -> int | None:
        """The threads of each worker that is started here, where none are named: they share the machine's cores."""
        if self.workers is None:
            return None
        return max(1, (processors.default_threads() or processors.usable()) // self.workers)

    def for_pictures(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of transfers, each of which a worker carries out."""
        shared = self._shared(choices, processes=self.workers or 0)
        return {**shared, "threads": choices["threads"] or self.threads}

    def for_tiles(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of one transfer whose tiles are spread: it is cut even if it would fit into memory.

        Raises
        ------
        InputError
            When an option leaves nothing to spread.
        """
        if not self:
            return dict(choices)
        option = "--workers" if self.scheduler is None else "--scheduler"
        if choices["tile"] == OFF:
            raise InputError(f"{option}: workers evaluate tiles, and --tile off makes none; leave one of the two out")
        if choices["optimizer"] == "lbfgs-device":
            raise InputError(
                f"{option}: not with --optimizer lbfgs-device, which takes no tiles; leave one of them out"
            )
        # the driver has the picture and the optimiser
        shared = self._shared(choices, processes=self.workers + 1 if self.workers else 0)
        return {**shared, "tile": str(SIDE) if choices["tile"] == AUTO else choices["tile"]}

    def _shared(self, choices: Mapping[str, Any], processes: int) -> dict[str, Any]:
        """Return the options with a share of this machine's memory, if so many processes are started here."""
        if processes and choices["memory"] is None and (room := room_left()):
            return {**choices, "memory": room.size // processes}
        return dict(choices)
