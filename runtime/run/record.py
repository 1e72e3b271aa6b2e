"""The record of a transfer: how a picture came about, kept in the picture, so that it can be made again.

Of a place it keeps a name only, unless more is wished for, and never what in an address may be secret. A record that is
read may be a stranger's: it is refused where it is not as `Record.to_json` writes it, and nothing that it names is
opened here.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

import impasto
from impasto.runtime.engine.library import import_onnxruntime
from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.engine.placement import Placement
from impasto.runtime.errors import InputError
from impasto.runtime.machine import processors
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.pictures import places
from impasto.runtime.pictures.masks import CONTENT_MASK, STYLE_MASK, is_color
from impasto.runtime.pictures.photographs import read_text
from impasto.runtime.pictures.places import Place
from impasto.runtime.plan.plan import PICTURE, Plan
from impasto.runtime.plan.terms import TERMS
from impasto.runtime.storage import codec
from impasto.text import shown
from impasto.wording import option

if TYPE_CHECKING:
    from impasto.runtime.run.transfer import Transfer

#: Under what the record stands in a picture; and what `impasto mix` has done with the picture since, as JSON.
KEYWORD, MIXED = "impasto", "impasto mix"

#: Raised whenever a reader of older records would be misled.
FORMAT = 1

#: The packages whose versions may change the last bits of a result, beside impasto itself and onnxruntime.
_PACKAGES = ("numpy", "scipy", "pillow")

#: The roles of inputs -> how many there may be of each.
_ROLES: Mapping[str, tuple[int, int]] = {
    "content": (1, 1), "style": (1, 1000), "init": (0, 1), CONTENT_MASK: (0, 1), STYLE_MASK: (0, 1000)
}  # fmt: skip


def digest(image: Image.Image) -> str:
    """Return the SHA-256 of the pixels of an 8-bit RGB picture, row by row."""
    return hashlib.sha256(image.tobytes()).hexdigest()


@dataclass(frozen=True)
class Input:
    """A picture that a result depends on.

    Attributes
    ----------
    role
        What it was for: ``content``, ``style``, ``init`` and so on; several of one role stand in their order.
    place
        Where it came from: a file's absolute path, an address without its secrets, ``-``; None for an array or image.
        Of a mask of one colour, that colour. In a record, the name of that; see `named`.
    width, height, sha256
        Its size in pixels, and their `digest`.
    """

    role: str
    place: str | None
    width: int
    height: int
    sha256: str

    @classmethod
    def of(cls, role: str, image: Image.Image, place: Place | None) -> Input:
        """Describe a picture; `place` is where it came from, as the user named it."""
        found = None if place is None else str(place)
        if place is not None and not is_color(place):
            found = str(Path(place).absolute()) if places.is_file(place) else places.name(place)
        return cls(role, found, image.width, image.height, digest(image))

    def __post_init__(self) -> None:
        if self.role not in _ROLES:
            raise codec.Misfit(f"role is {shown(self.role)}; expected one of {', '.join(_ROLES)}")
        if min(self.width, self.height) < 1:
            raise codec.Misfit(f"{self.role} is of {self.width}x{self.height} pixels; expected 1x1 or more")
        codec.check_sha256(self.sha256, f"{self.role}.sha256")

    @property
    def color(self) -> str | None:
        """The colour that a mask is all of, if it is no picture."""
        return self.place if self.role in (CONTENT_MASK, STYLE_MASK) and is_color(self.place) else None

    @property
    def name(self) -> str | None:
        """The name of the file, without its folder; of an address what comes last in its path; None if unknown."""
        place = self.place
        if place is None or place == places.STREAM or self.color:
            return None
        if places.is_url(place):
            place = place.partition("://")[2].partition("/")[2].removesuffix("?...")
        return _last(place) or None

    def named(self) -> Input:
        """Return the input with its name for its place."""
        return self if self.color or self.place == places.STREAM else replace(self, place=self.name)

    def is_same(self, image: Image.Image) -> bool:
        """Whether a picture has the same pixels."""
        return (self.width, self.height, self.sha256) == (*image.size, digest(image))


def _last(path: str) -> str:
    """Return the last part of a path of any system's."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


