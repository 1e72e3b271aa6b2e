"""Requests for runs: what a client asks for, checked, and the same on a command line.

A client names pictures by their ids, and everything else by values of declared options; never by a path or an address.
What it names is typed on a command line as ``--option=value``, so that no value can be taken for an option.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from impasto.cli.serve import limits
from impasto.cli.serve.errors import RequestError
from impasto.runtime.errors import InputError
from impasto.runtime.pictures.masks import is_color
from impasto.text import shown

#: Free text: sizes, numbers with commas, amounts of memory, devices, strengths of regions (``#ff0000=0.3``). It leads
#: out of no folder, and options with such values open no file.
_TEXT = re.compile(r"[A-Za-z0-9_.,:+#=-]{1,64}")

#: Option -> its description: see `impasto.cli.serve.declared.offered`.
Options = Mapping[str, Mapping[str, Any]]

#: Id of a picture -> what stands for it on a command line. It raises `InputError` for an unknown id.
Naming = Callable[[str], str]


@dataclass(frozen=True)
class Request:
    """What is to be painted.

    Attributes
    ----------
    content, styles
        The ids of the photograph and the paintings.
    options
        Option -> value; a picture is ``{"picture": id}``.
    """

    content: str
    styles: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: Any, known: Options) -> Request:
        """Take a request as plain data.

        Raises
        ------
        RequestError
            When it is of another form.
        """
        if not isinstance(data, dict) or (odd := set(data) - {"content", "styles", "options"}):
            what = f" (it has {shown(sorted(odd)[0])})" if isinstance(data, dict) else ""
            raise RequestError(f"request: expected content, styles and options{what}")
        content, styles, given = data.get("content"), data.get("styles"), data.get("options") or {}
        if not isinstance(content, str):
            raise RequestError("content: expected the id of the photograph")
        if not (isinstance(styles, list) and all(isinstance(style, str) for style in styles)):
            raise RequestError("styles: expected a list with the ids of the paintings")
        if not 1 <= len(styles) <= limits.STYLES:
            raise RequestError(f"styles: {len(styles)} paintings; expected 1 to {limits.STYLES}")
        if not isinstance(given, dict):
            raise RequestError("options: expected an object: option -> value")
        for name, value in given.items():
            if name not in known:
                raise RequestError(f"options: there is no {shown(name)}")
            _check(known[name], value)
        return cls(content, tuple(styles), {name: value for name, value in given.items() if value is not None})

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"content": self.content, "styles": [*self.styles], "options": {**self.options}}

    def pictures(self) -> list[str]:
        """Return the ids of all its pictures."""
        values = [part for value in self.options.values() for part in (value if isinstance(value, list) else [value])]
        return [self.content, *self.styles, *(value["picture"] for value in values if isinstance(value, dict))]

    def arguments(self, known: Options, naming: Naming) -> list[str]:
        """Return the options as they are typed.

        Raises
        ------
        InputError
            When there is no such picture.
        """
        return [text for name, value in self.options.items() for text in _typed(known[name], value, naming)]

    def command(self, known: Options, naming: Naming, *more: str) -> str:
        """Return the command line that does the same, for pictures in the working folder.

        Parameters
        ----------
        more
            More arguments.
        """
        content, *styles = (naming(picture) for picture in (self.content, *self.styles))
        stems = "-".join(_stem(name) for name in (content, *styles))
        arguments = [content, *styles, "--output", f"{stems[:80]}.png", *self.arguments(known, naming), *more]
        words = [f"./{text}" if text.startswith("-") and text in (content, *styles) else text for text in arguments]
        return shlex.join(["impasto", "stylize", *words])


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _check(option: Mapping[str, Any], value: object) -> None:
    """Refuse a value of another kind than the option's; the command line judges the rest.

    Raises
    ------
    RequestError
        When it is of another kind.
    """
    if value is None:
        return
    if option["many"]:
        if not isinstance(value, list) or len(value) > limits.STYLES:
            raise RequestError(f"{option['name']}: expected a list of at most {limits.STYLES} values")
        for part in value:
            _check({**option, "many": False}, part)
        return
    if not _FITS[option["kind"]](option, value):
        expected = _EXPECTED[option["kind"]]
        names = f", such as {', '.join(option['choices'])}" if option["choices"] else ""
        raise RequestError(f"{option['name']}: {shown(value)}; expected {expected}{names}")


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _is_name(option: Mapping[str, Any], value: object) -> bool:
    return isinstance(value, str) and value in (option["choices"] or ())


def _is_picture(option: Mapping[str, Any], value: object) -> bool:
    if isinstance(value, dict):
        return [*value] == ["picture"] and isinstance(value["picture"], str)
    return _is_name(option, value) or (option["colors"] and isinstance(value, str) and is_color(value))


#: Kind of option -> whether a value fits, and words for what does.
_FITS: Mapping[str, Callable[[Mapping[str, Any], Any], bool]] = {
    "flag": lambda option, value: isinstance(value, bool),
    "integer": lambda option, value: _is_number(value, int),
    "number": lambda option, value: _is_number(value, int, float),
    "text": lambda option, value: isinstance(value, str) and bool(_TEXT.fullmatch(value)),
    "choice": _is_name,
    "picture": _is_picture,
}
_EXPECTED = {
    "flag": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "text": "a short text of letters, digits and a few signs",
    "choice": "a name",
    "picture": '{"picture": id}',
}


def _typed(option: Mapping[str, Any], value: Any, naming: Naming) -> Iterator[str]:
    """Yield an option with its value as they are typed."""
    if option["many"]:
        for part in value:
            yield from _typed({**option, "many": False}, part, naming)
    elif option["kind"] == "flag":
        if value or option["negative"]:
            yield option["flag"] if value else option["negative"]
    else:
        text = naming(value["picture"]) if isinstance(value, dict) else str(value)
        yield f"{option['flag']}={text}"


def unknown_picture(picture: str) -> InputError:
    """Return the error for an id that no picture has."""
    return InputError(f"picture {shown(picture)}: is not there; give it to the server once more")


def options_by_name(options: Sequence[Mapping[str, Any]]) -> Options:
    """Return the options that `impasto.cli.serve.declared.offered` lists, by their names."""
    return {option["name"]: option for option in options}
