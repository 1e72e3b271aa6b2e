"""Every error a user can meet, as one hierarchy.

ImpastoError
├── InputError            refused before any work starts (the command line exits with 2)
│   ├── PictureError      a picture that cannot be read or used
│   ├── OutputError       a place where a result cannot be written
│   ├── RecipeError       a recipe that does not exist or is inconsistent
│   ├── ModelError        a model folder that is missing, damaged or of another format
│   ├── DeviceError       a device that was asked for and is not available
│   ├── WeightsError      network weights that cannot be found, trusted or read
│   ├── OptionError       an option that a function does not have; a TypeError, too, as Python itself raises
│   └── Misfit            a value of another type or out of range: see `impasto.runtime.storage.codec`
├── TransferError         failed while optimising (exit 1)
│   ├── MemoryShortage    for lack of memory
│   └── SaveError         failed while writing the result
│       └── NameTaken     written, under another name than was asked for
└── ExportError           failed while exporting (exit 1)

The text of each is one line: the thing that is wrong, the reason, and advice. It may quote text of strangers: control
characters in it, which a terminal would obey, are escaped.
"""

from pathlib import Path

from impasto.text import printable


class ImpastoError(Exception):
    """Base of all errors raised on purpose."""

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(ImpastoError):
    """Refused before any work started."""


class PictureError(InputError):
    """A picture cannot be read or used."""


class OutputError(InputError):
    """A result cannot be written where it was asked for."""


class RecipeError(InputError):
    """A recipe does not exist or is inconsistent."""


class ModelError(InputError):
    """A model folder is missing, damaged or of another format."""


class DeviceError(InputError):
    """A device was asked for and is not available."""


class WeightsError(InputError):
    """Network weights cannot be found, trusted or read."""


class OptionError(InputError, TypeError):
    """A function was called with an option that it does not have, or without one that it needs."""


class TransferError(ImpastoError):
    """The optimisation failed."""


class MemoryShortage(TransferError):  # Python's own MemoryError has the name
    """There was not enough memory, the device's or the host's."""


class SaveError(TransferError):
    """The result could not be written."""


class NameTaken(SaveError):
    """Another program has taken a file's name in the meantime: the result is in another file, `place`."""

    def __init__(self, text: str, place: Path) -> None:
        super().__init__(text)
        self.place = place


class ExportError(ImpastoError):
    """The export failed after it had started."""
