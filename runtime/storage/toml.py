"""TOML, the format of recipes and plans: files that people write. They may be a stranger's."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from impasto.runtime.storage.codec import Misfit

#: Such a file is a page of text; one of more bytes is refused.
_LONGEST_FILE = 1 << 20

#: Keys that need no quotes.
_BARE = re.compile("[A-Za-z0-9_-]+")


def text_in(path: Path) -> str:
    """Return the text in a file of TOML.

    Raises
    ------
    Misfit
        When it cannot be read, is too long, or is no text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_FILE + 1)
        if len(data) <= _LONGEST_FILE:
            return data.decode("utf-8-sig")  # some editors write a byte order mark
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise Misfit(f"{reason}; give a path to a readable .toml file") from None
    raise Misfit(f"has more than {_LONGEST_FILE} bytes; expected a page of TOML")


def parsed(text: str) -> dict[str, Any]:
    """Return the data in a text.

    Raises
    ------
    Misfit
        When it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Misfit("not valid TOML: it is nested too deep") from None
    except ValueError as error:  # TOML's own, or Python's of an integer with too many digits
        raise Misfit(f"not valid TOML: {str(error).partition(';')[0]}") from None


def written(data: Mapping[str, Any]) -> str:
    """Return plain data as TOML: a line for each key, and a table for each entry of a list of tables.

    `parsed` reads it back as it was. None stands for a key that is not written.
    """
    lines, tables = list[str](), list[str]()
    for key, value in data.items():
        if isinstance(value, (list, tuple)) and value and all(isinstance(item, Mapping) for item in value):
            tables += [f"\n[[{_key(key)}]]\n{written(item)}" for item in value]
        elif value is not None:
            lines.append(f"{_key(key)} = {_value(value)}\n")
    return "".join([*lines, *tables])


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: object) -> str:
    match value:
        case str():
            return _text(value)
        case Mapping():
            return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case _:  # numbers, and true or false: as JSON writes them
            return json.dumps(value)


def _text(text: str) -> str:
    """Return a text in quotes: a JSON string, but TOML wants DEL escaped, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
