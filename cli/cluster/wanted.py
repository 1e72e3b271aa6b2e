"""The cluster that a user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto.runtime.errors import InputError
from impasto.runtime.machine import processors
from impasto.runtime.machine.memory import room_left


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

    def share(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a transfer for one of the workers that are started here: they share this machine."""
        choices = dict(choices)
        if self.workers is None:
            return choices
        if choices["threads"] is None:
            choices["threads"] = max(1, (processors.default_threads() or processors.usable()) // self.workers)
        if choices["memory"] is None and (room := room_left()):
            choices["memory"] = room.size // self.workers
        return choices
