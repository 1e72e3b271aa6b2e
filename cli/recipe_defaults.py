"""The text in the help for defaults that depend on the recipe: the value in the default recipe."""

from __future__ import annotations

from collections.abc import Callable

from impasto.cli.help import default_text
from impasto.defaults import DEFAULT_RECIPE
from impasto.recipe_files import recipe_data


def recipe_default(*path: str, lead: str = "the recipe's") -> Callable[[], str]:
    """Return a function that returns such a text. It reads the recipe's file only when it is called.

    Parameters
    ----------
    path
        The keys of the value in a recipe: ``"content", "weight"``.
    """

    def text() -> str:
        value: object = recipe_data(DEFAULT_RECIPE)
        for key in path:
            value = value[key] if isinstance(value, dict) else value
        return f"{lead}; {default_text(True, value)} for {DEFAULT_RECIPE}"

    return text
