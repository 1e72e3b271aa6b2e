"""What `impasto serve` was started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from impasto.defaults import SERVE_HOST

#: Names of this machine, which a page on it may use; a forwarded port may be another than ours.
_HERE = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Settings:
    """What the server was started with.

    Attributes
    ----------
    data
        The folder of pictures and runs.
    model
        The model folder.
    token
        What opens the page.
    host
        The address that it listens at.
    names
        Further names that the page is reached by.
    jobs
        How many runs go on at a time.
    named_model
        The model folder as the user has named it, for command lines to copy; None if it was not named.
    encrypted
        Whether it speaks TLS.
    """

    data: Path
    model: Path
    token: str
    host: str = SERVE_HOST
    names: tuple[str, ...] = ()
    jobs: int = 1
    named_model: str | None = None
    encrypted: bool = False

    @property
    def allowed(self) -> frozenset[str]:
        """The names that a request's Host may have, without a port and in small letters."""
        own = _HERE if is_loopback(self.host) else (f"[{self.host}]" if ":" in self.host else self.host,)
        return frozenset(name.lower() for name in (*own, *self.names))


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
