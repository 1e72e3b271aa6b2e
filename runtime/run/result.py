"""The result of a transfer: plain data, which can be pickled and sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from impasto import figures
from impasto.runtime.model.graphs import SINGLE, WORDS
from impasto.runtime.pictures import encoding
from impasto.runtime.pictures.photographs import Photograph
from impasto.runtime.plan.plan import Plan
from impasto.runtime.run import notebook
from impasto.runtime.run.record import Record
from impasto.runtime.run.state import RunEnding, Step


@dataclass(frozen=True, repr=False)
class Result:
    """A transfer that has ended: the picture with the lowest loss, and its history. A notebook shows the picture.

    Attributes
    ----------
    image
        The picture, 8-bit sRGB, opaque; `save` adds the photograph's profile, metadata and transparency.
    loss, terms
        The loss of that picture and its terms, before colours, strength and rounding to 8 bits. If the evaluations were
        less precise than float32, these are evaluated once more, in float32, at the end.
    loss_precision
        The precision of this loss and its terms: ``fp32``; or that of the evaluations, if the transfer has failed or
        was stopped, or if the loss could not be evaluated in float32.
    share
        The share of the start's loss that is left: see `impasto.runtime.run.share.Share`.
    stage
        The number of the picture's stage, from 1. The picture of that stage has the size `evaluated`. When this is not
        the size of the image, the transfer ended before a finer stage, and the image is enlarged as for that stage.
    evaluated
        (width, height), in pixels, of the picture that has this loss.
    evaluations
        The number of all evaluations.
    reason
        Why the optimisation ended, in words.
    ending
        The same, as a value.
    history
        Every evaluation; their losses are of the evaluations' `precision`, and so is the `share`.
    seconds
        The time of the transfer, with opening the graphs of each stage.
    optimizer_seconds
        The optimiser's part of it, between evaluations, since the last resumption.
    device, lowering, precision
        The device, such as ``cpu`` or ``cuda:0``, the form of the graphs, and the precision of the evaluations.
    tile
        The side of the tiles of the last stage that was evaluated in tiles, in pixels, as the network's grid rounds it;
        None if all stages were evaluated whole.
    plan
        The executed plan: the evaluations as they were made. Carrying it out again gives the same picture.
    photograph
        The image with the photograph's colour profile, metadata and transparency.
    record
        The history of the picture and its inputs; `save` writes it.
    """

    image: Image.Image
    loss: float
    terms: dict[str, float]
    loss_precision: str
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
    precision: str
    tile: int | None
    plan: Plan
    photograph: Photograph
    record: Record

    @property
    def finished(self) -> bool:
        """Whether it ended by itself, rather than by a callback, the time limit, an interrupt or a failure."""
        return self.ending is RunEnding.FINISHED

    @property
    def loss_text(self) -> str:
        """The loss with its noun and its share of the start's, and its precision where the evaluations had less."""
        return figures.loss(self.loss, self.share, "" if self.precision == SINGLE else WORDS[self.loss_precision])

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
            Whether that names the folders of the inputs and the model, too, rather than their file names only.

        Raises
        ------
        OutputError
            When it cannot be written there, or would replace a file that must stay.
        NameTaken
            When another program has just taken the name; the picture is then in another file beside it.
        SaveError
            When writing fails, on a full disk for instance; a file that was there before is unchanged.
        """
        inputs = [given.place for given in self.record.origin.inputs if given.place is not None]
        encoding.check_output(place, force=force, inputs=inputs)
        written = self.record if record_places else self.record.named()
        text = written.text if record else {}
        encoding.write_picture(self.image, place, like=self.photograph, text=text, replace=force)

    def __repr__(self) -> str:
        width, height = self.image.size
        return (
            f"<Result {width}x{height}, {self.loss_text} after {figures.evaluations(self.evaluations)}: {self.reason}>"
        )

    def _repr_png_(self) -> bytes:
        """Return the picture that a notebook shows: over white, and made smaller if it is large."""
        return notebook.encoded(self.photograph.over_white(), notebook.RESULT_SIDE, "PNG")
