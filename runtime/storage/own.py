"""Files that a run writes again and again, without replacing other programs' files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from impasto.runtime.errors import NameTaken
from impasto.runtime.storage.names import followed, identity, is_stream
from impasto.runtime.storage.replacing import clear_up


class Own:
    """A file that a run writes again and again: it replaces its own earlier version, and no other file.

    Parameters
    ----------
    path
        The file.
    replace
        Whether a file that exists now may be replaced, the first time.

    Attributes
    ----------
    path
        The file; another one beside it once another program has taken its name.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        self.path = path
        self._last = identity(path) if replace else None

    @property
    def is_own(self) -> bool:
        """Whether the file that is there was written by the run, or may be replaced by it."""
        present = identity(self.path)
        return present is not None and present == self._last

    def write(self, work: Callable[[Path, bool], None]) -> None:
        """Write the file by `work`, which takes the path, and whether an existing file may be replaced.

        Raises
        ------
        NameTaken
            When another program has taken the name; from then on `path` is another one.
        """
        try:
            work(self.path, self.is_own)
        except NameTaken as taken:
            self.path = taken.place
            self._last = identity(self.path)
            raise
        self._last = identity(self.path)

    def remove(self) -> None:
        """Remove it, if it is the run's own.

        Raises
        ------
        OSError
            When it cannot be removed.
        """
        if self.is_own:
            remove(self.path)
        clear_up(self.path)


def remove(path: Path) -> None:
    """Remove a file; a link to it stays, and only regular files are removed.

    Raises
    ------
    OSError
        When it cannot be removed.
    """
    target = followed(path)
    if target.is_file() and not is_stream(path):
        target.unlink()
