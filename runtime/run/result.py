"""What comes of a transfer: plain data, which can be pickled and sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from impasto import figures
from impasto.runtime.pictures import encoding
from impasto.runtime.pictures.photographs import Photograph
from impasto.runtime.plan.plan import Plan
from impasto.runtime.run import notebook
from impasto.runtime.run.record import Record
from impasto.runtime.run.state import RunEnding, Step


@dataclass(frozen=True, repr=False)
class Result:
    """A finished transfer: the picture with the lowest loss, and how it came about. A notebook shows the picture.

    Attributes
    ----------
    image
        8-bit sRGB, opaque; `save` gives it back what the photograph had.
    loss, terms
        Of that picture, before colours, strength and rounding to 8 bits.
    share
        What share of the start's loss that is: see `impasto.runtime.run.share.Share`.
    stage
        The number of the stage, from 1, that the picture is of. Its size is that of `evaluated`; where that is not the
        image's, the transfer ended before a finer stage, and the image is enlarged as it would have been for that.
    evaluated
        (width, height), in pixels, of the picture whose loss it is.
    evaluations
        How many were made, every one counted.
    reason
        Why the optimisation ended.
    ending
        The same, as a value.
    history
        Every evaluation.
    seconds
        Time spent, the setting up of each stage included.
    optimizer_seconds
        What the optimiser took of it between evaluations; nothing of what came before a resumption.
    device, lowering
        Where it ran, ``cpu`` or ``cuda:N``, and in which form.
    plan
        What was done, with the evaluations as they were made: carrying it out again gives the same picture.
    photograph
        The image again, with what `save` gives back to it: the photograph's colour profile, metadata and transparency.
    record
        How the picture came about, and from where its inputs came; `save` writes it.
    """

    image: Image.Image
    loss: float
    terms: dict[str, float]
    share: float
    stage: int
    evaluated: tuple[int, int]
    evaluations: int
    reason: str
    ending: RunEnding
    history: tuple[Step, ...]
    seconds: float
    optimizer_seconds: float
    device: str
    lowering: str
    plan: Plan
    photograph: Photograph
    record: Record

    @property
    def finished(self) -> bool:
        """Whether it ended by itself, rather than by a callback, the time limit, an interrupt or a failure."""
        return self.ending is RunEnding.FINISHED

    def save(self, place: str | Path, *, force: bool = False, record: bool = True, record_places: bool = False) -> None:
        """Write the picture as ``impasto stylize`` does: as PNG or JPEG by its name, whole or not at all.

        It gets the photograph's colour profile, metadata and, as PNG, transparency; see
        `impasto.runtime.pictures.encoding.write_picture`.

        Parameters
        ----------
        place
            A name that ends in .png, .jpg or .jpeg.
        force
            Whether a file that is there may be replaced. The transfer's own inputs never are.
        record
            Whether to write into it how it was made, for ``impasto info`` and ``impasto rerun``.
        record_places
            Whether that says in which folders the inputs and the model lay, rather than their names only.

        Raises
        ------
        OutputError
            When it cannot be written there, or something would be lost.
        NameTaken
            When another program has just taken the name: the picture is in another file beside it.
        SaveError
            When writing fails, for want of space for instance; whatever was there is still there.
        """
        inputs = [given.place for given in self.record.origin.inputs if given.place is not None]
        encoding.check_output(place, force=force, inputs=inputs)
        written = self.record if record_places else self.record.named()
        text = written.text if record else {}
        encoding.write_picture(self.image, place, like=self.photograph, text=text, replace=force)

    def __repr__(self) -> str:
        width, height = self.image.size
        loss = figures.loss(self.loss, self.share)
        return f"<Result {width}x{height}, {loss} after {figures.evaluations(self.evaluations)}: {self.reason}>"

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows: the picture over white, made smaller where it is large."""
        return notebook.encoded(self.photograph.over_white(), notebook.RESULT_SIDE, "PNG")