@dataclass(frozen=True)
class Model:
    """The model folder that was used, and what its graphs say of themselves.

    Attributes
    ----------
    place
        Its absolute path; in a record, its name.
    """

    place: str
    network: str
    exporter: str
    weights_sha256: str
    random_weights: bool

    def __post_init__(self) -> None:
        codec.check_sha256(self.weights_sha256, "weights_sha256")

    @classmethod
    def of(cls, folder: str | Path, metadata: Metadata) -> Model:
        """Describe a model folder by the metadata of one of its graphs."""
        path = os.path.abspath(folder)  # noqa: PTH100  # a link keeps its name, and ".." goes
        return cls(path, metadata.network, metadata.exporter, metadata.weights_sha256, metadata.random_weights)


@dataclass(frozen=True)
class Machine:
    """What a transfer ran on.

    Attributes
    ----------
    processor, cpus
        The name of the processor, and how many of them the process may use.
    versions
        Of Python, impasto and what it computes with.
    """

    processor: str
    cpus: int
    versions: dict[str, str]

    @classmethod
    def here(cls) -> Machine:
        """Describe this machine."""
        versions = {"python": platform.python_version(), "impasto": impasto.__version__}
        versions["onnxruntime"] = str(import_onnxruntime().__version__)
        for name in _PACKAGES:
            try:
                versions[name] = version(name)
            except PackageNotFoundError:  # put there by something other than an installer
                versions[name] = "unknown"
        return cls(processors.name(), processors.usable(), versions)


@dataclass(frozen=True)
class Origin:
    """All that a result depends on, but the plan.

    Attributes
    ----------
    placement
        Where and how it was to run; in a `Record`, where and how it ran.
    """

    inputs: tuple[Input, ...]
    model: Model
    placement: Placement
    machine: Machine

    @classmethod
    def of(cls, transfer: Transfer, where: Mapping[str, Sequence[Place | None]] | None = None) -> Origin:
        """Describe what a transfer depends on.

        Parameters
        ----------
        where
            Where its pictures came from, by role, in their order; as far as it knows itself, by default.

        Raises
        ------
        InputError
            When the model will not do.
        """
        material = transfer.material
        left = {role: list(given) for role, given in (material.places if where is None else where).items()}
        inputs = tuple(
            Input.of(role, image, left[role].pop(0) if left.get(role) else None) for role, image in material.inputs
        )
        return cls(inputs, Model.of(transfer.model, transfer.metadata), transfer.placement, Machine.here())

    def __post_init__(self) -> None:
        roles = [picture.role for picture in self.inputs]
        for role, (least, most) in _ROLES.items():
            if not least <= roles.count(role) <= most:
                raise codec.Misfit(f"inputs has {roles.count(role)} of the role {role}; expected {least} to {most}")
        if (masks := roles.count(STYLE_MASK)) != (roles.count("style") if CONTENT_MASK in roles else 0):
            raise codec.Misfit(f"inputs has {masks} of the role {STYLE_MASK}; expected one for each style, or no masks")

    def named(self) -> Origin:
        """Return the origin with names in place of where things lay."""
        inputs = tuple(picture.named() for picture in self.inputs)
        return replace(self, inputs=inputs, model=replace(self.model, place=_last(self.model.place)))

    def differences(self, other: Origin) -> list[str]:
        """Say where another origin, of the same pictures, may lead to other pixels."""
        mine, theirs = self.machine, other.machine
        found = [
            f"{name} {theirs.versions.get(name, 'unknown')} instead of {own}"
            for name, own in mine.versions.items()
            if name != "python" and theirs.versions.get(name) != own
        ]
        if mine.processor != theirs.processor:
            found.append(f"processor {theirs.processor} instead of {mine.processor}")
        if self.model.weights_sha256 != other.model.weights_sha256:
            found.append(f"other weights in {other.model.place}")
        elif self.model.exporter != other.model.exporter:
            found.append(f"graphs by {other.model.exporter} instead of {self.model.exporter}")
        own, given = asdict(self.placement), asdict(other.placement)
        harmless = {"low_memory", *(["cuda"] if self.placement.device == other.placement.device == "cpu" else [])}
        found += [
            f"{key} {_say(given[key])} instead of {_say(own[key])}"
            for key in own
            if own[key] != given[key] and key not in harmless
        ]
        if self.placement.threads is other.placement.threads is None and mine.cpus != theirs.cpus:
            found.append(f"{theirs.cpus} processors instead of {mine.cpus}")
        return found


