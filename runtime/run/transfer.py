"""`stylize`: a whole transfer, from two pictures to a third; `prepare` and `Transfer` for those who do it in steps."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto import figures
from impasto.defaults import DEFAULT_RECIPE, INITS
from impasto.runtime.engine.cuda import CUDA_DEFAULTS, CudaOptions
from impasto.runtime.engine.objective import Objective
from impasto.runtime.engine.session import Placement, check_device, check_threads, read_metadata
from impasto.runtime.errors import InputError, MemoryShortage, TransferError
from impasto.runtime.model.default import find_model
from impasto.runtime.model.folder import OBJECTIVE, Metadata, ModelFolder
from impasto.runtime.optimize.adam import Adam
from impasto.runtime.optimize.ending import SearchOver, StopOptimization
from impasto.runtime.optimize.minimize import Minimum, minimize, preload
from impasto.runtime.optimize.search import Evaluation
from impasto.runtime.optimize.variable import Within
from impasto.runtime.pictures import encoding, places
from impasto.runtime.pictures.colors import keep_colors, match_colors, mix
from impasto.runtime.pictures.masks import Mask, Regions
from impasto.runtime.pictures.photographs import Photograph, Picture
from impasto.runtime.pictures.places import Place
from impasto.runtime.pictures.planes import Planes, as_styles, fit_style, resize, resize_planes, to_image, to_planes
from impasto.runtime.plan.plan import PICTURE, Plan, Stage, normalized_blend, schedule
from impasto.runtime.plan.recipe import Recipe, Size, builtin_recipes, load_recipe, parse_size
from impasto.runtime.plan.sizes import result_size
from impasto.runtime.run import notebook
from impasto.runtime.run.budget import Budget
from impasto.runtime.run.record import Origin, Record
from impasto.runtime.run.share import Share
from impasto.runtime.signatures import explained, section
from impasto.shortage import advice
from impasto.text import shown
from impasto.wording import option

#: The first step that the line search tries changes pixels by so many levels (root mean square).
FIRST_STEP = 4.0

#: What the levels of a picture are bounded by, where the plan says so.
LEVELS = (0.0, 255.0)

#: Why a transfer ended that the user has interrupted.
INTERRUPTED = "interrupted"

#: How the reason begins where the time limit ended it.
OUT_OF_TIME = "the time limit of"


@dataclass(frozen=True)
class Step:
    """One evaluation of a transfer.

    Attributes
    ----------
    evaluation, evaluations
        The number of this one, from 1, and how many there will be, in all stages.
    stage, stages, width, height
        The number of the stage, from 1, how many there will be, and the size of this one in pixels.
    loss, terms
        The loss and its weighted terms, which sum to it.
    share
        What share of the start's loss that is: see `impasto.runtime.run.share.Share`.
    improved
        Whether no earlier loss of this stage was as low.
    change
        By how many levels, root mean square, the picture differs from the one evaluated before; 0 for a stage's first.
    seconds
        Time since the transfer began.
    transfer
        The transfer itself.
    """

    evaluation: int
    evaluations: int
    stage: int
    stages: int
    width: int
    height: int
    loss: float
    terms: dict[str, float]
    share: float
    improved: bool
    change: float
    seconds: float
    transfer: Transfer = field(repr=False, compare=False)

    def picture(self) -> Image.Image:
        """Return the best picture so far, in the size of the result; to be called while the callback runs."""
        return self.transfer.picture()


@dataclass(frozen=True)
class Position:
    """Where a transfer stands: enough to go on from there.

    Adam goes on as if nothing had happened. L-BFGS begins anew from the best picture: SciPy keeps the curvature that it
    has learnt to itself. What `min_improvement` watches begins anew, too.

    Attributes
    ----------
    made
        Evaluations made in each stage begun so far; the last is the present one.
    point
        The best picture of this stage, or of the one before where this has not begun: float32 [1, 3, h, w].
    loss, terms
        Of that picture.
    share
        What share of the start's loss is left.
    seconds
        Time spent so far.
    resumed
        After how many evaluations, of all stages, the transfer has been resumed.
    adam
        Where Adam stands in this stage.
    reason
        Why the last stage has ended; empty where there is still something to do.
    device, lowering
        Where and how it ran.
    """

    made: tuple[int, ...]
    point: Planes
    loss: float
    terms: dict[str, float]
    seconds: float
    resumed: tuple[int, ...] = ()
    adam: Adam | None = None
    reason: str = ""
    device: str = ""
    lowering: str = ""
    share: float = 1.0


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
    finished
        Whether it ended by itself, rather than by a callback, the time limit, an interrupt or a failure.
    photograph
        The content picture, and what `save` gives back to the result: its colour profile, metadata and transparency.
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
    history: tuple[Step, ...]
    seconds: float
    optimizer_seconds: float
    device: str
    lowering: str
    plan: Plan
    finished: bool
    photograph: Photograph
    record: Record

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
        return notebook.encoded(self.photograph.over_white(self.image), notebook.RESULT_SIDE, "PNG")


Callback = Callable[[Step], None]


@explained
def draft(
    content: Picture,
    styles: Picture | Sequence[Picture],
    *,
    model: str | Path | None = None,
    recipe: str = DEFAULT_RECIPE,
    size: int | tuple[int, int] | str | None = None,
    evaluations: int | None = None,
    stages: int | None = None,
    init: str | Picture | None = None,
    noise: float = 0.0,
    seed: int = 0,
    style_blend: Sequence[float] | None = None,
    content_mask: Mask | None = None,
    style_masks: Mask | Sequence[Mask] | None = None,
    style_scale: float = 1.0,
    colors: str = "style",
    strength: float = 1.0,
    clip: bool | None = None,
    optimizer: str = "lbfgs",
    device: str = "auto",
    lowering: str = "auto",
    threads: int | None = None,
    low_memory: bool = False,
    cuda: CudaOptions = CUDA_DEFAULTS,
    precision: str = "fp32",
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float | None = None,
    restart_every: int | None = None,
    min_improvement: float | None = None,
    time_limit: float | None = None,
    callback: Callback | None = None,
    progress: bool | None = None,
) -> Transfer:
    """Plan a transfer as `prepare` does, before its recipe is in the model folder, if it is one that comes along.

    Parameters
    ----------
    content
        The photograph: a path, an http or https address, a PIL image of any mode, or an array (H, W), (H, W, 1),
        (H, W, 3) or (H, W, 4): uint8, bool, uint16 of 0..65535, or other numbers of 0..255.
    styles
        The painting, or a list of them, whose targets are averaged; as `content`. What is transparent is white.
    model
        A model folder; by default that of `impasto.runtime.model.default`.
    recipe
        The name of one of the recipes that it holds.
    size
        Of the result: the long side in pixels, (width, height), or text as ``--size`` takes it, such as ``"content"``;
        by default the recipe's.
    evaluations
        How often loss and gradient are evaluated, in all stages; by default as often as the recipe says.
    stages
        How many sizes are painted from coarse to fine; by default as many as the first needs to have a long side of
        400 pixels at most, or one, as the recipe says. With `restart_every`, one.
    init
        ``"random"``, ``"content"``, ``"style"``, ``"statistics"`` (noise with the colour statistics of the style), or
        a picture to start from; by default the recipe's.
    noise
        How much of the start is replaced by noise, 0..1.
    seed
        Of all noise.
    style_blend
        A weight for each style; equal ones by default.
    content_mask
        A label picture of the content, with a flat colour for each region, or a colour such as ``"#ff0000"``: regions
        of the same colour take their style from each other. See `impasto.runtime.pictures.masks`.
    style_masks
        A label picture of each style.
    style_scale
        The size of the styles, and so of the strokes, as a multiple of what the recipe makes of it.
    colors
        ``"style"``: as they come. ``"keep"``: the content's colours, with the result's lightness. ``"match"``: the
        styles' colours are matched to the content's before.
    strength
        How much of the result is mixed with the content afterwards: 1 is the result itself.
    clip
        Whether levels are held within 0..255 throughout; by default as the recipe says, where the optimiser can.
    optimizer
        ``"lbfgs"`` (SciPy's L-BFGS-B), ``"lbfgs-device"`` (the same method, on the device) or ``"adam"``, which needs
        less memory.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    lowering
        The form of the graphs: ``"auto"``, ``"winograd"`` or ``"direct"``.
    threads
        Of the processor; by default one for each core.
    low_memory
        Whether memory is given back after every evaluation, which takes a little more time.
    cuda
        How CUDA is used.
    precision
        ``"fp32"``, or ``"fp16"`` on a GPU.
    content_weight
        Instead of the recipe's own, in its convention.
    style_weight
        Likewise.
    tv_weight
        Likewise, of the total variation.
    restart_every
        L-BFGS begins anew after so many evaluations, as the reference program does; by default never.
    min_improvement
        A stage ends when many evaluations have lowered its loss by less than this fraction; by default never.
    time_limit
        Seconds after which it ends with the best picture so far; evaluations are divided among stages by it.
    callback
        Called after every evaluation; may raise `StopOptimization` to end early with the best picture so far.
    progress
        Whether a notebook shows a bar and the growing picture; by default where there is no callback. Elsewhere
        nothing is shown.

    Raises
    ------
    InputError
        When an argument will not do; an `OptionError` when there is none of that name.
    """
    if callback is not None and not callable(callback):
        raise InputError(f"callback is {shown(callback)}; expected a function that takes a step")
    given, placement = as_styles(styles), Placement(device, lowering, threads, low_memory, cuda, precision)
    if restart_every is not None and stages not in (None, 1):
        named = f"{option('stages')} is {stages}: with {option('restart_every')}"
        raise InputError(f"{named} there is one; leave one of the two out")
    if cuda.graph and optimizer == "lbfgs-device":
        what, other = option("cuda.graph", True), option("optimizer", optimizer)
        raise InputError(f"{what}: needs pictures to stay in their places; leave it out with {other}")
    model = find_model(model)
    metadata = _metadata(ModelFolder.open(model), recipe)
    own = metadata.recipe if metadata else load_recipe(recipe)
    chosen = own.with_weights(content_weight, style_weight, tv_weight)
    photograph = Photograph.given(content, "content")
    paintings = [Photograph.given(style, f"style {k}") for k, style in enumerate(given, 1)]
    start = _start(init)
    plan = Plan(
        recipe=chosen,
        stages=_stages(chosen, photograph.picture, size, evaluations, 1 if restart_every is not None else stages),
        init=PICTURE if start else str(init or chosen.init),
        noise=noise,
        seed=seed,
        blend=normalized_blend(style_blend, len(paintings)),
        style_scale=style_scale,
        colors=colors,
        strength=strength,
        clip=chosen.clip if clip is None else clip,
        optimizer=optimizer,
        restart_every=restart_every,
        min_improvement=min_improvement,
        time_limit=time_limit,
    )
    check_threads(threads)
    check_device(placement.device)
    if optimizer == "lbfgs-device":
        placement = placement.unrecorded()
    transfer = Transfer(
        plan,
        photograph,
        paintings,
        model=model,
        start=start,
        content_mask=content_mask,
        style_masks=style_masks,
        placement=placement,
        callback=callback,
        progress=progress,
    )
    if metadata:
        transfer.metadata = metadata  # it need not be read again
    return transfer


def _metadata(folder: ModelFolder, recipe: str) -> Metadata | None:
    """Return what a model folder has of a recipe; nothing where it lacks one that comes along."""
    lacking = recipe not in folder.recipes() and recipe in builtin_recipes()
    return None if lacking else read_metadata(folder, recipe, OBJECTIVE)


P = ParamSpec("P")
T = TypeVar("T")


def _imitate(function: Callable[P, T], other: Callable[P, Any], returned: type[T]) -> None:
    """Give a function the signature of another one, but for what it returns."""
    functools.update_wrapper(function, other, assigned=("__module__",))
    function.__qualname__ = function.__name__
    function.__annotations__ = {**other.__annotations__, "return": returned.__name__}
    signature = inspect.signature(other).replace(return_annotation=returned.__name__)
    function.__signature__ = signature  # type: ignore[attr-defined]


def _in_model(draft: Callable[P, Transfer]) -> Callable[P, Transfer]:
    """Return the function that takes what `draft` takes, and refuses a recipe that the model folder has not."""

    def prepare(*args: P.args, **kwargs: P.kwargs) -> Transfer:
        transfer = draft(*args, **kwargs)
        _ = transfer.metadata
        return transfer

    _imitate(prepare, draft, Transfer)
    prepare.__doc__ = f"""Plan a transfer that repaints the content picture in the manner of the styles.

{section(draft.__doc__ or "", "Parameters")}

Returns
-------
Transfer
    It has not begun.

{section(draft.__doc__ or "", "Raises")}
"""
    return explained(prepare)


def _at_once(prepare: Callable[P, Transfer]) -> Callable[P, Result]:
    """Return the function that takes what `prepare` takes, and runs the transfer, too."""

    def stylize(*args: P.args, **kwargs: P.kwargs) -> Result:
        return prepare(*args, **kwargs).run()

    _imitate(stylize, prepare, Result)
    stylize.__doc__ = f"""Repaint the content picture in the manner of the styles.

{section(prepare.__doc__ or "", "Parameters")}

Returns
-------
Result
    The best picture that was found, and how it came about.

Raises
------
InputError
    When an argument will not do, before any work; an `OptionError` when there is none of that name.
TransferError
    When not even the start has a finite loss, or onnxruntime fails before there is anything to keep.

Notes
-----
An interrupt (`KeyboardInterrupt`: Ctrl-C, a notebook's stop button) ends it as the time limit does: the best picture so
far is returned, with `finished` false. Before the first evaluation it is raised.

Examples
--------
>>> result = stylize("photo.jpg", "painting.jpg", model="models/vgg19", size=512)  # doctest: +SKIP
>>> result.save("result.png")  # doctest: +SKIP
"""
    return explained(stylize)


def _stages(
    recipe: Recipe,
    content: Image.Image,
    size: int | tuple[int, int] | str | None,
    evaluations: int | None,
    stages: int | None,
) -> tuple[Stage, ...]:
    """Return the sizes and numbers of evaluations: the recipe's own, where nothing else is said."""
    count = recipe.evaluations if evaluations is None else _whole(option("evaluations"), evaluations)
    number = stages if stages is None else _whole(option("stages"), stages)
    full = (
        result_size(_size(recipe.size), content, recipe.size_of) if size is None else result_size(_size(size), content)
    )
    return schedule(*full, count, number if number or recipe.coarse_to_fine else 1)


def _whole(name: str, number: int) -> int:
    """Return a number of 1 or more as Python's own: NumPy has others."""
    try:
        whole = operator.index(number)
    except TypeError:
        raise InputError(f"{name} is {shown(number)}; expected a whole number") from None
    if whole < 1:
        raise InputError(f"{name} is {whole}; expected 1 or more")
    return whole


def _size(size: int | tuple[int, int] | str) -> Size:
    if isinstance(size, str):
        return parse_size(size)
    try:
        return operator.index(size)  # type: ignore[arg-type]
    except TypeError:
        pass
    try:
        width, height = map(operator.index, size)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        expected = "the long side in pixels, (width, height), or text such as '300x200'"
        raise InputError(f"{option('size')} is {shown(size)}; expected {expected}") from None
    return width, height


def _start(init: str | Picture | None) -> Photograph | None:
    """Return the picture to start from; None where `init` is the name of a start."""
    if init is None or (isinstance(init, str) and init in INITS):
        return None
    if isinstance(init, str) and places.is_missing(init):
        raise InputError(f"{option('init')} {shown(init)}: expected one of {', '.join(INITS)}, or a picture")
    return Photograph.given(init, "init")


@contextlib.contextmanager
def _shortage_told() -> Iterator[None]:
    """Tell a shortage of memory that Python, NumPy or SciPy meet as onnxruntime's are told."""
    try:
        yield
    except MemoryError as error:
        what = f" ({error})" if str(error) else ""
        raise MemoryShortage(f"out of memory{what}; choose a smaller {option('size')}, or {advice()}") from error


class Transfer:
    """A plan being carried out on its pictures.

    Attributes
    ----------
    plan
        What is to be done.
    content, styles, start
        The pictures; the styles with their colours matched, if that is planned. `paintings` are the styles as given.
    photograph
        The content picture, with what a result should have again.
    places
        Where the pictures came from, by role, in their order; None for what was made in memory.
    regions
        The masks, if there are any.
    model, placement
        The model folder; where and how the transfer runs.
    callback, after_stage
        Called after every evaluation; and, without arguments, after every stage but the last.
    progress
        Whether a notebook shows it while it runs; by default where there is no callback.
    made
        Evaluations made so far, in each stage that has begun.
    resumed
        After how many evaluations the transfer has been resumed.
    reason
        Why the last stage ended.
    """

    def __init__(
        self,
        plan: Plan,
        content: Image.Image | Photograph,
        styles: Sequence[Image.Image | Photograph],
        *,
        model: str | Path,
        start: Image.Image | Photograph | None = None,
        content_mask: Mask | None = None,
        style_masks: Mask | Sequence[Mask] | None = None,
        placement: Placement | None = None,
        callback: Callback | None = None,
        progress: bool | None = None,
    ) -> None:
        """Prepare a transfer.

        Parameters
        ----------
        content, styles
            8-bit RGB, or photographs: the content counts as if it were opaque, all others are taken over white.
        model
            A model folder that holds the plan's recipe, by its name.
        start
            The picture to start from, where the plan's `init` is ``picture``.
        content_mask, style_masks
            As `prepare` takes them.
        placement
            Where and how it runs.
        callback, progress
            As `prepare` takes them.

        Raises
        ------
        InputError
            When the masks will not do.
        """
        self.photograph, *others = (
            given if isinstance(given, Photograph) else Photograph(given)
            for given in (content, *styles, *([start] if start else []))
        )
        self.plan, self.content, self.callback, self.progress = plan, self.photograph.picture, callback, progress
        self.after_stage: Callable[[], None] | None = None
        self.paintings = [photograph.over_white() for photograph in others[: len(styles)]]
        self.start = others[-1].over_white() if start else None
        self.regions = Regions.match(content_mask, style_masks, len(styles))
        if self.regions:
            self.regions.check_proportions(self.content.size, [style.size for style in self.paintings])
        self.places: dict[str, list[Place | None]] = {
            "content": [self.photograph.place],
            "style": [photograph.place for photograph in others[: len(styles)]],
            "init": [others[-1].place] if start else [],
            **(self.regions.places if self.regions else {}),
        }
        matched = plan.colors == "match"
        self.styles = [match_colors(style, self.content) if matched else style for style in self.paintings]
        self.model, self.placement = model, placement or Placement()
        self.made: list[int] = []
        self.resumed: list[int] = []
        self.reason = ""
        self._point: Planes = np.empty(0, np.float32)
        self._loss, self._terms, self._share = math.inf, dict[str, float](), Share()
        self._adam: Adam | None = None
        self._finished = self._shortened = False
        self._history: list[Step] = []
        self._watchers: list[Callback] = []
        self._device = self._lowering = ""
        self._seconds = self._optimizer_seconds = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled: all but who watches."""
        return {**self.__dict__, "callback": None, "after_stage": None, "_watchers": []}

    @functools.cached_property
    def metadata(self) -> Metadata:
        """What the model's graph for the plan's recipe says of itself.

        Raises
        ------
        InputError
            When the model will not do.
        """
        return read_metadata(ModelFolder.open(self.model), self.plan.recipe.name, OBJECTIVE)

    @functools.cached_property
    def origin(self) -> Origin:
        """All that the result depends on, but the plan.

        Raises
        ------
        InputError
            When the model will not do.
        """
        return Origin.of(self)

    @property
    def inputs(self) -> tuple[tuple[str, Image.Image], ...]:
        """Every picture that the result depends on, as it was given, and its role; those of one role in order."""
        pictures = [("content", self.content), *(("style", painting) for painting in self.paintings)]
        masks = self.regions.inputs if self.regions else ()
        return (*pictures, *([("init", self.start)] if self.start else []), *masks)

    @property
    def has_picture(self) -> bool:
        """Whether a picture with a finite loss has been found yet."""
        return math.isfinite(self._loss)

    @_shortage_told()
    def run(self, resume: Position | None = None) -> Result:
        """Carry the plan out, from its start or from where it stood.

        Raises
        ------
        InputError
            When the model or the device will not do.
        TransferError
            When not even the start has a finite loss, or onnxruntime fails before there is anything to keep.
        """
        began = time.perf_counter() - (resume.seconds if resume else 0.0)
        self._budget = Budget(self.plan.stages, self.plan.time_limit, 1 + len(self.styles))
        wanted = notebook.is_running() and (self.callback is None if self.progress is None else self.progress)
        with notebook.live(wanted=wanted) as live:
            self._watchers = [watch for watch in (live, self.callback) if watch]
            if resume:
                self._take_up(resume)
            else:
                self._point = self._begin(self.plan.stages[0])
            _ = self.origin  # a model that will not do is refused before the work
            if not self._finished:
                preload(self.plan.optimizer)
                self._go_on(began)
                self._seconds = time.perf_counter() - began
            result = self._kept()
            if live:
                with contextlib.suppress(KeyboardInterrupt):  # the work is done
                    live.finish(result)
        self._watchers = []
        return result

    def _kept(self) -> Result:
        """Return the result; only who has interrupted the transfer already can stop that."""
        try:
            return self._result()
        except KeyboardInterrupt:
            if self.reason == INTERRUPTED:
                raise
            return self._result()

    def _take_up(self, position: Position) -> None:
        """Stand where a transfer stood."""
        self.made, self._point, self._loss = list(position.made), position.point, position.loss
        self._terms, self._adam, self._seconds = position.terms, position.adam, position.seconds
        self._device, self._lowering = position.device, position.lowering
        self.reason, self._finished = position.reason, bool(position.reason)
        self.resumed, self._share = list(position.resumed), Share(position.share)
        if not self._finished and self.made[-1]:  # a stage that has not begun begins as it would have
            self.resumed.append(sum(self.made))

    def _go_on(self, began: float) -> None:
        """Do every stage, or what is left of it; remember why the last one ended."""
        for number, stage in enumerate(self.plan.stages):
            if len(self.made) > number + 1:
                continue  # before it was interrupted
            if len(self.made) == number:
                self.made.append(0)
                if number and self.after_stage:
                    self.after_stage()
            seconds = time.perf_counter() - began
            if number and not self._budget.pays(number, seconds):
                self.reason = f"{OUT_OF_TIME} {self.plan.time_limit:g} seconds leaves too little for {_size_of(stage)}"
                return
            self._budget.begin(seconds)
            try:
                if self._stage(number, stage, began):
                    return
            except KeyboardInterrupt:
                if math.isinf(self._loss):
                    raise
                if sum(self.made) < self.plan.evaluations:
                    self.reason = INTERRUPTED
                    return
            except TransferError as error:
                if math.isinf(self._loss):
                    raise
                self.reason = f"stage {number + 1} failed: {error}"
                return
        self._finished = True
        last = self.plan.stages[-1].evaluations
        if sum(self.made) == self.plan.evaluations:
            self.reason = figures.all_made(self.plan.evaluations)
        elif self.made[-1] == last:
            self.reason = f"all {last} evaluations of the last stage were made"
            if self._shortened:
                self.reason += f", and fewer before it for {OUT_OF_TIME} {self.plan.time_limit:g} seconds"

    @_shortage_told()
    def _stage(self, number: int, stage: Stage, began: float) -> bool:
        """Do what is left of a stage, and tell whether the whole transfer is to end with it."""
        if self.made[number] == stage.evaluations:  # killed before the next stage, or the result
            self.reason = figures.all_made(stage.evaluations)
            return False
        self._share.begin(self._loss if self.made[number] else None)
        objective = self._objective(stage)
        self._device, self._lowering = objective.device, objective.metadata.lowering
        while True:
            minimum = self._search(number, stage, objective, began)
            self._optimizer_seconds += minimum.optimizer_seconds
            self.reason = minimum.reason
            if minimum.stopped:
                return True
            self._adam = None
            if self.made[number] == stage.evaluations or sum(self.made) not in self._restarts():
                return False

    def _restarts(self) -> list[int]:
        """Return after how many evaluations L-BFGS begins anew: as planned, and wherever the transfer was resumed."""
        resumed = self.resumed if self.plan.optimizer != "adam" else []
        return sorted({*self.plan.restarts, *resumed})

    def _search(self, number: int, stage: Stage, objective: Objective, began: float) -> Minimum:
        """Search until the stage is over, or L-BFGS is to begin anew."""
        parity, done = self.plan.restart_every is not None, sum(self.made)
        start = previous = self._enlarged(stage.width, stage.height)
        left = stage.evaluations - self.made[number]

        def record(e: Evaluation) -> None:
            nonlocal previous
            self.made[number] += 1
            if e.improved:
                self._point, self._loss, self._terms = e.point, e.loss, objective.terms
            change = float(np.sqrt(np.mean(np.square(e.point - previous))))
            previous, self._adam = e.point, e.adam
            self._seconds = time.perf_counter() - began
            step = Step(
                evaluation=sum(self.made),
                evaluations=self.plan.evaluations,
                stage=number + 1,
                stages=len(self.plan.stages),
                width=stage.width,
                height=stage.height,
                loss=e.loss,
                terms=objective.terms,
                share=self._share.of(e.loss),
                improved=e.improved,
                change=change,
                seconds=self._seconds,
                transfer=self,
            )
            self._history.append(step)
            for watch in self._watchers:
                watch(step)
            self._keep_to_budget(number)

        return minimize(
            objective.evaluate,
            start,
            evaluations=min([left, *(at - done for at in self._restarts() if at > done)]),
            optimizer=self.plan.optimizer,
            first_step=1.0 if parity else FIRST_STEP * start.size**0.5,  # in parity all is as the reference has it
            variable=Within(LEVELS if self.plan.clip else None),
            restart_every=self.plan.restart_every,
            min_improvement=self.plan.min_improvement,
            steps=stage.steps,
            adam=self._adam,
            best=self._loss if self._adam else math.inf,
            resident=objective.resident() if self.plan.optimizer == "lbfgs-device" else None,
            callback=record,
        )

    def _keep_to_budget(self, number: int) -> None:
        """End the search, or all, when the time that the stage has is over."""
        self._budget.note(number, self.made[number], sum(self.made), self._seconds)
        if self._budget.spent(number, self._seconds):
            raise StopOptimization(f"{OUT_OF_TIME} {self.plan.time_limit:g} seconds was reached")
        if self._budget.is_enough(number, self.made[number], self._seconds):
            self._shortened = True
            raise SearchOver("the rest of the time is for finer stages")

    def _objective(self, stage: Stage) -> Objective:
        recipe, size = self.plan.recipe, (stage.width, stage.height)
        return Objective.open(
            self.model,
            recipe.name,
            content=resize(self.content, *size),
            styles=[fit_style(style, recipe, *size, self.plan.style_scale) for style in self.styles],
            style_blend=self.plan.blend,
            content_mask=self.regions.content if self.regions else None,
            style_masks=self.regions.styles if self.regions else None,
            device=self.placement.device,
            lowering=self.placement.lowering,
            threads=self.placement.threads,
            low_memory=self.placement.low_memory,
            cuda=self.placement.cuda,
            precision=self.placement.precision,
            content_weight=recipe.content.weight,
            style_weight=recipe.style.weight,
            tv_weight=recipe.tv.weight,
        )

    def _begin(self, stage: Stage) -> Planes:
        """Return what the first stage starts from, with the plan's share of noise."""
        rng, size = np.random.default_rng(self.plan.seed), (stage.width, stage.height)
        noise = self.plan.recipe.noise
        match self.plan.init:
            case "random":
                return to_planes(noise.draw(rng, stage.width, stage.height), "init")
            case "statistics":
                return to_planes(_like(self.styles[0], stage, rng), "init")
            case "content":
                picture: Image.Image | None = self.content
            case "style":
                picture = self.styles[0]
            case _:
                picture = self.start
        if picture is None:
            raise InputError("init picture: none given; give the picture that the run started from")
        start = to_planes(resize(picture, *size), "init")
        if not self.plan.noise:
            return start
        drawn = to_planes(noise.draw(rng, stage.width, stage.height), "init")
        return (1 - np.float32(self.plan.noise)) * start + np.float32(self.plan.noise) * drawn

    def _enlarged(self, width: int, height: int) -> Planes:
        """Return the best picture so far in a stage's size, float32 [1, 3, height, width].

        It is the difference from the photograph that is enlarged: a finer stage starts with every detail of the
        photograph that the coarser one could not hold, rather than with a blurred picture. Not so where the photograph
        has no say, or all began with another picture: these are enlarged as they are.
        """
        *_, h, w = self._point.shape
        from_photograph = self.plan.init not in ("style", PICTURE) and self.plan.recipe.content.weight > 0
        if (w, h) == (width, height) or not from_photograph:
            enlarged = resize_planes(self._point, width, height)
        else:
            coarse, fine = (to_planes(resize(self.content, *size), "content") for size in ((w, h), (width, height)))
            enlarged = fine + resize_planes(self._point - coarse, width, height)
        return enlarged.clip(*LEVELS) if self.plan.clip else enlarged  # sharp edges overshoot when they are enlarged

    def picture(self) -> Image.Image:
        """Return the best picture so far as the user would get it: 8-bit, with colours and strength as planned.

        It has the size of the result: what a stage before the last has made is enlarged as for the next stage.
        """
        image = to_image(self._enlarged(self.plan.width, self.plan.height))
        content = resize(self.content, *image.size)
        if self.plan.colors == "keep":
            image = keep_colors(image, content)
        return mix(image, content, self.plan.strength)

    def _stage_of_picture(self) -> int:
        """Return the number of the last stage that has evaluated pictures, from 1."""
        return max(number for number, made in enumerate(self.made, 1) if made)

    def made_plan(self) -> Plan:
        """Return the plan that leads to where the transfer stands, and ends there."""
        done = sum(self.made)
        return self.plan.made(self.made, [at for at in self._restarts() if at < done])

    def position(self) -> Position:
        """Return where the transfer stands, to `run` it from there another day."""
        adam = self._adam
        return Position(
            made=tuple(self.made),
            point=self._point,
            loss=self._loss,
            terms=self._terms,
            seconds=self._seconds,
            resumed=tuple(self.resumed),
            adam=replace(adam, mean=adam.mean.copy(), square=adam.square.copy()) if adam else None,
            reason=self.reason if self._finished else "",
            device=self._device,
            lowering=self._lowering,
            share=self._share.best,
        )

    def _result(self) -> Result:
        image = self.picture()
        return Result(
            image=image,
            loss=self._loss,
            terms=self._terms,
            share=self._share.best,
            stage=self._stage_of_picture(),
            evaluated=(self._point.shape[3], self._point.shape[2]),
            evaluations=sum(self.made),
            reason=self.reason,
            history=tuple(self._history),
            seconds=self._seconds,
            optimizer_seconds=self._optimizer_seconds,
            device=self._device,
            lowering=self._lowering,
            plan=self.made_plan(),
            finished=self._finished,
            photograph=self.photograph,
            record=Record.of(self, self.origin, image, recorded_places=True),
        )


def _size_of(stage: Stage) -> str:
    return f"{stage.width}x{stage.height}"


def _like(style: Image.Image, stage: Stage, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return normal noise with the mean and covariance of a picture's colours, [H, W, 3]."""
    levels = np.asarray(style, np.float64).reshape(-1, 3)
    shape = (stage.height, stage.width)
    drawn: NDArray[np.float64] = rng.multivariate_normal(levels.mean(0), np.cov(levels.T), shape, method="svd")
    return drawn.clip(0, 255)


# They return, and are documented to return, what is defined above.
prepare = _in_model(draft)
stylize = _at_once(prepare)
