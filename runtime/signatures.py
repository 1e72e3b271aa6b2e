"""The parameters of functions for users: their documentation, and the error for one that does not exist.

A `TypedDict` names, types and describes the many options once. A function takes them as ``**options: Unpack[...]``.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from impasto.runtime.errors import OptionError
from impasto.text import nearest, shown

P = ParamSpec("P")
R = TypeVar("R")

#: Longer defaults are left out of the documentation, since the signature has them.
_LONGEST_DEFAULT = 20


def explained(
    *options: type[Any],
    defaults: Mapping[str, object] = MappingProxyType({}),
    like: Callable[..., object] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator of functions for users.

    The function then refuses wrong calls with an `OptionError`. Its signature names every option that it takes as
    ``**options``. Its docstring, in numpydoc's format, describes them, with type and default of each parameter.

    Parameters
    ----------
    options
        `TypedDict`s whose docstrings have a section of attributes.
    defaults
        The defaults of the options that are not None.
    like
        A function with the same parameters, whose docstring describes them.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = _with_options(inspect.signature(function), options, defaults)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise OptionError(_why(function.__qualname__, signature, error, kwargs)) from None
            return function(*args, **kwargs)

        call.__signature__ = signature  # type: ignore[attr-defined]
        doc = inspect.cleandoc(function.__doc__ or "")
        if like:
            summary, rest = doc.split("\n\n", 1)
            call.__doc__ = "\n\n".join([summary, section(like.__doc__ or "", "Parameters"), rest])
        else:
            call.__doc__ = documented(doc, options, signature)
        return call

    return decorate


def documented(doc: str, options: Sequence[type[Any]], signature: inspect.Signature) -> str:
    """Return a docstring with all options among its parameters, and type and default beside the name of each."""
    text = inspect.cleandoc(doc)
    if own := section(text, "Parameters"):
        attributes = (section(kind.__doc__ or "", "Attributes").split("\n", 2)[2] for kind in options)
        text = text.replace(own, "\n".join([own, *attributes]))
    return "\n".join(_with_type(line, signature) for line in text.splitlines())


def section(doc: str, title: str) -> str:
    """Return the text of a section of a docstring, its title included."""
    match = re.search(rf"^{title}\n-+\n.*?(?=\n\n\w+\n-+\n|\Z)", inspect.cleandoc(doc), re.DOTALL | re.MULTILINE)
    return match.group(0) if match else ""


def _with_options(
    signature: inspect.Signature, options: Sequence[type[Any]], defaults: Mapping[str, object]
) -> inspect.Signature:
    """Return a signature with every option in place of ``**options``."""
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    types: dict[str, Any] = {}
    for kind in options:
        inherited = {name for other in options if _extends(kind, other) for name in other.__annotations__}
        types |= {name: type_ for name, type_ in kind.__annotations__.items() if name not in inherited}
    more = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(name),
            annotation=getattr(type_, "__forward_arg__", type_),
        )
        for name, type_ in types.items()
    ]
    return signature.replace(parameters=[*own, *more])


def _extends(kind: type[Any], other: type[Any]) -> bool:
    """Whether a `TypedDict` has all keys of another one, and more; Python 3.11 does not say what it has inherited."""
    return kind.__annotations__.keys() > other.__annotations__.keys()


def _with_type(line: str, signature: inspect.Signature) -> str:
    parameter = signature.parameters.get(line)
    if parameter is None or parameter.annotation is inspect.Parameter.empty:
        return line
    annotation = parameter.annotation
    type_ = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    default = "" if parameter.default is inspect.Parameter.empty else repr(parameter.default)
    addition = f", default {default}" if 0 < len(default) <= _LONGEST_DEFAULT else ""
    return f"{line} : {type_}{addition}"


def _why(name: str, signature: inspect.Signature, error: TypeError, given: dict[str, object]) -> str:
    """Return the message for a wrong call: it names the first option that does not exist, and the nearest one."""
    names = [known for known in signature.parameters if known not in ("self", "cls")]
    unknown = next((option for option in given if option not in names), None)
    if unknown is None:
        many = "too many positional" in str(error)
        return f"{name}: {error}; expected {', '.join(names[:2])}, and all else by name" if many else f"{name}: {error}"
    near = nearest(unknown, names)
    advice = f"did you mean {near}?" if near else f"expected one of {', '.join(names)}"
    return f"{name}: has no option {shown(unknown)}; {advice}"
