"""Dataclasses as plain data, such as JSON and TOML hold, and back: `to_data` and `from_data`.

The types of a dataclass's fields are its schema. A value of another type, or an absurdly large one, is refused; the
message names its key. A dataclass checks all other rules itself, in its `__post_init__`.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from impasto.runtime.errors import InputError
from impasto.text import nearest, shown
from impasto.wording import of_data

T = TypeVar("T")

#: No integer has as many bits: a seed may be as long as a hash, and no other number is nearly as large. A float holds
#: every smaller one.
LONGEST_INTEGER = 257

#: No text has more characters, and no list or table more entries.
LONGEST_TEXT, LONGEST_LIST = 100_000, 1_000_000

_SHA256 = re.compile("[0-9a-f]{64}")

_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list",
    dict: "a table",
}


class Misfit(InputError):
    """A value that does not fit; the text names its key and what was expected."""


class Unreadable(Misfit):
    """A text that is not JSON, or has no format: it is damaged, or another program's."""


class OtherFormat(Misfit):
    """Data of another `version` of the format than the one that is read here."""

    def __init__(self, version: object, expected: int) -> None:
        super().__init__(f"format {shown(version)}, not {expected}")
        self.version = version


#: The `metadata` of a dataclass's field that is not part of its data.
BESIDE: Mapping[str, bool] = types.MappingProxyType({"beside": True})

#: The `metadata` of a field that is part of the data only where its value is not the default. So data that do without a
#: newer field are written as they were before there was one.
SPARSE: Mapping[str, bool] = types.MappingProxyType({"sparse": True})


def expect(condition: bool, refusal: str) -> None:
    """Refuse a value, unless a condition holds; `refusal` names its key and what was expected.

    Raises
    ------
    Misfit
        With that text.
    """
    if not condition:
        raise Misfit(refusal)


