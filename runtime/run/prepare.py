"""`stylize`: a whole transfer, from two pictures to a third; and `prepare`, which plans it without running it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from PIL import Image

from impasto.defaults import COLORS, DEFAULT_RECIPE, INITS, REFERENCE_OPTIMIZER
from impasto.runtime.engine.engine import check_protects
from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.engine.options import ObjectiveOptions, chosen, placement_of, strengths_of, weights_of
from impasto.runtime.engine.placement import Placement, check_placement
from impasto.runtime.errors import InputError
from impasto.runtime.model.default import find_model
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.pictures import places
from impasto.runtime.pictures.margins import find_surroundings
from impasto.runtime.pictures.photographs import Photograph, Picture
from impasto.runtime.pictures.planes import as_styles
from impasto.runtime.plan.crop import Crop, parse_crop
from impasto.runtime.plan.plan import PICTURE, Plan, Stage, normalized_blend, planned_colors, schedule
from impasto.runtime.plan.plan_file import PlanFile, overruled
from impasto.runtime.plan.recipe import Recipe, Size, builtin_recipes, load_recipe, parse_size
from impasto.runtime.plan.sizes import result_size
from impasto.runtime.run.material import Material
from impasto.runtime.run.options import DEFAULTS, TransferOptions
from impasto.runtime.run.result import Result
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.signatures import explained
from impasto.text import shown
from impasto.wording import option

#: The optimiser that works on the device of the loss.
_ON_DEVICE = "lbfgs-device"


@explained(TransferOptions, ObjectiveOptions, defaults=DEFAULTS)
def draft(content: Picture, styles: Picture | Sequence[Picture], **options: Unpack[TransferOptions]) -> Transfer:
    """Plan a transfer as `prepare` does; but the model folder may lack the recipe, if it is a built-in one.

    Parameters
    ----------
    content
        The photograph: a path, an http or https address, a PIL image of any mode, or an array (H, W), (H, W, 1),
        (H, W, 3) or (H, W, 4): uint8, bool, uint16 of 0..65535, or other numbers of 0..255.
    styles
        The painting, or a list of them, whose targets are averaged; as `content`. Transparent parts are white.

    Raises
    ------
    InputError
        When an argument cannot be used; an `OptionError` when there is no option of that name.
    """
    file = None if (plan_given := options.get("plan")) is None else PlanFile.given(plan_given)
    callback, recipe = options.get("callback"), options.get("recipe", (file and file.recipe) or DEFAULT_RECIPE)
    if not isinstance(recipe, str):
        raise InputError(f"{option('recipe')} is {shown(recipe)}; expected the name of a recipe")
    if callback is not None and not callable(callback):
        raise InputError(f"callback is {shown(callback)}; expected a function that takes a step")
    given, placement = as_styles(styles), placement_of(options)
    _check_together(options)
    if options.get("optimizer") == _ON_DEVICE:
        _check_whole(placement)
    folder = find_model(options.get("model"))
    metadata = _metadata(ModelFolder.open(folder), recipe)
    own = metadata.recipe if metadata else load_recipe(recipe)
    photograph = Photograph.given(content, "content")
    paintings = [Photograph.given(style, f"style {k}") for k, style in enumerate(given, 1)]
    start = _start(options.get("init"))
    crops = _crops(options.get("style_crop") or (file and file.style_crop) or own.style_crop, paintings)
    if file:
        plan = _plan_of_file(file, own, photograph, paintings, options, start is not None)
        plan = replace(plan, crops=crops if any(crops) else ())
    else:
        plan = _plan(own.with_weights(*weights_of(options)), photograph.picture, crops, options, start is not None)
    material = Material.given(
        photograph,
        paintings,
        start=start,
        content_mask=options.get("content_mask"),
        style_masks=options.get("style_masks"),
        region_strengths=plan.region_strengths,
        protect=options.get("protect"),
        protect_weight=plan.protect_weight,
        crops=plan.crops,
    )
    material.check(plan)
    check_placement(placement, by_region=material.guided is not None)
    if metadata and material.protection and not material.protection.is_idle:
        check_protects(ModelFolder.open(folder), recipe)
    if _ON_DEVICE in map(plan.optimizer_of, plan.stages):
        _check_whole(placement)
        placement = _unrecorded(placement, _ON_DEVICE)
    transfer = Transfer(plan, material, folder, placement, callback, options.get("progress"))
    if metadata:
        transfer.metadata = metadata  # so that it is not read again
    return transfer


@explained(TransferOptions, ObjectiveOptions, defaults=DEFAULTS, like=draft)
def prepare(content: Picture, styles: Picture | Sequence[Picture], **options: Unpack[TransferOptions]) -> Transfer:
    """Plan a transfer that repaints the content picture in the manner of the styles.

    Returns
    -------
    Transfer
        A transfer that has not begun.

    Raises
    ------
    InputError
        When an argument cannot be used; an `OptionError` when there is no option of that name.
    """
    transfer = draft(content, styles, **options)
    _ = transfer.metadata  # refuses a recipe that the model folder lacks
    return transfer


@explained(TransferOptions, ObjectiveOptions, defaults=DEFAULTS, like=draft)
def stylize(content: Picture, styles: Picture | Sequence[Picture], **options: Unpack[TransferOptions]) -> Result:
    """Repaint the content picture in the manner of the styles.

    Returns
    -------
    Result
        The best picture, and its history.

    Raises
    ------
    InputError
        When an argument cannot be used, before any work; an `OptionError` when there is no option of that name.
    TransferError
        When not even the start has a finite loss, or onnxruntime fails before there is a picture.

    Notes
    -----
    An interrupt (`KeyboardInterrupt`: Ctrl-C, a notebook's stop button) ends the transfer as the time limit does: the
    best picture so far is returned, with `finished` false. Before the first evaluation the interrupt is raised.

    Examples
    --------
    >>> result = stylize("photo.jpg", "painting.jpg", model="models/vgg19", size=512)  # doctest: +SKIP
    >>> result.save("result.png")  # doctest: +SKIP
    """
    return prepare(content, styles, **options).run()


def _check_together(options: TransferOptions) -> None:
    """Refuse options that exclude each other."""
    stages = options.get("stages")
    if options.get("restart_every") is not None and stages not in (None, 1):
        named = f"{option('stages')} is {stages}: with {option('restart_every')}"
        raise InputError(f"{named} there is one; leave one of the two out")


def _check_whole(placement: Placement) -> None:
    """Refuse tiles of a definite side for an optimiser that needs whole pictures."""
    if placement.side:
        tile, other = option("tile", placement.side), option("optimizer", _ON_DEVICE)
        raise InputError(f"{tile}: its gradients are added up on the host; leave it out with {other}")


def _unrecorded(placement: Placement, optimizer: str) -> Placement:
    """Return the placement without recording, for an optimiser whose pictures change addresses."""
    if placement.cuda.graph:
        recorded, other = option("cuda.graph", True), option("optimizer", optimizer)
        raise InputError(f"{recorded}: needs pictures to stay in their places; leave it out with {other}")
    return placement.unrecorded()


def _crops(wanted: str | Sequence[str], paintings: Sequence[Photograph]) -> tuple[Crop, ...]:
    """Return what is left out of each painting, as the option says, or a plan for each."""
    each = [wanted] * len(paintings) if not isinstance(wanted, Sequence) or isinstance(wanted, str) else list(wanted)
    if len(each) != len(paintings):
        raise InputError(
            f"{option('style_crop')}: {len(each)} given for {len(paintings)} styles; give one, or one for each"
        )
    crops = []
    for text, painting in zip(each, paintings, strict=True):
        crop = parse_crop(text)
        if not isinstance(crop, Crop):
            crop = find_surroundings(painting.over_white()) if crop == "auto" else Crop()
        crops.append(crop)
    return tuple(crops)


def _plan(
    recipe: Recipe, content: Image.Image, crops: tuple[Crop, ...], options: TransferOptions, has_start: bool
) -> Plan:
    """Return the plan that the options ask for; the recipe's own values stand for those that are not given."""
    clip, optimizer, given = options.get("clip"), options.get("optimizer"), options.get("bleed")
    bleed = recipe.bleed if given is None else given
    count, usual = options.get("stages"), recipe.optimizer
    if options.get("restart_every") is not None:
        count, usual = 1, REFERENCE_OPTIMIZER
    values = {
        **chosen(Plan, options),
        "recipe": recipe,
        "stages": _stages(recipe, content, options.get("size"), options.get("evaluations"), count),
        "init": PICTURE if has_start else str(options.get("init") or recipe.init),
        "colors": planned_colors(options.get("colors", COLORS[0])),
        "blend": normalized_blend(options.get("style_blend"), len(crops)),
        "crops": crops if any(crops) else (),
        "region_strengths": strengths_of(options),
        "clip": recipe.clip if clip is None else clip,
        "bleed": bleed,
        "optimizer": usual if optimizer is None else optimizer,
    }
    return Plan(**values)


def _plan_of_file(
    file: PlanFile,
    recipe: Recipe,
    photograph: Photograph,
    paintings: Sequence[Photograph],
    options: TransferOptions,
    has_start: bool,
) -> Plan:
    """Return the plan of a file; the options that are given beside it overrule it, in every stage."""
    content, size, evaluations = photograph.picture, options.get("size"), options.get("evaluations")
    names = [None if style.place is None else Path(places.name(style.place)).name for style in paintings]
    plan = file.plan(recipe, content, names, has_start=has_start)
    if size is not None:
        sizes = zip(plan.stages, file.sizes(recipe, content, _size(size)), strict=True)
        stages = (replace(stage, width=w, height=h) for stage, (w, h) in sizes)
        plan = replace(plan, stages=tuple(stages))
    given = {**options, "evaluations": None if evaluations is None else _whole(option("evaluations"), evaluations)}
    return overruled(plan, given)


def _metadata(folder: ModelFolder, recipe: str) -> Metadata | None:
    """Return the metadata of a recipe in a model folder; None if the folder lacks a built-in recipe."""
    lacking = recipe not in folder.recipes() and recipe in builtin_recipes()
    return None if lacking else read_metadata(folder, recipe)


def _stages(
    recipe: Recipe,
    content: Image.Image,
    size: int | tuple[int, int] | str | None,
    evaluations: int | None,
    stages: int | None,
) -> tuple[Stage, ...]:
    """Return the stages that the options ask for; None stands for the recipe's own."""
    count = recipe.evaluations if evaluations is None else _whole(option("evaluations"), evaluations)
    number = stages if stages is None else _whole(option("stages"), stages)
    full = (
        result_size(_size(recipe.size), content, recipe.size_of) if size is None else result_size(_size(size), content)
    )
    return schedule(*full, count, number if number or recipe.coarse_to_fine else 1)


def _whole(name: str, number: int) -> int:
    """Return a number of 1 or more as Python's int: NumPy has its own types."""
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
    """Return the picture to start from; None if `init` is the name of a start."""
    if init is None or (isinstance(init, str) and init in INITS):
        return None
    if isinstance(init, str) and places.is_missing(init):
        raise InputError(f"{option('init')} {shown(init)}: expected one of {', '.join(INITS)}, or a picture")
    return Photograph.given(init, "init")
