"""The record of a transfer: how a picture came about, kept in the picture, so that it can be made again.

What is kept of a place is what messages show of it: of an address neither user, password nor query, which may be
secret.
"""

from __future__ import annotations

import hashlib
import json
import platform
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

import impasto
from impasto.runtime import places, processors
from impasto.runtime.errors import ImpastoError, InputError
from impasto.runtime.masks import CONTENT_MASK, STYLE_MASK, is_color
from impasto.runtime.model import OBJECTIVE, Metadata, ModelFolder
from impasto.runtime.photographs import read_text
from impasto.runtime.places import Place
from impasto.runtime.plan import Plan
from impasto.runtime.session import Placement, import_onnxruntime, read_metadata
from impasto.runtime.transfer import Transfer

#: Under what the record stands in a picture; and what `impasto mix` has done with the picture since, as JSON.
KEYWORD, MIXED = "impasto", "impasto mix"

#: Raised whenever a reader of older records would be misled.
FORMAT = 1

#: The packages whose versions may change the last bits of a result, beside impasto itself and onnxruntime.
_PACKAGES = ("numpy", "scipy", "pillow")

T = TypeVar("T")


def digest(image: Image.Image) -> str:
    """Return the SHA-256 of a picture's pixels, 8-bit RGB, row by row."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


@dataclass(frozen=True)
class Input:
    """A picture that a result depends on.

    Attributes
    ----------
    role
        What it was for: ``content``, ``style``, ``init`` and so on; several of one role stand in their order.
    place
        Where it came from: a file's absolute path, an address without its secrets, ``-``; None for an array or image.
        Of a mask of one colour, that colour.
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

    def is_same(self, image: Image.Image) -> bool:
        """Whether a picture has the same pixels."""
        return (self.width, self.height, self.sha256) == (*image.size, digest(image))


