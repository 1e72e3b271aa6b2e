"""Text of strangers, as it may be shown: file names, records, recipes, metadata and messages of libraries.

Characters that a terminal would obey, or that would make a line look like another one, are written as escapes.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable

#: Bytes of a file's name that are no UTF-8 are these lone surrogates in a `str` (PEP 383): 0xDC80 for the byte 0x80.
_BYTES = range(0xDC80, 0xDD00)

#: A value is shown with no more characters than this.
_LONGEST = 80

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = _LONGEST
_repr.maxlevel = 2


def printable(text: str) -> str:
    r"""Return text as one line that a terminal shows and does not obey.

    Line breaks, tabs and other spaces become a space. Every other character that Unicode does not call printable is
    written as ``\uXXXX``, as in JSON: control characters (C0, DEL, C1), marks that change the direction of writing,
    those without width, unassigned ones. A byte of a name that is no UTF-8 becomes the character of Latin-1.

    Examples
    --------
    >>> printable("photo\n\x1b[2J\u202egpj.exe")
    'photo \\u001b[2J\\u202egpj.exe'
    """
    return text if text.isprintable() else "".join(map(_shown_character, text))


def _shown_character(character: str) -> str:
    if ord(character) in _BYTES:
        character = chr(ord(character) - 0xDC00)
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[k : k + 4]}" for k in range(0, len(units), 4))


def shown(value: object) -> str:
    """Return a value as messages quote it: its `repr`, in one line and cut where it is long, nested or both.

    Examples
    --------
    >>> shown(["a", [1, 2]])
    "['a', [1, 2]]"
    """
    try:
        text = _repr.repr(value)
    except (ValueError, RecursionError):  # Python writes no integer of more than some 4300 digits
        text = f"{type(value).__name__} of many digits" if isinstance(value, int) else type(value).__name__
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like another one; nothing if none is much like it.

    Examples
    --------
    >>> nearest("gatsy", ["seed", "gatys"])
    'gatys'
    """
    import difflib  # only where something is wrong

    return next(iter(difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)), None)
