"""The record of a transfer: it is kept in the picture, and says how to make the picture again.

It names files without their folders, unless the user asks for these, and never keeps secrets of an address. A record
that is read may be a stranger's: it is refused unless it is as `Record.to_json` writes it, and no file that it names is
opened here.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

import impasto
from impasto.runtime.engine import plugins
from impasto.runtime.engine.library import import_onnxruntime
from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.engine.placement import OFF, Placement
from impasto.runtime.engine.providers import AUTO, PROVIDERS, provider_of
from impasto.runtime.errors import InputError
from impasto.runtime.machine import processors
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import WORDS
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.pictures import places, strips
from impasto.runtime.pictures.masks import CONTENT_MASK, STYLE_MASK, is_color
from impasto.runtime.pictures.photographs import read_text
from impasto.runtime.pictures.places import Place
from impasto.runtime.pictures.protection import PROTECT
from impasto.runtime.plan.plan import PICTURE, Plan
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.terms import TERMS
from impasto.runtime.run.state import RunEnding
from impasto.runtime.storage import codec
from impasto.text import shown
from impasto.wording import option

if TYPE_CHECKING:
    from impasto.runtime.run.transfer import Transfer

#: The keywords, in a picture, of its record, and of what `impasto mix` has done with the picture since, as JSON.
KEYWORD, MIXED = "impasto", "impasto mix"

#: Raised whenever a reader of older records would be misled.
FORMAT = 1

#: The packages whose versions may change the last bits of a result, beside impasto itself and onnxruntime.
_PACKAGES = ("numpy", "scipy", "pillow")

#: The role of an input -> the least and the largest number of inputs that have it.
_ROLES: Mapping[str, tuple[int, int]] = {
    "content": (1, 1), "style": (1, 1000), "init": (0, 1), CONTENT_MASK: (0, 1), STYLE_MASK: (0, 1000),
    PROTECT: (0, 1),
}  # fmt: skip


#: The fields of a plan, and of its recipe, that earlier versions did not have. They are part of a `fingerprint` only
#: where they differ from their defaults, so that a batch knows the pictures that it has made before.
_ADDED = ("bleed", "crops", "protect_weight", "region_strengths")
_ADDED_TO_RECIPES = ("bleed", "padding", "style_crop")

#: The endings of transfers that have done what they were asked to, within the time that they were given.
_AS_ASKED = (RunEnding.FINISHED, RunEnding.TIME_OVER)


def digest(image: Image.Image) -> str:
    """Return the SHA-256 of the pixels of an 8-bit RGB picture, row by row."""
    digest = hashlib.sha256()
    for rows in strips.rows(*image.size):
        digest.update(strips.cut(image, rows).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Input:
    """A picture that a result depends on.

    Attributes
    ----------
    role
        Its purpose: ``content``, ``style``, ``init`` and so on; inputs of one role stand in their order.
    place
        Its origin: a file's absolute path, an address without its secrets, ``-``; None for an array or image. For a
        mask of one colour, that colour. In a record, the name of the file: see `named`.
    width, height, sha256
        Its size in pixels, and the `digest` of the pixels.
    """

    role: str
    place: str | None
    width: int
    height: int
    sha256: str

    @classmethod
    def of(cls, role: str, image: Image.Image, place: Place | None) -> Input:
        """Describe a picture; the user has named its place so."""
        name = None if place is None else str(place)
        if place is not None and not is_color(place):
            name = str(Path(place).absolute()) if places.is_file(place) else places.name(place)
        return cls(role, name, image.width, image.height, digest(image))

    def __post_init__(self) -> None:
        if self.role not in _ROLES:
            raise codec.Misfit(f"role is {shown(self.role)}; expected one of {', '.join(_ROLES)}")
        if min(self.width, self.height) < 1:
            raise codec.Misfit(f"{self.role} is of {self.width}x{self.height} pixels; expected 1x1 or more")
        codec.check_sha256(self.sha256, f"{self.role}.sha256")

    @property
    def color(self) -> str | None:
        """The colour of a mask that is one colour instead of a picture; None for a picture."""
        return self.place if self.role in (CONTENT_MASK, STYLE_MASK) and is_color(self.place) else None

    @property
    def name(self) -> str | None:
        """The name of the file, without its folder; the last part of an address's path; None if unknown."""
        place = self.place
        if place is None or place == places.STREAM or self.color:
            return None
        if places.is_url(place):
            place = place.partition("://")[2].partition("/")[2].removesuffix("?...")
        return _last(place) or None

    def named(self) -> Input:
        """Return the input with its name in place of its path or address."""
        return self if self.color or self.place == places.STREAM else replace(self, place=self.name)

    def is_same(self, image: Image.Image) -> bool:
        """Whether a picture has the same pixels."""
        return (self.width, self.height, self.sha256) == (*image.size, digest(image))


