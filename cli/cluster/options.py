"""The options that say which cluster is to be used. It imports little, as commands import it when they start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from impasto.cli import options

if TYPE_CHECKING:
    from impasto.cli.cluster.wanted import Wanted


def cluster_options(
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
) -> Wanted:
    """Return the cluster that is asked for, which may be none.

    Raises
    ------
    InputError
        When the options exclude each other, or name a file that is not there.
    """
    from impasto.cli.cluster.wanted import Wanted  # it imports the runtime

    return Wanted(workers, scheduler, tls_ca, tls_cert, tls_key)
