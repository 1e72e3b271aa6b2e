"""The errors of requests, beside those that the command line has, too."""

from __future__ import annotations

from impasto.runtime.errors import InputError


class RequestError(Exception):
    """A request is not of the form that openapi.json describes."""


class StateError(Exception):
    """A run is not in a state for that."""


class HelperError(Exception):
    """The process beside the server could not answer."""


class TooLarge(InputError):
    """A picture has more bytes, or more pixels, than are taken."""
