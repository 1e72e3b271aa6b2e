"""The outputs of a run: the result and, if wished, a preview, pictures in between, a log and a checkpoint.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from impasto import figures, unfinished
from impasto.cli.job.writing import check_json, write
from impasto.cli.terminal.messages import say, warn
from impasto.defaults import PREVIEW_SECONDS
from impasto.runtime.errors import InputError, NameTaken, PictureError, SaveError
from impasto.runtime.pictures import encoding, photographs, places, planes
from impasto.runtime.pictures.photographs import Photograph
from impasto.runtime.pictures.places import Place
from impasto.runtime.plan.plan import Plan
from impasto.runtime.plan.plan_file import PlanFile
from impasto.runtime.run.checkpoint import Checkpoint, Checkpoints
from impasto.runtime.run.record import Origin, Record
from impasto.runtime.run.result import Result
from impasto.runtime.run.state import Callback, RunEnding, State, Step
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.run.watch import PREVIEW, SAVED, Log, Preview, Saves, together
from impasto.runtime.storage.names import are_same, identity, is_stream


@dataclass(frozen=True)
class Wishes:
    """The outputs that the user asks for; see the options of these names.

    Attributes
    ----------
    preview_seconds
        The seconds from one preview to the next.
    quiet
        Whether the command itself says what is written, and how to go on.
    replaceable
        Files that may be replaced, because they are the command's own.
    plan
        The file for the plan of the transfer.
    """

    output: Place | None = None
    triptych: Path | None = None
    preview: Path | None = None
    save_every: int | None = None
    log: Path | None = None
    checkpoint: Path | None = None
    resume: bool = False
    record: bool = True
    record_places: bool = False
    force: bool = False
    json: bool = False
    preview_seconds: float = PREVIEW_SECONDS
    quiet: bool = False
    replaceable: tuple[Place, ...] = ()
    plan: Path | None = None

    def read_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint to resume from, if there is one.

        Raises
        ------
        InputError
            When it cannot be used, or when there is one, but neither `resume` nor `force`.
        """
        if self.checkpoint is None:
            if self.resume:
                raise InputError("--resume: from what? name the checkpoint with --checkpoint")
            return None
        if identity(self.checkpoint) is None:
            if self.resume:
                say(f"no checkpoint {places.name(self.checkpoint)} yet: the run begins at its start")
            return None
        if self.resume:
            return Checkpoint.read(self.checkpoint)
        if not self.force:
            raise InputError(
                f"checkpoint {places.name(self.checkpoint)}: exists already; go on from it with --resume, or begin "
                "anew with --force"
            )
        return None

    def check(self, inputs: Sequence[Place], earlier: Checkpoint | None) -> None:
        """Refuse, before any work, outputs that could not be written, or would replace other files.

        Raises
        ------
        InputError
            One line that names the place.
        """
        if self.output is not None:
            check_json(self.output, self.json)
        if self.save_every is not None and self.output is not None and places.is_stream(self.output):
            raise InputError("--save-every: pictures are named after the result; name a file for that with --output")
        self._check_names()
        pictures = [place for place in (self.output, self.triptych) if place is not None]
        for place in pictures:
            encoding.check_output(place, force=self.may_replace(place, earlier), inputs=inputs)
        if self.preview:
            force = self.force or _is_preview(self.preview)
            encoding.check_output(self.preview, force=force, inputs=inputs, again=True)
        if self.log:
            places.check_destination(self.log, force=self.may_replace_log(earlier), inputs=inputs)
        if self.plan:
            places.check_destination(self.plan, force=self.may_replace_plan(), inputs=inputs)
        if self.checkpoint:  # `read_checkpoint` has refused one that must stay
            places.check_destination(self.checkpoint, force=True, inputs=inputs, again=True)

    def idle_options(self, evaluations: int) -> dict[str, str]:
        """Return the options that do nothing in a run of so many evaluations, as `impasto.runtime.run.idle` does."""
        idle = {} if self.record else {"record_places": "with --no-record"}
        if self.preview is None:
            idle["preview_every"] = "without --preview"
        if self.save_every is not None and self.save_every > evaluations:
            idle["save_every"] = f"in a run of {figures.evaluations(evaluations)}"
        return idle

    def write_plan(self, plan: Plan, content: Image.Image, style_crop: str | tuple[str, ...] | None) -> None:
        """Write a plan for a photograph, if that is wished for, and say so; `style_crop` is what was asked for.

        Raises
        ------
        SaveError
            When it cannot be written.
        """
        if self.plan is None:
            return
        text = PlanFile.of(plan, content, style_crop).to_toml()
        with places.replacing(self.plan, replace=self.may_replace_plan()) as file:
            file.write(text.encode())
        say(f"wrote {places.name(self.plan)}: the plan, for --plan")

    def may_replace(self, place: Place, earlier: Checkpoint | None) -> bool:
        """Whether a result that exists may be replaced."""
        return self.force or place in self.replaceable or _is_as_written(place, earlier)

    def may_replace_plan(self) -> bool:
        """Whether a plan that exists may be replaced: by the same command, that goes on."""
        return self.force or (self.resume and self.plan is not None and PlanFile.is_one(self.plan))

    def may_replace_log(self, earlier: Checkpoint | None) -> bool:
        """Whether a log that exists may be replaced, or continued."""
        if self.log is None or self.force or _is_log_of(self.log, earlier):
            return True
        return self.resume and earlier is None and Log.is_begun(self.log)

    def _check_names(self) -> None:
        """Refuse to write two outputs to one place."""
        for (label, path), (other, second) in itertools.combinations(self.files(), 2):
            if are_same(path, second):
                raise InputError(f"{label} {places.name(second)}: is also {other}; choose another name for one of them")

    def files(self) -> list[tuple[str, Path]]:
        """Return the outputs that are files with a name, each with its label in messages."""
        named = {"output": self.output, "the triptych": self.triptych, "the preview": self.preview}
        named |= {"the log": self.log, "the checkpoint": self.checkpoint, "the plan": self.plan}
        return [(label, Path(place)) for label, place in named.items() if place is not None and places.is_file(place)]


