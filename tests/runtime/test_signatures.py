"""Functions for users say what they take: in their documentation, and when something else is given."""

from __future__ import annotations

import inspect

import pytest

from impasto.runtime.errors import OptionError
from impasto.runtime.signatures import documented, explained, section


@explained()
def paint(content: str, styles: list[str], *, evaluations: int | None = None, style_weight: float = 1.0) -> str:
    """Paint.

    Parameters
    ----------
    content
        The photograph, of any
        size
    styles
        The paintings.
    evaluations
        How many.
    style_weight
        Of the styles.

    Raises
    ------
    OptionError
        Always.
    """
    return f"{content} {styles} {evaluations} {style_weight}"


def test_a_call_that_fits_is_made() -> None:
    assert paint("a", ["b"], evaluations=3) == "a ['b'] 3 1.0"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"evalutions": 5}, "paint: has no option 'evalutions'; did you mean evaluations?"),
        ({"Evaluations": 5}, "paint: has no option 'Evaluations'; did you mean evaluations?"),
        ({"style_wieght": 5}, "paint: has no option 'style_wieght'; did you mean style_weight?"),
        ({"style": ["c"]}, "paint: has no option 'style'; did you mean styles?"),
        ({"qqq": 5}, "paint: has no option 'qqq'; expected one of content, styles, evaluations, style_weight"),
    ],
)
def test_an_unknown_option_names_the_function_and_the_nearest_option(options: dict[str, object], told: str) -> None:
    with pytest.raises(OptionError) as refused:
        paint("a", ["b"], **options)  # type: ignore[arg-type]
    assert str(refused.value) == told
    assert isinstance(refused.value, TypeError)


def test_what_is_missing_or_too_much_is_told() -> None:
    with pytest.raises(OptionError, match=r"^paint: missing a required argument: 'styles'$"):
        paint("a")  # type: ignore[call-arg]
    with pytest.raises(OptionError, match=r"^paint: too many positional arguments; expected content, styles, and all"):
        paint("a", ["b"], 3)  # type: ignore[call-arg]


def test_a_type_error_of_the_functions_own_stays_one() -> None:
    @explained()
    def fail() -> None:
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$") as raised:
        fail()
    assert not isinstance(raised.value, OptionError)


def test_the_documentation_has_types_and_defaults_of_the_signature() -> None:
    assert paint.__doc__ is not None
    assert "\ncontent : str\n    The photograph, of any\n    size\n" in paint.__doc__
    assert "\nevaluations : int | None, default None\n" in paint.__doc__
    assert "\nstyle_weight : float, default 1.0\n" in paint.__doc__
    assert section(paint.__doc__, "Raises") == "Raises\n------\nOptionError\n    Always."
    assert section(paint.__doc__, "Parameters").endswith("Of the styles.")
    assert section(paint.__doc__, "Notes") == ""


def test_what_has_no_type_is_left_as_it_is() -> None:
    def plain(size=3):  # type: ignore[no-untyped-def]
        return size

    assert documented("Size.\n\nsize\n    In pixels.", (), inspect.signature(plain)) == "Size.\n\nsize\n    In pixels."
