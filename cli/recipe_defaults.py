"""What help says of defaults that are the recipe's: what the default recipe has there."""

from __future__ import annotations

from collections.abc import Callable

from impasto.cli.help import default_text
from impasto.defaults import DEFAULT_RECIPE
from impasto.recipe_files import recipe_data


def the_recipes(*path: str, among: str = "the recipe's") -> Callable[[], str]:
    """Return what tells such a default, when it is wanted: the file is read only then.

    Parameters
    ----------
    path
        Where the value stands in a recipe: ``"content", "weight"``.
    """

    def tell() -> str:
        found: object = recipe_data(DEFAULT_RECIPE)
        for key in path:
            found = found[key] if isinstance(found, dict) else found
        return f"{among}; {default_text(True, found)} for {DEFAULT_RECIPE}"

    return tell