def _say(value: object) -> str:
    return "by default" if value is None else str(value)


@dataclass(frozen=True)
class Outcome:
    """What came of a transfer.

    Attributes
    ----------
    loss, terms
        Of the picture, before colours, strength and rounding to 8 bits.
    evaluations
        How many were made.
    reason
        Why it ended.
    resumed
        After how many evaluations it was resumed, having been interrupted.
    seconds, date
        How long it took, and when it ended, in UTC (ISO 8601).
    sha256
        The `digest` of the picture.
    share
        What the loss is of the start's: see `impasto.runtime.run.share.Share`. Older records do not say.
    """

    loss: float
    terms: dict[str, float]
    evaluations: int
    reason: str
    resumed: tuple[int, ...]
    seconds: float
    date: str
    sha256: str
    share: float | None = None

    def __post_init__(self) -> None:
        codec.check_sha256(self.sha256, "outcome.sha256")
        if self.share is not None and not 0 <= self.share <= 1:
            raise codec.Misfit(f"outcome.share is {shown(self.share)}; expected 0 to 1")


@dataclass(frozen=True)
class Record:
    """How a picture came about: carrying out the plan on the same inputs makes it again.

    Attributes
    ----------
    plan
        What was done, with the evaluations as they were made.
    origin
        What it was done with.
    outcome
        What came of it.
    mixed
        What `impasto mix` has done since with the picture that the record was read from; carrying out the plan does
        not.
    """

    plan: Plan
    origin: Origin
    outcome: Outcome
    mixed: str | None = field(default=None, metadata=codec.BESIDE)

    def __post_init__(self) -> None:
        styles, start = len(self.inputs("style")), self.inputs("init")
        if len(self.plan.blend) != styles:
            raise codec.Misfit(f"plan.blend has {len(self.plan.blend)} shares for {styles} styles")
        if bool(start) != (self.plan.init == PICTURE):
            raise codec.Misfit(f"plan.init is {self.plan.init}, with {len(start)} pictures to start from")

    @classmethod
    def of(
        cls, transfer: Transfer, origin: Origin, image: Image.Image | None = None, *, recorded_places: bool = False
    ) -> Record:
        """Describe where a transfer stands, or how it has ended.

        Parameters
        ----------
        image
            Its picture, if that is made already.
        recorded_places
            Keep where inputs and model lay, rather than their names only.
        """
        state = transfer.state
        outcome = Outcome(
            loss=state.loss,
            terms=state.terms,
            evaluations=state.evaluations,
            reason=state.reason or f"under way: evaluation {state.evaluations} of {transfer.plan.evaluations}",
            resumed=state.resumed,
            seconds=round(state.seconds, 3),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            sha256=digest(image or transfer.picture()),
            share=state.share,
        )
        placement = replace(origin.placement, device=state.device, lowering=state.lowering)
        made_by = cls(transfer.made_plan(), replace(origin, placement=placement), outcome)
        return made_by if recorded_places else made_by.named()

    def named(self) -> Record:
        """Return the record with names in place of where things lay."""
        return replace(self, origin=self.origin.named())

    @property
    def text(self) -> dict[str, str]:
        """What `impasto.runtime.pictures.encoding.write_picture` is to write into the picture."""
        return {KEYWORD: self.to_json()}

    def to_json(self) -> str:
        """Return the record as JSON; `from_json` reads it back."""
        return codec.to_json(self, FORMAT)

    @classmethod
    def from_json(cls, text: str, where: str) -> Record:
        """Read back what `to_json` returned.

        Raises
        ------
        InputError
            When it is no record, or one of another version; the text says `where` it stands.
        """
        try:
            return codec.from_json(cls, text, FORMAT)
        except codec.Unreadable as error:
            damaged = "its record is damaged, or another program's; use the file as it was"
            raise InputError(f"{where}: {damaged} ({error})") from None
        except codec.OtherFormat as error:
            raise InputError(f"{where}: its record is of {error}; use the impasto that wrote it") from None
        except InputError as error:
            raise InputError(f"{where}: its record is not one that this version of impasto knows ({error})") from None

    @classmethod
    def read(cls, place: Place) -> Record:
        """Read the record in a picture.

        Raises
        ------
        InputError
            When the picture cannot be read, holds no record, or one that is not understood.
        """
        where = f"picture {places.name(place)}"
        texts = read_text(place)
        text = texts.get(KEYWORD)
        if text is None:
            raise InputError(f"{where}: holds no record of how it was made; expected a picture as impasto wrote it")
        return replace(cls.from_json(text, where), mixed=texts.get(MIXED))

    def inputs(self, role: str) -> tuple[Input, ...]:
        """Return the inputs of a role, in their order."""
        return tuple(picture for picture in self.origin.inputs if picture.role == role)

    def transfer(
        self, pictures: Mapping[str, Sequence[Image.Image]], *, model: str | Path, placement: Placement
    ) -> Transfer:
        """Prepare the transfer that makes the picture again.

        Parameters
        ----------
        pictures
            The inputs by role, in their order.

        Raises
        ------
        InputError
            When one is missing or has other pixels, or the model's recipe is another than that of the record.
        """
        for role in dict.fromkeys(picture.role for picture in self.origin.inputs):
            given = pictures.get(role, ())
            for number, (wanted, image) in enumerate(zip(self.inputs(role), given, strict=False), 1):
                if not wanted.is_same(image):
                    raise InputError(f"{role} {number}: its pixels are not those that the record names")
            if len(given) != len(self.inputs(role)):
                raise InputError(f"{role}: {len(given)} pictures given; expected {len(self.inputs(role))}")
        from impasto.runtime.run.material import Material
        from impasto.runtime.run.transfer import Transfer

        self._check_recipe(model)
        (content,) = pictures["content"]
        (start,) = pictures.get("init") or (None,)
        (content_mask,) = pictures.get(CONTENT_MASK) or (None,)
        material = Material.given(
            content,
            pictures["style"],
            start=start,
            content_mask=content_mask,
            style_masks=pictures.get(STYLE_MASK),
            matched=self.plan.colors == "match",
        )
        return Transfer(self.plan, material, model, placement)

    def _check_recipe(self, model: str | Path) -> None:
        """Refuse a model whose graphs compute another loss: of a recipe, they hold all but the terms' weights."""
        wanted = self.plan.recipe
        own = read_metadata(ModelFolder.open(model), wanted.name).recipe
        own = own.with_weights(wanted.content.weight, wanted.style.weight, wanted.tv.weight)
        for part in ("pooling", *(term.key for term in TERMS)):
            if getattr(own, part) != getattr(wanted, part):
                raise InputError(
                    f"model {model}: its recipe {wanted.name!r} has another {part} than the one the picture was made "
                    f"with; name the model that was used with {option('model')}"
                )