@dataclass(frozen=True)
class Model:
    """The model folder that was used: where it lay, and what its graphs say of themselves."""

    place: str
    network: str
    exporter: str
    weights_sha256: str
    random_weights: bool

    @classmethod
    def of(cls, folder: str | Path, metadata: Metadata) -> Model:
        """Describe a model folder by the metadata of one of its graphs."""
        path = str(Path(folder).absolute())
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
        """Describe what a transfer depends on; `where` its pictures came from, by role, in their order.

        Raises
        ------
        InputError
            When the model will not do.
        """
        left = {role: list(given) for role, given in (where or {}).items()}
        inputs = tuple(
            Input.of(role, image, left[role].pop(0) if left.get(role) else None) for role, image in transfer.inputs
        )
        return cls(inputs, Model.of(transfer.model, transfer.metadata), transfer.placement, Machine.here())

    def to_mapping(self) -> dict[str, Any]:
        """Return the origin as plain data; `from_mapping` reads it back."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, data: Any) -> Origin:
        """Read back what `to_mapping` returned, perhaps through JSON.

        Raises
        ------
        ValueError
            When it is nothing that this version knows.
        """
        return build(cls, data)

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
    """

    loss: float
    terms: dict[str, float]
    evaluations: int
    reason: str
    resumed: tuple[int, ...]
    seconds: float
    date: str
    sha256: str


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
    mixed: str | None = None

    @classmethod
    def of(cls, transfer: Transfer, origin: Origin, image: Image.Image | None = None) -> Record:
        """Describe where a transfer stands, or how it has ended; `image` is its picture, if that is made already."""
        position = transfer.position()
        made = sum(position.made)
        outcome = Outcome(
            loss=position.loss,
            terms=position.terms,
            evaluations=made,
            reason=transfer.reason or f"under way: evaluation {made} of {transfer.plan.evaluations}",
            resumed=position.resumed,
            seconds=round(position.seconds, 3),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            sha256=digest(image or transfer.picture()),
        )
        placement = replace(origin.placement, device=position.device, lowering=position.lowering)
        return cls(transfer.made_plan(), replace(origin, placement=placement), outcome)

    @property
    def text(self) -> dict[str, str]:
        """What `impasto.runtime.encoding.write_picture` is to write into the picture."""
        return {KEYWORD: self.to_json()}

    def to_json(self) -> str:
        """Return the record as JSON; `from_json` reads it back."""
        data = {"format": FORMAT, "plan": self.plan.to_mapping(), "origin": asdict(self.origin)}
        return json.dumps(data | {"outcome": asdict(self.outcome)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> Record:
        """Read back what `to_json` returned.

        Raises
        ------
        InputError
            When it is no record, or one of another version; the text says `where` it stands.
        """
        try:
            data = json.loads(text)
            found = data["format"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{where}: its record is damaged, or another program's; use the file as it was") from None
        if found != FORMAT:
            raise InputError(f"{where}: its record is of format {found!r}, not {FORMAT}; use the impasto that wrote it")
        try:
            plan = Plan.from_mapping(data["plan"], where)
            return cls(plan, Origin.from_mapping(data["origin"]), build(Outcome, data["outcome"]))
        except (ValueError, KeyError, TypeError, ImpastoError) as error:
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
        self._check_recipe(model)
        (content,) = pictures["content"]
        (start,) = pictures.get("init") or (None,)
        (content_mask,) = pictures.get(CONTENT_MASK) or (None,)
        return Transfer(
            self.plan,
            content,
            pictures["style"],
            model=model,
            start=start,
            content_mask=content_mask,
            style_masks=pictures.get(STYLE_MASK),
            placement=placement,
        )

    def _check_recipe(self, model: str | Path) -> None:
        """Refuse a model whose graphs compute another loss: of a recipe, they hold all but the terms' weights."""
        wanted = self.plan.recipe
        own = read_metadata(ModelFolder.open(model), wanted.name, OBJECTIVE).recipe
        own = own.with_weights(wanted.content.weight, wanted.style.weight, wanted.tv.weight)
        for part in ("pooling", "content", "style", "tv"):
            if getattr(own, part) != getattr(wanted, part):
                raise InputError(
                    f"model {model}: its recipe {wanted.name!r} has another {part} than the one the picture was made "
                    "with; name the model that was used with --model"
                )


# --- plain data -----------------------------------------------------------------------------------------------


def build(type_: type[T], data: Any) -> T:
    """Make a dataclass of plain data, as `dataclasses.asdict` returned it, perhaps through JSON.

    Raises
    ------
    ValueError
        For an unknown key, a missing one without a default, or a value of another type; the text names it.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{type_.__name__.lower()} is {data!r}; expected an object")
    hints, known = typing.get_type_hints(type_), fields(type_)  # type: ignore[arg-type]
    needed = {field.name for field in known if field.default is field.default_factory is MISSING}
    if odd := (set(data) - {field.name for field in known}) | (needed - set(data)):
        raise ValueError(f"{type_.__name__.lower()}: {', '.join(sorted(odd))} unknown or missing")
    return type_(**{name: _value(hints[name], value, name) for name, value in data.items()})


def _value(type_: Any, value: Any, name: str) -> Any:
    """Return a value as a field of that type holds it."""
    kind, parts = typing.get_origin(type_), typing.get_args(type_)
    if kind in (types.UnionType, typing.Union):
        return None if value is None else _value(parts[0], value, name)
    if kind is tuple and isinstance(value, (list, tuple)):
        return tuple(_value(parts[0], item, name) for item in value)
    if kind is dict and isinstance(value, Mapping):
        return {str(key): _value(parts[1], item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(type_, type) and hasattr(type_, "__dataclass_fields__"):
        return build(type_, value)
    accepted = (int, float) if type_ is float else type_
    if kind is None and isinstance(value, accepted) and (type_ is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"{name} is {value!r}; expected {getattr(type_, '__name__', type_)}")
