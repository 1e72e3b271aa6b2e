"""A transfer, from the options that commands share.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from impasto.cli.terminal.messages import say
from impasto.export.provision import add_missing
from impasto.runtime.pictures.photographs import Photograph
from impasto.runtime.pictures.places import Place
from impasto.runtime.run.prepare import draft
from impasto.runtime.run.transfer import Transfer


def drafted(content: Place, styles: Sequence[Place], choices: Mapping[str, Any], *, dry: bool = False) -> Transfer:
    """Read the pictures of a transfer, and plan it; then add its recipe to the model, if it is lacking there.

    Parameters
    ----------
    choices
        What `impasto.cli.transfer_options.transfer_options` returns, with the folder of the model.
    dry
        Whether the model is left as it is.

    Raises
    ------
    InputError
        When a picture or an option cannot be used.
    """
    photograph, *paintings = (Photograph.given(picture, "picture") for picture in (content, *styles))
    transfer = draft(photograph, paintings, **choices)
    if not dry:
        add_missing(Path(transfer.model), [transfer.plan.recipe.name], say)  # last, when everything else is checked
    return transfer
