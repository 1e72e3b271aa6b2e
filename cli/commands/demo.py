"""``impasto demo``: a transfer of two pictures that come with impasto."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from impasto import unfinished
from impasto.cli import options
from impasto.cli.command import examples
from impasto.cli.options import FILE, SIZE, WHOLE_NUMBER, option
from impasto.cli.terminal.messages import say
from impasto.defaults import DEFAULT_NETWORK, DEFAULT_RECIPE, DEVICES

if TYPE_CHECKING:
    from PIL import Image


#: The options that can help the demo to fit into memory.
_CHOICES = ("size",)

#: Enough for a first impression: a few minutes on a laptop.
_EVALUATIONS = 100


@examples("impasto demo", "impasto demo --size 256 --evaluations 50 --output small.png")
def demo(
    output: Annotated[Path, option("--output", "-o", value=FILE, help="The triptych to write.")] = Path(
        "impasto-demo.png"
    ),
    model: options.Model = None,
    size: Annotated[
        str | None,
        option(
            "--size", "-s", value=SIZE, help="Long side in pixels, or WIDTHxHEIGHT.", default="the photograph's, 480"
        ),
    ] = None,
    evaluations: Annotated[
        int, option("--evaluations", "-e", value=WHOLE_NUMBER, min=1, help="How often the loss is evaluated.")
    ] = _EVALUATIONS,
    device: options.Device = DEVICES[0],
    threads: options.Threads = None,
    oversize: options.Oversize = False,
    force: options.Force = False,
) -> None:
    """Repaint a photograph that comes along, exporting a model if there is none, and write a triptych."""
    from impasto.cli.drawing.samples import open_sample
    from impasto.cli.job.job import Job
    from impasto.cli.job.outputs import Wishes
    from impasto.export import ensure
    from impasto.runtime.run.prepare import prepare

    content, style = open_sample("town"), open_sample("sunset")
    size = size or str(max(content.size))
    _check_wishes(device, threads, size, (content, style), oversize=oversize)
    created = _check_output(output, force)
    with unfinished.undone(lambda: _remove(created)):
        transfer = prepare(
            content,
            [style],
            model=ensure(model, DEFAULT_RECIPE, notify=say),
            recipe=DEFAULT_RECIPE,
            size=size,
            evaluations=evaluations,
            device=device,
            threads=threads,
        )
        job = Job(transfer, Wishes(triptych=output, force=force))
        job.announce(oversize=oversize, choices=_CHOICES)
        job.carry_out()
    job.ledger.check_names()
    print(output)
    job.end()


def _check_wishes(
    device: str, threads: int | None, size: str, pictures: tuple[Image.Image, Image.Image], *, oversize: bool
) -> None:
    """Refuse options that the transfer would refuse, before a model is exported for it."""
    from impasto.export.networks import NETWORKS
    from impasto.runtime.engine.footprints import budget_of
    from impasto.runtime.engine.placement import Placement, check_placement
    from impasto.runtime.model.graphs import DIRECT
    from impasto.runtime.model.sums import Halo
    from impasto.runtime.plan import plan, sizes
    from impasto.runtime.plan.recipe import load_recipe, parse_size
    from impasto.runtime.run import estimate
    from impasto.runtime.run.fitting import Need

    content, style = pictures
    placement = Placement(device, threads=threads)
    check_placement(placement)
    recipe = load_recipe(DEFAULT_RECIPE)
    stages = plan.schedule(*sizes.result_size(parse_size(size), content), 1, 1)
    wanted = plan.Plan(recipe, stages, recipe.init, clip=recipe.clip, bleed=recipe.bleed, optimizer=recipe.optimizer)

    def halos(layout: str) -> Halo | None:
        """Return the halo of the layout whose smallest tiles take the least memory; that of another needs onnx."""
        return NETWORKS[DEFAULT_NETWORK].halo(set(recipe.layers)) if layout == DIRECT else None

    if not oversize:
        need, budget = Need(wanted, [style.size], placement, halos=halos), budget_of(placement)
        estimate.estimate_memory(replace(need, plan=need.fitted(budget)), budget).check(_CHOICES)


def _check_output(output: Path, force: bool) -> list[Path]:
    """Make the missing folders of the output, and return them. If the output is refused, remove them again."""
    from impasto.runtime import OutputError
    from impasto.runtime.pictures import encoding

    missing = [folder for folder in output.parents if not folder.exists()]
    with contextlib.suppress(OSError):  # the check says what is wrong
        output.parent.mkdir(parents=True, exist_ok=True)
    try:
        encoding.check_output(output, force=force)
    except OutputError:
        _remove(missing)
        raise
    return missing


def _remove(folders: Sequence[Path]) -> None:
    """Remove the empty ones of some folders."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
