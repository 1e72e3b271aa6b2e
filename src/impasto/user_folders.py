"""The user's folders for what impasto keeps: platformdirs knows where each system has them."""

from __future__ import annotations

from pathlib import Path


def data() -> Path:
    """Return the folder for what is to last; it need not exist.

    Raises
    ------
    ModuleNotFoundError
        When platformdirs is not installed.
    """
    from platformdirs import user_data_path  # only where it is needed

    return user_data_path("impasto", appauthor=False)


def cache() -> Path:
    """Return the folder for what can be made again; it need not exist.

    Raises
    ------
    ModuleNotFoundError
        When platformdirs is not installed.
    """
    from platformdirs import user_cache_path  # only where it is needed

    return user_cache_path("impasto", appauthor=False)
