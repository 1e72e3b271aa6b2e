"""The tasks of a batch: which photograph with which paintings, and into which files.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from impasto.cli.job.listing import Listed
from impasto.cli.job.naming import Named, Template
from impasto.cli.job.outputs import Wishes
from impasto.runtime.errors import InputError, OutputError
from impasto.runtime.pictures import encoding, masks, places
from impasto.runtime.pictures.places import Place


@dataclass(frozen=True)
class Task:
    """One picture of a batch: what it is made from, and its files.

    Attributes
    ----------
    named
        Its photograph and paintings.
    output
        The file of the result.
    wishes
        All outputs.
    masks
        The masks of its photograph and paintings, as options of a transfer.
    """

    named: Named
    output: Path
    wishes: Wishes
    masks: Mapping[str, Any]

    @property
    def inputs(self) -> list[Place]:
        """The places of its pictures."""
        return [self.named.content, *self.named.styles]

    @property
    def files(self) -> list[Path]:
        """Its outputs that have a name of their own."""
        return [path for path in (self.output, self.wishes.triptych, self.wishes.log) if path]


def combined(
    listed: Sequence[Listed], styles: Sequence[str], *, pairs: bool, blended: bool
) -> list[tuple[Listed, tuple[int, ...]]]:
    """Return each photograph with the numbers of its paintings, from 0: each with all in turn, by default.

    Raises
    ------
    InputError
        When they do not go together.
    """
    if pairs and blended:
        raise InputError("--pairs: gives each photograph one painting, and --blended all; leave one of the two out")
    if pairs:
        if len(listed) != len(styles):
            raise InputError(f"--pairs: {len(listed)} photographs and {len(styles)} paintings; expected as many")
        return [(photograph, (number,)) for number, photograph in enumerate(listed)]
    if blended:
        return [(photograph, tuple(range(len(styles)))) for photograph in listed]
    return [(photograph, (number,)) for photograph, number in product(listed, range(len(styles)))]


@dataclass(frozen=True)
class Naming:
    """How the files of tasks are named, and the masks found.

    Attributes
    ----------
    output, triptych, log
        Templates for files among the results; None for those that are not wished for.
    content_mask
        A colour, or a template for the photographs' masks.
    style_masks
        A mask for each painting.

    Raises
    ------
    InputError
        When a template cannot be used.
    """

    output: str
    triptych: str | None = None
    log: str | None = None
    content_mask: str | None = None
    style_masks: Sequence[str] | None = None

    def tasks(
        self,
        folder: Path,
        pictures: Sequence[tuple[Listed, tuple[int, ...]]],
        styles: Sequence[str],
        recipe: str,
        wishes: Wishes,
    ) -> list[Task]:
        """Return the tasks whose results go into a folder. `wishes` has the outputs that all have in common.

        Raises
        ------
        InputError
            When two files would have one name, or there is not one mask for each painting.
        """
        if self.style_masks and len(self.style_masks) != len(styles):
            raise InputError(f"--style-mask: given {len(self.style_masks)} times for {len(styles)} paintings")
        all_named = [
            Named(photograph.place, tuple(styles[k] for k in own), recipe, photograph.folder, number)
            for number, (photograph, own) in enumerate(pictures, 1)
        ]
        files = {
            key: Template(text, option).paths(folder, all_named)
            for key, text, option in (
                ("output", self.output, "--name"), ("triptych", self.triptych, "--triptych"), ("log", self.log, "--log")
            )
            if text is not None
        }  # fmt: skip
        return [
            Task(
                named,
                files["output"][k],
                replace(
                    wishes,
                    output=files["output"][k],
                    triptych=files["triptych"][k] if self.triptych else None,
                    log=files["log"][k] if self.log else None,
                ),
                dict(self._masks(named, own)),
            )
            for k, (named, (_, own)) in enumerate(zip(all_named, pictures, strict=True))
        ]

    def _masks(self, named: Named, styles: Sequence[int]) -> Iterator[tuple[str, Any]]:
        """Yield the options of a transfer for the masks of a photograph and its paintings."""
        mask = self.content_mask
        if mask is not None:
            template = Template(mask, "--content-mask", anywhere=True)
            yield "content_mask", mask if masks.is_color(mask) else str(template.path(Path(), named))
        if self.style_masks:
            yield "style_masks", [self.style_masks[k] for k in styles]


def check(tasks: Sequence[Task], others: Mapping[Path, bool]) -> None:
    """Refuse, before any work, names that no picture has, and files that would replace an input, or each other.

    Whether a result may replace a file is not looked at here.

    Parameters
    ----------
    others
        Outputs of all tasks together, and whether an existing file may be replaced.

    Raises
    ------
    OutputError
        One line that names the file.
    """
    inputs = {os.path.realpath(place): place for task in tasks for place in task.inputs if places.is_file(place)}
    first = tasks[0]
    for path in (first.output, first.wishes.triptych, first.wishes.preview):
        if path and path.suffix.lower() not in encoding.FORMATS:
            expected = f"expected a name ending in {', '.join(encoding.FORMATS)}"
            raise OutputError(f"output {places.name(path)}: unknown format {path.suffix!r}; {expected}")
    taken = set[str]()
    common = [path for path in (first.wishes.preview, *others) if path]
    for path in (*(path for task in tasks for path in task.files), *common):
        real = os.path.realpath(path)
        if real in inputs:
            raise OutputError(f"output {places.name(path)}: is one of the pictures to be read; choose another name")
        if real in taken:
            raise OutputError(f"output {places.name(path)}: is wanted for two files; choose another name for one")
        taken.add(real)
    for path, force in others.items():
        places.check_destination(path, force=force, inputs=[*inputs.values()])
