"""What the functions for users say of their parameters: in their documentation, and when one does not exist."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from impasto.runtime.errors import OptionError
from impasto.text import nearest, shown

P = ParamSpec("P")
R = TypeVar("R")

#: Longer defaults are left out of the documentation, which has the signature above it.
_LONGEST_DEFAULT = 20


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that refuses calls with an `OptionError`, and whose docstring has types and defaults.

    The docstring is numpydoc's; the types and defaults are those of the signature, and stand nowhere else.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise OptionError(_why(function.__qualname__, signature, error, kwargs)) from None
        return function(*args, **kwargs)

    call.__doc__ = documented(function.__doc__ or "", signature)
    return call


def documented(doc: str, signature: inspect.Signature) -> str:
    """Return a docstring with type and default beside the name of each parameter, where it has the name alone."""
    lines = [_with_type(line, signature) for line in inspect.cleandoc(doc).splitlines()]
    return "\n".join(lines)


def section(doc: str, title: str) -> str:
    """Return the text of a section of a docstring, its title included."""
    found = re.search(rf"^{title}\n-+\n.*?(?=\n\n\w+\n-+\n|\Z)", inspect.cleandoc(doc), re.DOTALL | re.MULTILINE)
    return found.group(0) if found else ""


def _with_type(line: str, signature: inspect.Signature) -> str:
    parameter = signature.parameters.get(line)
    if parameter is None or parameter.annotation is inspect.Parameter.empty:
        return line
    annotation = parameter.annotation
    type_ = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    default = "" if parameter.default is inspect.Parameter.empty else repr(parameter.default)
    told = f", default {default}" if 0 < len(default) <= _LONGEST_DEFAULT else ""
    return f"{line} : {type_}{told}"


def _why(name: str, signature: inspect.Signature, error: TypeError, given: dict[str, object]) -> str:
    """Return what is wrong with a call: of options that do not exist, the first, and the nearest that does."""
    names = [known for known in signature.parameters if known not in ("self", "cls")]
    unknown = next((option for option in given if option not in names), None)
    if unknown is None:
        many = "too many positional" in str(error)
        return f"{name}: {error}; expected {', '.join(names[:2])}, and all else by name" if many else f"{name}: {error}"
    near = nearest(unknown, names)
    advice = f"did you mean {near}?" if near else f"expected one of {', '.join(names)}"
    return f"{name}: has no option {shown(unknown)}; {advice}"