def parse_json(text: str) -> Any:
    """Return the data in a JSON text (RFC 8259); extensions of JSON are refused.

    Raises
    ------
    Misfit
        When it is not JSON, has an infinite number or NaN, has a key twice, or is nested too deep.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once)
    except Misfit:
        raise
    except RecursionError:
        raise Misfit("it is nested too deep") from None
    except ValueError as error:  # a syntax error, or an integer of more digits than Python reads
        raise Misfit(f"it is not JSON ({str(error).partition(';')[0]})") from None


def _refuse_constant(name: str) -> float:
    raise Misfit(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise Misfit(f"{shown(key)} is there twice")
    return table


def to_json(instance: object, version: int) -> str:
    """Return a dataclass as JSON, with the version of its format; `from_json` reads it back."""
    return json.dumps({"format": version, **to_data(instance)}, allow_nan=False)


def from_json(type_: type[T], text: str, version: int) -> T:
    """Read back what `to_json` returned, for the same version of the format.

    Raises
    ------
    Unreadable
        When it is not JSON, or has no format.
    OtherFormat
        When its format has another version.
    InputError
        As `from_data`.
    """
    try:
        data = parse_json(text)
    except Misfit as error:
        raise Unreadable(str(error)) from None
    if not isinstance(data, dict) or "format" not in data:
        raise Unreadable("it is not of impasto")
    if (own := data.pop("format")) != version:
        raise OtherFormat(own, version)
    return from_data(type_, data)


def to_data(instance: object) -> dict[str, Any]:
    """Return a dataclass as plain data: tables, lists, text and numbers. `from_data` reads it back."""
    values = ((field, getattr(instance, field.name)) for field in _data_fields(type(instance)))
    return {field.name: _plain(value) for field, value in values if not _is_left_out(field, value)}


def _is_left_out(field: Field[Any], value: object) -> bool:
    return bool(field.metadata.get("sparse")) and value == field.default


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_data(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _data_fields(type_: Any) -> list[Field[Any]]:
    return [field for field in fields(type_) if not field.metadata.get("beside")]


def from_data(type_: type[T], data: object, key: str = "") -> T:
    """Make a dataclass from a mapping, such as `to_data` returns, or JSON or TOML hold.

    Parameters
    ----------
    key
        The key of the mapping in the whole data, such as ``style``; in messages it precedes the mapping's own keys.

    Raises
    ------
    Misfit
        For a key that is unknown, or missing and without a default, and for a value of another type.
    InputError
        The dataclass's own error, for a value that is out of range.
    """
    if not isinstance(data, Mapping):
        raise Misfit(f"{key or type_.__name__.lower()} is {shown(data)}; expected a table")
    schema: Any = type_
    prefix = f"{key}." if key else ""
    known = {field.name: field for field in _data_fields(schema)}
    for name in data:
        if name not in known:
            meant = nearest(name, known) if isinstance(name, str) else None
            advice = f"; did you mean {prefix}{meant}?" if meant else ""
            raise Misfit(f"unknown key {prefix}{_bare(name)}; expected one of {', '.join(sorted(known))}{advice}")
    for name, field in known.items():
        if name not in data and field.default is field.default_factory is MISSING:
            raise Misfit(f"{prefix}{name} is missing")
    hints = _hints(schema)
    with of_data():
        return type_(**{name: _converted(hints[name], value, prefix + name) for name, value in data.items()})


def _bare(name: object) -> str:
    return name if isinstance(name, str) and name.isidentifier() and len(name) < 80 else shown(name)


@cache
def _hints(type_: Any) -> dict[str, Any]:
    return typing.get_type_hints(type_)


def _converted(type_: Any, value: Any, key: str) -> Any:
    """Return a value as a field of that type holds it, after a `check`."""
    kind, parts = typing.get_origin(type_), typing.get_args(type_)
    if kind in (types.UnionType, typing.Union):
        return None if value is None else _converted(_alternative(parts, value), value, key)
    if isinstance(type_, type) and is_dataclass(type_):
        return from_data(type_, value, key)
    if kind is tuple and isinstance(value, (list, tuple)):
        keys = (f"{key}.{number}" if is_dataclass(parts[0]) else key for number in itertools.count(1))
        value = tuple(_converted(parts[0], item, own) for item, own in zip(value, keys, strict=False))
    _check(type_, value, key)
    return value


def check(instance: object, key: str = "", called: Callable[[str], str] = str) -> None:
    """Refuse a dataclass if a field holds a value of another type than it declares.

    A whole number is accepted for a number; true and false are not accepted for numbers. Numbers must be finite.

    Parameters
    ----------
    called
        Returns the name of a field in messages: see `impasto.wording.option`.

    Raises
    ------
    Misfit
        Names the field, below `key`.
    """
    prefix = f"{key}." if key else ""
    own: Any = type(instance)
    for name, type_ in _hints(own).items():
        _check(type_, getattr(instance, name), called(prefix + name))


def _alternative(parts: tuple[Any, ...], value: Any) -> Any:
    """Return the part of a union that a value is to be of: text if there is a choice and it is text, else the first."""
    return str if isinstance(value, str) and str in parts else parts[0]


def _check(type_: Any, value: Any, key: str) -> None:
    kind, parts = typing.get_origin(type_) or type_, typing.get_args(type_)
    if kind in (types.UnionType, typing.Union):
        if value is not None or type(None) not in parts:
            _check(_alternative(parts, value), value, key)
        return
    is_table = issubclass(kind, Mapping)
    accepted: Any = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        expected = _NAMES.get(dict if is_table else kind, kind.__name__.lower())
        raise Misfit(f"{key} is {shown(value)}; expected {expected}")
    _check_extent(value, key)
    if is_table:
        for name, item in value.items():
            _check(parts[0], name, f"a key of {key}")
            _check(parts[1], item, f"{key}.{_bare(name)}")
    elif kind is tuple:
        if parts[-1] is not Ellipsis and len(value) != len(parts):
            raise Misfit(f"{key} is {shown(value)}; expected {len(parts)} numbers")
        for item in value:
            _check(parts[0], item, key)


def check_number(value: object, key: str) -> None:
    """Refuse a value that is not a finite number.

    Raises
    ------
    Misfit
        Names the key.
    """
    _check(float, value, key)


def check_sha256(text: str, key: str) -> None:
    """Refuse a text that is not a SHA-256 in hexadecimal digits.

    Raises
    ------
    Misfit
        Names the key.
    """
    if not _SHA256.fullmatch(text):
        raise Misfit(f"{key} is {shown(text)}; expected a SHA-256, 64 hexadecimal digits")


def _check_extent(value: object, key: str) -> None:
    """Refuse a value that is too long, too large or not a finite number."""
    match value:
        case float() if not math.isfinite(value):
            raise Misfit(f"{key} is {value}; expected a finite number")
        case int() if value.bit_length() >= LONGEST_INTEGER:
            raise Misfit(f"{key} is {shown(value)}; expected no more than {_digits(LONGEST_INTEGER)} digits")
        case str() if len(value) > LONGEST_TEXT:
            raise Misfit(f"{key} has {len(value)} characters; expected {LONGEST_TEXT} at most")
        case tuple() | Mapping() if len(value) > LONGEST_LIST:
            raise Misfit(f"{key} has {len(value)} entries; expected {LONGEST_LIST} at most")


def _digits(bits: int) -> int:
    return int((bits - 1) * math.log10(2))
