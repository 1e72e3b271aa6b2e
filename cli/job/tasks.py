"""The tasks of a batch: which photograph with which paintings, and into which files.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from impasto.cli.job.listing import Listed
from impasto.cli.job.naming import Named, Template, check_template
from impasto.cli.job.outputs import Wishes
from impasto.cli.transfer_options import further_inputs
from impasto.runtime.errors import InputError, OutputError
from impasto.runtime.pictures import encoding, places
from impasto.runtime.pictures.places import Place
from impasto.runtime.storage import names

#: The options of a transfer without masks.
NO_MASKS: Mapping[str, Any] = {"content_mask": None, "style_masks": None, "protect": None}


@dataclass(frozen=True)
class Task:
    """One picture of a batch: what it is made from, and its files.

    Attributes
    ----------
    named
        Its photograph and paintings.
    root
        The folder that the photograph was found in, if the user has named a folder.
    wishes
        Its outputs; of these, `output` is a path.
    masks
        The masks of its photograph and paintings, as options of a transfer.
    init
        The start: a name, or a picture.
    """

    named: Named
    root: Path | None
    wishes: Wishes
    masks: Mapping[str, Any]
    init: str | None = None

    @property
    def output(self) -> Path:
        """The file of the result."""
        return Path(self.wishes.output or "")

    @property
    def pictures(self) -> list[Place]:
        """The places of its photograph and its paintings."""
        return [self.named.content, *self.named.styles]

    @property
    def inputs(self) -> list[Place]:
        """The places of all that is read for it."""
        return [*self.pictures, *further_inputs({"init": self.init, **NO_MASKS, **self.masks})]

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
        raise InputError("--pairs: gives each photograph one painting; leave it out to blend several")
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
    content_mask, protect
        Templates for the photographs' masks; of regions also a colour.
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
    protect: str | None = None

    def __post_init__(self) -> None:
        if self.content_mask is not None:
            check_template(self.content_mask, "--content-mask")
        if self.protect is not None:
            check_template(self.protect, "--protect")

    def tasks(
        self,
        folder: Path,
        pictures: Sequence[tuple[Listed, tuple[int, ...]]],
        styles: Sequence[str],
        wishes: Wishes,
        *,
        recipe: str,
        init: str | None = None,
    ) -> list[Task]:
        """Return the tasks whose results go into a folder. `wishes` has the outputs that all have in common.

        Raises
        ------
        InputError
            When two files would have one name, there is not one mask for each painting, or a picture that is read
            more than once is a stream.
        """
        masks = {"content_mask": self.content_mask, "style_masks": self.style_masks, "protect": self.protect}
        given = {"init": init, **masks}
        for place in (*styles, *further_inputs(given)):
            if places.is_stream(place):
                raise InputError(
                    f"picture {places.name(place)}: can be read but once; expected a file, for many pictures"
                )
        if self.style_masks and len(self.style_masks) != len(styles):
            raise InputError(f"--style-mask: given {len(self.style_masks)} times for {len(styles)} paintings")
        all_named = [
            Named(photograph.place, tuple(styles[k] for k in own), recipe, photograph.folder, number)
            for number, (photograph, own) in enumerate(pictures, 1)
        ]

        def paths(text: str | None, option: str) -> list[Path] | list[None]:
            return [None] * len(all_named) if text is None else Template(text, option).paths(folder, all_named)

        files = zip(
            paths(self.output, "--name"), paths(self.triptych, "--triptych"), paths(self.log, "--log"), strict=True
        )
        return [
            Task(
                named,
                photograph.root,
                replace(wishes, output=output, triptych=triptych, log=log),
                dict(self._masks(named, own)),
                init,
            )
            for named, (photograph, own), (output, triptych, log) in zip(all_named, pictures, files, strict=True)
        ]

    def _masks(self, named: Named, styles: Sequence[int]) -> Iterator[tuple[str, Any]]:
        """Yield the options of a transfer for the masks of a photograph and its paintings."""
        if self.content_mask is not None:
            yield "content_mask", self.content_mask.format(**named.raw)
        if self.protect is not None:
            yield "protect", self.protect.format(**named.raw)
        if self.style_masks:
            yield "style_masks", [self.style_masks[k] for k in styles]


def check(tasks: Sequence[Task], others: Mapping[Path, bool], *, recursive: bool) -> None:
    """Refuse, before any work, names that no picture has, and files that would replace an input, or each other.

    Whether a result may replace a file is not looked at here.

    Parameters
    ----------
    others
        Outputs of all tasks together, and whether an existing file may be replaced.
    recursive
        Whether folders of folders were searched for photographs.

    Raises
    ------
    OutputError
        One line that names the file.
    """
    inputs = {os.path.realpath(place): place for task in tasks for place in task.inputs if places.is_file(place)}
    common = [path for path in (tasks[0].wishes.preview, *others) if path]
    taken = set[str]()
    for path in (*(path for task in tasks for path in task.files), *common):
        real = os.path.realpath(path)
        if real in inputs:
            raise OutputError(f"output {places.name(path)}: is one of the pictures to be read; choose another name")
        if real in taken:
            raise OutputError(f"output {places.name(path)}: is wanted for two files; choose another name for one")
        if (long := names.length(path.name)) > _LONGEST_NAME:
            raise OutputError(f"output {places.name(path)}: its name is {long} bytes long; choose a shorter --name")
        taken.add(real)
    pictures = [path for task in tasks for path in (task.output, task.wishes.triptych) if path]
    check_formats([*pictures, *([tasks[0].wishes.preview] if tasks[0].wishes.preview else [])])
    _check_folders({path.parent for path in (*pictures, *common)}, {task.root for task in tasks}, recursive=recursive)
    for path, force in others.items():
        places.check_destination(path, force=force, inputs=[*inputs.values()])


#: The longest name of a file, in bytes: a result has one more ending while it is written.
_LONGEST_NAME = 230


def check_formats(paths: Iterable[Path]) -> None:
    """Refuse names of pictures in no format that is written.

    Raises
    ------
    OutputError
        One line that names the file.
    """
    for path in paths:
        if path.suffix.lower() not in encoding.FORMATS:
            raise encoding.unknown_format(path)


def _check_folders(outputs: Iterable[Path], roots: Iterable[Path | None], *, recursive: bool) -> None:
    """Refuse pictures in a folder that photographs are taken from: the next run would take them for such."""
    for root, output in product({root.resolve() for root in roots if root}, {path.resolve() for path in outputs}):
        if output == root or (recursive and root in output.parents):
            raise OutputError(f"output {output}: lies among the photographs in {root}; choose another folder")