def _is_as_written(place: Place, earlier: Checkpoint | None) -> bool:
    """Whether a file is still as the interrupted run wrote it."""
    if earlier is None or not _is_regular(place):
        return False
    return (earlier.written or {}).get(str(Path(place).absolute())) == _hash(Path(place))


def _is_regular(place: Place) -> bool:
    """Whether a place is a file that can be read again."""
    return places.is_file(place) and Path(place).is_file() and not is_stream(Path(place))


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_preview(path: Path) -> bool:
    return _has_text(path, PREVIEW)


def _has_text(path: Path, keyword: str) -> bool:
    """Whether a file is a picture with a text of that keyword."""
    try:
        return _is_regular(path) and keyword in photographs.read_text(path)
    except (PictureError, OSError):
        return False


def _is_log_of(path: Path, earlier: Checkpoint | None) -> bool:
    return earlier is not None and earlier.log is not None and earlier.log.path == str(path.absolute())


class Ledger:
    """All outputs of one transfer: it writes them, during the run and after it, and knows what each may replace.

    Attributes
    ----------
    state
        The state to resume from, if the transfer has been interrupted.
    taken
        The errors that say which results had to be given another name.
    """

    def __init__(
        self,
        wishes: Wishes,
        transfer: Transfer,
        origin: Origin,
        earlier: Checkpoint | None = None,
    ) -> None:
        """Check the outputs; nothing is written yet.

        Parameters
        ----------
        origin
            Everything that the result depends on, but the plan.
        earlier
            The checkpoint to resume from.

        Raises
        ------
        InputError
            When the checkpoint is of another transfer, or a file would be lost.
        """
        self._wishes, self._transfer, self._origin = wishes, transfer, origin
        self._like = transfer.material.photograph  # all pictures get its colour profile, EXIF and transparency
        self._earlier = earlier
        self.state: State | None = None
        if earlier and wishes.checkpoint:
            earlier.check(transfer, origin, wishes.checkpoint)
            self.state = earlier.state
        self.taken: list[NameTaken] = []
        self._placed: dict[Place, Place] = {}
        self._saves = self._checked_saves()
        self._log: Log | None = None
        self._checkpoints: Checkpoints | None = None
        if wishes.log:
            Log.check(wishes.log, self._kept_log_bytes())

    def _checked_saves(self) -> Saves | None:
        every = self._wishes.save_every
        if every is None or self._wishes.output is None:
            return None
        resumed, force = self.state is not None, self._wishes.force
        saves = Saves(
            Path(self._wishes.output),
            every,
            like=self._like,
            text=self._text_at,
            may_replace=lambda path: force or (resumed and _has_text(path, SAVED)),
        )
        due = saves.due(self._transfer.plan.evaluations, after=self.state.evaluations if self.state else 0)
        names = {os.path.realpath(path) for path in due}
        for label, path in self._wishes.files():
            if os.path.realpath(path) in names:
                raise InputError(f"--save-every: {places.name(path)} is also {label}; choose another name for that")
        saves.check(
            due,
            inputs=[picture.place for picture in self._origin.inputs if picture.place is not None],
        )
        return saves

    def _kept_log_bytes(self) -> int:
        """Return the number of bytes of an earlier log that are kept."""
        log, earlier = self._wishes.log, self._earlier
        return earlier.log.position if log and earlier and earlier.log and _is_log_of(log, earlier) else 0

    def watch(self, report: Callback) -> Callback:
        """Open the log, and return a callback that writes the outputs of each evaluation, then calls `report`.

        Raises
        ------
        OutputError
            When the log cannot be written.
        """
        wishes, watchers = self._wishes, list[Callback]()
        if self._earlier and wishes.checkpoint:
            _announce_resumption(self._earlier, wishes.checkpoint, self._origin)
        if wishes.log:
            replace = wishes.may_replace_log(self._earlier)
            self._log = Log(wishes.log, self._kept_log_bytes(), replace=replace)
            if not are_same(self._log.path, wishes.log):
                self._placed[wishes.log] = self._log.path
            watchers.append(self._log)
        if wishes.checkpoint:  # after the log, whose length it notes
            written = self._earlier.written if self._earlier else None
            self._checkpoints = Checkpoints(
                wishes.checkpoint, self._transfer, self._origin, log=self._log, written=written
            )
            watchers.append(self._checkpoints)
        if self._saves:
            watchers.append(self._saves)
        if wishes.preview:
            watchers.append(Preview(wishes.preview, wishes.preview_seconds, like=self._like))
        return together(*watchers, report)

    def _text_at(self, _: Step) -> dict[str, str]:
        return self._text(None)

    def _text(self, image: Image.Image | None) -> dict[str, str]:
        """Return the record of the transfer in its present state, if that is wished for."""
        if not self._wishes.record:
            return {}
        return Record.of(self._transfer, self._origin, image, recorded_places=self._wishes.record_places).text

    def keep(self, result: Result) -> None:
        """Write the result and the triptych. Remove the checkpoint if the run has finished."""
        wishes, checkpoints = self._wishes, self._checkpoints
        saved = checkpoints is not None and checkpoints.save()  # first: there may be no room for the result
        try:
            if wishes.output:
                self._write(result.image, wishes.output, self._like, self._text(result.image))
            if wishes.triptych:
                content, painted = self._like.over_white(), result.photograph.over_white()
                self._write(planes.triptych(content, self._transfer.material.paintings, painted), wishes.triptych)
        except SaveError:
            if checkpoints and saved:
                say(f"nothing is lost: {places.name(checkpoints.path)} has it all for --resume")
            raise
        self.close()
        if checkpoints and result.finished:
            checkpoints.remove()
        elif checkpoints and checkpoints.save() and not wishes.quiet:
            timed_out = result.ending is RunEnding.TIME_OVER  # all parts count: the same limit would end it at once
            how = ", --resume and a longer --time-limit, or none" if timed_out else " and --resume"
            say(f"go on from {places.name(checkpoints.path)} with the same command{how}")

    def close(self) -> None:
        """Close the log: a transfer that has failed may be tried again, and its log goes on."""
        if self._log:
            self._log.close()

    def _write(
        self, picture: Image.Image, place: Place, like: Photograph | None = None, text: dict[str, str] | None = None
    ) -> None:
        """Write a result, and note it in the checkpoint without a break: a run resumed from there may replace it."""
        destination = place
        with unfinished.unbroken():
            try:
                write(
                    picture,
                    place,
                    like=like,
                    text=text,
                    replace=self._wishes.may_replace(place, self._earlier),
                    quiet=self._wishes.quiet,
                )
            except NameTaken as error:
                self.taken.append(error)
                self._placed[place] = destination = error.place
            if self._checkpoints and _is_regular(destination):
                self._checkpoints.written[str(Path(destination).absolute())] = _hash(Path(destination))
                self._checkpoints.save()

    def check_names(self) -> None:
        """Report results that had to be given another name.

        Raises
        ------
        NameTaken
            When there are any.
        """
        if self.taken:
            raise NameTaken("; ".join(map(str, self.taken)), self.taken[0].place)

    def describe(self) -> dict[str, Any]:
        """Return the outputs as ``--json`` prints them."""
        wishes = self._wishes
        return {
            "output": self._name(wishes.output),
            "triptych": self._name(wishes.triptych),
            "log": self._name(wishes.log),
            "resumed": list(self._transfer.state.resumed),
        }

    def _name(self, place: Place | None) -> str | None:
        """Return the name of the file that an output was written to."""
        return None if place is None else places.name(self._placed.get(place, place))


def _announce_resumption(earlier: Checkpoint, path: Path, origin: Origin) -> None:
    """Say after which evaluation a transfer is resumed, and which conditions have changed since."""
    state, plan = earlier.state, earlier.plan
    done, stages = state.evaluations, len(plan.stages)
    stage = f", stage {len(state.made)} of {stages}" if stages > 1 else ""
    adam = plan.optimizer_of(plan.stages[len(state.made) - 1]) == "adam"
    anew = "" if adam or state.reason else "; L-BFGS learns the curvature anew"
    say(f"resuming {places.name(path)} after evaluation {done} of {plan.evaluations}{stage}{anew}")
    if differences := earlier.origin.differences(origin):
        warn(f"running with {', '.join(differences)}: a rerun may not give the same bits")