def _last(path: str) -> str:
    """Return the last part of a path, of any system."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


@dataclass(frozen=True)
class Model:
    """The model folder that was used, with some of its graphs' metadata.

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
    """The machine that a transfer ran on.

    Attributes
    ----------
    processor, cpus
        The name of the processor, and the number of processors that the process may use.
    versions
        Package -> its version, of Python, impasto and the packages it computes with.
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
            versions[name] = plugins.installed_version(name)
        return cls(processors.name(), processors.usable(), versions)

    def on(self, device: str) -> Machine:
        """Return it with the version of the plug-in that a device needs, if it needs one."""
        plugin = provider_of(device).plugin if device != AUTO else None
        return (
            replace(self, versions={**self.versions, plugin.distribution: plugins.version(plugin)}) if plugin else self
        )


@dataclass(frozen=True)
class Origin:
    """All that a result depends on, except the plan.

    Attributes
    ----------
    placement
        The placement that was asked for; in a `Record`, the one that was used. There a tile that was asked for is
        ``off`` if all stages were evaluated whole. If it is ``auto``, the memory is that for which the tiles of each
        stage were chosen; None if all were evaluated whole.
    """

    inputs: tuple[Input, ...]
    model: Model
    placement: Placement
    machine: Machine

    @classmethod
    def of(cls, transfer: Transfer, sources: Mapping[str, Sequence[Place | None]] | None = None) -> Origin:
        """Describe what a transfer depends on.

        Parameters
        ----------
        sources
            The places of its pictures, by role, in their order; by default those that its material knows.

        Raises
        ------
        InputError
            When the model cannot be used.
        """
        material, placement = transfer.material, transfer.placement
        left = {role: list(given) for role, given in (material.places if sources is None else sources).items()}
        inputs = tuple(
            Input.of(role, image, left[role].pop(0) if left.get(role) else None) for role, image in material.inputs
        )
        return cls(inputs, Model.of(transfer.model, transfer.metadata), placement, Machine.here().on(placement.device))

    def __post_init__(self) -> None:
        roles = [picture.role for picture in self.inputs]
        for role, (least, most) in _ROLES.items():
            if not least <= roles.count(role) <= most:
                raise codec.Misfit(f"inputs has {roles.count(role)} of the role {role}; expected {least} to {most}")
        if (masks := roles.count(STYLE_MASK)) != (roles.count("style") if CONTENT_MASK in roles else 0):
            raise codec.Misfit(f"inputs has {masks} of the role {STYLE_MASK}; expected one for each style, or no masks")

    def named(self) -> Origin:
        """Return the origin with names in place of paths and addresses."""
        inputs = tuple(picture.named() for picture in self.inputs)
        return replace(self, inputs=inputs, model=replace(self.model, place=_last(self.model.place)))

    def differences(self, other: Origin) -> list[str]:
        """Return the differences of another origin, of the same pictures, that may lead to other pixels."""
        mine, theirs = self.machine, other.machine
        texts = [
            f"{name} {theirs.versions.get(name, 'unknown')} instead of {own}"
            for name, own in mine.versions.items()
            if name not in _harmless_packages(other.placement.device) and theirs.versions.get(name) != own
        ]
        if mine.processor != theirs.processor:
            texts.append(f"processor {theirs.processor} instead of {mine.processor}")
        if self.model.weights_sha256 != other.model.weights_sha256:
            texts.append(f"other weights in {other.model.place}")
        elif self.model.exporter != other.model.exporter:
            texts.append(f"graphs by {other.model.exporter} instead of {self.model.exporter}")
        own, given = asdict(self.placement), asdict(other.placement)
        on_cuda = any(one.placement.device.partition(":")[0] in (AUTO, "cuda") for one in (self, other))
        by_memory = AUTO in (own["tile"], given["tile"])
        harmless = {"low_memory", *([] if on_cuda else ["cuda"]), *([] if by_memory else ["memory"])}
        texts += [
            f"{key} {_in_words(given[key])} instead of {_in_words(own[key])}"
            for key in own
            if own[key] != given[key] and key not in harmless
        ]
        if self.placement.threads is other.placement.threads is None and mine.cpus != theirs.cpus:
            texts.append(f"{theirs.cpus} processors instead of {mine.cpus}")
        return texts


def _harmless_packages(device: str) -> set[str]:
    """Return the packages whose versions do not matter to a result on a device: Python, and plug-ins for others."""
    needed = provider_of(device).plugin if device != AUTO else None
    plugins_ = (provider.plugin for provider in PROVIDERS.values() if provider.plugin != needed)
    return {"python", *(plugin.distribution for plugin in plugins_ if plugin)}


def _in_words(value: object) -> str:
    return "by default" if value is None else str(value)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a transfer.

    Attributes
    ----------
    loss, terms
        The loss of the picture and its terms, before colours, strength and rounding to 8 bits.
    loss_precision
        The precision of these: ``fp32``, or that of the evaluations. Older records lack it, and mean the latter.
    evaluations
        The number of evaluations.
    reason
        Why it ended.
    resumed
        The numbers of evaluations after which it was resumed.
    seconds, date
        Its duration, and the time of its end, in UTC (ISO 8601).
    sha256
        The `digest` of the picture.
    share
        The share of the start's loss: see `impasto.runtime.run.share.Share`. Older records lack it.
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
    loss_precision: str | None = None

    def __post_init__(self) -> None:
        codec.check_sha256(self.sha256, "outcome.sha256")
        if self.share is not None and not 0 <= self.share <= 1:
            raise codec.Misfit(f"outcome.share is {shown(self.share)}; expected 0 to 1")
        if self.loss_precision not in (None, *WORDS):
            known = " or ".join(WORDS)
            raise codec.Misfit(f"outcome.loss_precision is {shown(self.loss_precision)}; expected {known}")


def plan_data(plan: Plan) -> dict[str, Any]:
    """Return a plan as data for a hash; what later versions have added is left out where it has its default."""
    data, usual = codec.to_data(plan), codec.to_data(Plan(plan.recipe, plan.stages, plan.init, blend=plan.blend))
    for table, usual_table, added in ((data, usual, _ADDED), (data["recipe"], vars(Recipe), _ADDED_TO_RECIPES)):
        for name in added:
            if table[name] == usual_table[name]:
                del table[name]
    return data


def fingerprint(transfer: Transfer, origin: Origin) -> str:
    """Return a hash, a SHA-256, of what a transfer is asked to do: of its plan, pictures and weights.

    What it chooses for want of memory is no part of it, nor are the machine, and the places of pictures.
    """
    plan = transfer.plan
    stages = tuple(replace(stage, optimizer=None, pairs=None) for stage in plan.stages)
    asked = replace(plan, recipe=replace(plan.recipe, description=""), stages=stages)
    pictures = [(picture.role, picture.width, picture.height, picture.sha256) for picture in origin.inputs]
    inputs = [plan_data(asked), pictures, origin.model.weights_sha256]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Record:
    """The history of a picture: carrying out the plan on the same inputs makes it again.

    Attributes
    ----------
    plan
        The executed plan: the evaluations as they were made.
    origin
        The inputs, the model and the machine.
    outcome
        The outcome of the transfer.
    request
        The `fingerprint` of the transfer that the picture was made by. Older records lack it.
    is_fulfilled
        Whether it is what was asked for: no picture in between, and the transfer was not ended early by a signal, a
        callback or a failure.
    mixed
        A text, in JSON, if `impasto mix` has changed the picture since. Carrying out the plan does not do this.
    """

    plan: Plan
    origin: Origin
    outcome: Outcome
    request: str | None = None
    is_fulfilled: bool = False
    mixed: str | None = field(default=None, metadata=codec.BESIDE)

    def __post_init__(self) -> None:
        if self.request is not None:
            codec.check_sha256(self.request, "request")
        styles, start = len(self.inputs("style")), self.inputs("init")
        if len(self.plan.blend) != styles:
            raise codec.Misfit(f"plan.blend has {len(self.plan.blend)} shares for {styles} styles")
        if bool(start) != (self.plan.init == PICTURE):
            raise codec.Misfit(f"plan.init is {self.plan.init}, with {len(start)} pictures to start from")

    @classmethod
    def of(
        cls, transfer: Transfer, origin: Origin, image: Image.Image | None = None, *, recorded_places: bool = False
    ) -> Record:
        """Describe the present state of a transfer, or its end.

        Parameters
        ----------
        image
            Its picture, if that is made already.
        recorded_places
            Whether to keep the paths of inputs and model, rather than their names only.
        """
        state = transfer.state
        loss = state.appraisal
        outcome = Outcome(
            loss=loss.loss,
            terms=loss.terms,
            loss_precision=loss.precision,
            evaluations=state.evaluations,
            reason=state.reason or f"under way: evaluation {state.evaluations} of {transfer.plan.evaluations}",
            resumed=state.resumed,
            seconds=round(state.seconds, 3),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            sha256=digest(image or transfer.picture()),
            share=state.share,
        )
        placement, machine = origin.placement, origin.machine
        if state.device:
            placement = replace(placement, device=state.device, precision=state.precision, lowering=state.lowering)
            if placement.tile != AUTO and not state.tile:
                placement = replace(placement, tile=OFF)
            elif placement.tile == AUTO and not state.tile:
                placement = replace(placement, memory=None)  # whole again, wherever that fits
            elif placement.tile == AUTO:
                # some stages may be whole, or in another form: the same memory leads to the same
                placement = replace(placement, memory=transfer.memory, lowering=origin.placement.lowering)
            machine = machine.on(state.device)
        record = cls(
            transfer.executed_plan(),
            replace(origin, placement=placement, machine=machine),
            outcome,
            fingerprint(transfer, origin),
            state.ending in _AS_ASKED,
        )
        return record if recorded_places else record.named()

    def named(self) -> Record:
        """Return the record with names in place of paths and addresses."""
        return replace(self, origin=self.origin.named())

    @property
    def loss_precision(self) -> str:
        """The precision of the outcome's loss."""
        return self.outcome.loss_precision or self.origin.placement.precision

    @property
    def text(self) -> dict[str, str]:
        """The text that `impasto.runtime.pictures.encoding.write_picture` writes into the picture."""
        return {KEYWORD: self.to_json()}

    def to_json(self) -> str:
        """Return the record as JSON; `from_json` reads it back."""
        return codec.to_json(self, FORMAT)

    @classmethod
    def from_json(cls, text: str, subject: str) -> Record:
        """Read back what `to_json` returned.

        Raises
        ------
        InputError
            When it is no record, or one of another version; the text begins with `subject`.
        """
        try:
            return codec.from_json(cls, text, FORMAT)
        except codec.Unreadable as error:
            damaged = "its record is damaged, or another program's; use the file as it was"
            raise InputError(f"{subject}: {damaged} ({error})") from None
        except codec.OtherFormat as error:
            raise InputError(f"{subject}: its record is of {error}; use the impasto that wrote it") from None
        except InputError as error:
            raise InputError(f"{subject}: its record is not one that this version of impasto knows ({error})") from None

    @classmethod
    def read(cls, place: Place) -> Record:
        """Read the record in a picture.

        Raises
        ------
        InputError
            When the picture cannot be read, or holds no record that can be read.
        """
        subject = f"picture {places.name(place)}"
        texts = read_text(place)
        text = texts.get(KEYWORD)
        if text is None:
            raise InputError(f"{subject}: holds no record of how it was made; expected a picture as impasto wrote it")
        return replace(cls.from_json(text, subject), mixed=texts.get(MIXED))

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
            When an input is missing or has other pixels, or the model's recipe is not that of the record.
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
        (content_mask,), (protect,) = (pictures.get(role) or (None,) for role in (CONTENT_MASK, PROTECT))
        material = Material.given(
            content,
            pictures["style"],
            start=start,
            content_mask=content_mask,
            style_masks=pictures.get(STYLE_MASK),
            region_strengths=self.plan.region_strengths,
            protect=protect,
            protect_weight=self.plan.protect_weight,
            crops=self.plan.crops,
        )
        transfer = Transfer(self.plan, material, model, placement)
        transfer.kept = len(self.plan.stages)  # it was carried out so
        return transfer

    def _check_recipe(self, model: str | Path) -> None:
        """Refuse a model whose graphs compute another loss; the weights of terms may differ, as they are inputs."""
        wanted = self.plan.recipe
        own = read_metadata(ModelFolder.open(model), wanted.name).recipe
        own = own.with_weights(*wanted.weights)
        for part in ("pooling", "padding", *(term.key for term in TERMS)):
            if getattr(own, part) != getattr(wanted, part):
                raise InputError(
                    f"model {model}: its recipe {wanted.name!r} has another {part} than the one the picture was made "
                    f"with; name the model that was used with {option('model')}"
                )
