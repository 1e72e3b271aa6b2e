"""Measure what each step with a large picture takes in memory, beside the evaluator and the optimiser.

``python -m benchmarks.pictures``. Each step is made in a process of its own, after its inputs have been made. Linux
tells how much larger the process became meanwhile than it was before; results that the step returns are part of that.
Python's `tracemalloc` then tells the same of a second run of the step, of the memory that Python and NumPy allocate:
Pillow's is not in that. Both are printed as multiples of one float32 picture [1, 3, H, W].
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import io
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import machine
from benchmarks.protocol import answer_alone, peak_mib
from impasto.runtime.engine.placement import Placement
from impasto.runtime.optimize.adam import Adam
from impasto.runtime.pictures import colors, planes
from impasto.runtime.pictures.encoding import write_picture
from impasto.runtime.pictures.masks import Regions
from impasto.runtime.pictures.photographs import read_photograph
from impasto.runtime.pictures.planes import Planes
from impasto.runtime.plan.plan import KEEP_EDGES, Plan, Stage
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.run import canvas
from impasto.runtime.run.checkpoint import Checkpoint, Checkpoints
from impasto.runtime.run.material import Material
from impasto.runtime.run.notebook import Live
from impasto.runtime.run.record import Input, Machine, Model, Origin
from impasto.runtime.run.state import State, Step, View
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.run.watch import Preview, Saves

#: Work that has its inputs already; what it returns stays until it has been measured.
Work = Callable[[], object]


@dataclass(frozen=True)
class Scene:
    """The pictures of a measurement.

    Attributes
    ----------
    width, height
        The size of the picture.
    folder
        Where the files lie: ``content.jpg``, ``content.png``, ``style.png``, ``mask.png`` and
        ``style mask.png``.
    style
        The size of the style.
    """

    width: int
    height: int
    folder: Path
    style: tuple[int, int] = (4000, 3000)

    @property
    def planes_bytes(self) -> int:
        """The bytes of one float32 picture [1, 3, H, W]."""
        return 3 * self.width * self.height * np.dtype(np.float32).itemsize

    def draw(self) -> None:
        """Make the files."""
        content = drawn(self.width, self.height, 0)
        content.save(self.folder / "content.jpg", quality=95, subsampling=0)
        content.save(self.folder / "content.png", compress_level=1)
        drawn(*self.style, 1).save(self.folder / "style.png", compress_level=1)
        for name, size in (("mask.png", (self.width, self.height)), ("style mask.png", self.style)):
            halves = Image.new("RGB", size, "#ff0000")
            halves.paste("#0000ff", (0, 0, size[0] // 2, size[1]))
            halves.save(self.folder / name)

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self.folder / name

    def image(self, name: str = "content.png") -> Image.Image:
        """Return one of the pictures."""
        with Image.open(self.path(name)) as image:
            return image.convert("RGB")

    def material(self, *, masks: bool = False) -> Material:
        """Return the pictures as a transfer has them."""
        mask, style_mask = (str(self.path(name)) for name in ("mask.png", "style mask.png"))
        masked = {"content_mask": mask, "style_masks": [style_mask]} if masks else {}
        return Material.given(self.image(), [self.image("style.png")], **masked)  # type: ignore[arg-type]

    def plan(self, **options: object) -> Plan:
        """Return a plan of two stages, the first half as large."""
        stages = Stage(self.width // 2, self.height // 2, 1), Stage(self.width, self.height, 1)
        return Plan(load_recipe("impasto"), stages, **{"init": "content", **options})  # type: ignore[arg-type]

    def point(self, scale: int = 1) -> Planes:
        """Return a picture that is optimised, smaller by a factor."""
        shape = 1, 3, self.height // scale, self.width // scale
        return np.random.default_rng(2).uniform(-5, 260, shape[2:]).astype(np.float32) * np.ones(shape, np.float32)

    def transfer(self, scale: int = 1, *, adam: bool = False, colors: str = "style") -> Transfer:
        """Return a transfer in its second stage, or, where the scale is 2, at the beginning of that."""
        point = self.point(scale)
        state = State((1, 1), point, loss=1.0, terms={"content/block1_conv1": 1.0}, share=0.5)
        if adam:
            state = State((1, 1), point, loss=1.0, adam=Adam(1, point + 1, point + 2, point + 3))
        plan = self.plan(colors=colors, optimizer="adam" if adam else "lbfgs")
        transfer = Transfer(plan, self.material(), self.folder)
        transfer.state = state
        inputs = Input("content", None, 1, 1, "0" * 64), Input("style", None, 1, 1, "0" * 64)
        transfer.origin = Origin(inputs, Model("", "", "", "0" * 64, False), Placement(), Machine("", 1, {}))
        return transfer


def drawn(width: int, height: int, seed: int) -> Image.Image:
    """Draw waves with some noise, as a photograph has both."""
    rng, x = np.random.default_rng(seed), np.arange(width, dtype=np.float32) / width
    image = Image.new("RGB", (width, height))
    for top in range(0, height, 256):
        y = np.arange(top, min(top + 256, height), dtype=np.float32)[:, None] / height
        waves = np.stack([128 + 90 * np.sin(20 * x * (1 + k) + 9 * y + seed) * np.cos(7 * y - k) for k in range(3)], -1)
        noise = rng.normal(0, 4, (*waves.shape[:2], 1)).astype(np.float32)
        image.paste(Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8)), (0, top))
    return image


# --- the steps ------------------------------------------------------------------------------------------------


def _decoding(name: str) -> Callable[[Scene], Work]:
    return lambda scene: lambda: read_photograph(scene.path(name))


def _references(scene: Scene, *, masks: bool = False, matched: bool = False) -> Work:
    material, plan = scene.material(masks=masks), scene.plan(colors="match" if matched else "style")
    _ = material.styles(plan.colors)
    return lambda: material.references(plan, plan.stages[-1])


def _guides(scene: Scene) -> Work:
    material = scene.material(masks=True)
    assert material.regions is not None
    return lambda: material.regions.content_guides(scene.width, scene.height)  # type: ignore[union-attr]


def _masks(scene: Scene) -> Work:
    masks = [scene.image("mask.png") for _ in range(2)]
    return lambda: Regions.match(masks[0], masks[1:], 1)


def _begin(scene: Scene, **options: object) -> Work:
    material = scene.material()
    plan = Plan(load_recipe("impasto"), (Stage(scene.width, scene.height, 1),), **options)  # type: ignore[arg-type]
    return lambda: canvas.begin(plan, material)


def _enlarge(scene: Scene) -> Work:
    material, plan, point = scene.material(), scene.plan(), scene.point(2)
    return lambda: canvas.enlarge(point, scene.width, scene.height, plan, material)


def _to_image(scene: Scene) -> Work:
    point = scene.point()
    return lambda: planes.to_image(point)


def _to_planes(scene: Scene) -> Work:
    image = scene.image()
    return lambda: planes.to_planes(image, "content")


def _keep(scene: Scene) -> Work:
    image, content = planes.to_image(scene.point()), scene.image()
    return lambda: colors.keep_colors(image, content)


def _match(scene: Scene) -> Work:
    image, content = planes.to_image(scene.point()), scene.image()
    return lambda: colors.match_colors(image, content)


def _mix(scene: Scene, strength: float) -> Work:
    image, content = planes.to_image(scene.point()), scene.image()
    return lambda: colors.mix(image, content, strength)


def _picture(scene: Scene, scale: int, colors: str = "style") -> Work:
    return scene.transfer(scale, colors=colors).picture


def _step(scene: Scene, transfer: Transfer) -> Step:
    return Step(
        evaluation=2, evaluations=2, stage=2, stages=2, width=scene.width, height=scene.height, of_stage=1, loss=1.0,
        terms={}, share=0.5, improved=True, change=1.0, seconds=1.0, view=View(transfer.picture),
    )  # fmt: skip


def _preview(scene: Scene) -> Work:
    transfer = scene.transfer()
    preview = Preview(scene.path("preview.png"), 0)
    return lambda: preview.see(_step(scene, transfer))


def _save(scene: Scene) -> Work:
    transfer = scene.transfer()
    saves = Saves(scene.path("save.png"), 1, may_replace=lambda path: True)
    return lambda: saves.see(_step(scene, transfer))


def _notebook(scene: Scene) -> Work:
    transfer = scene.transfer()

    def show() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            Live(transfer.plan, transfer.material.photograph)(_step(scene, transfer))

    return show


def _checkpoint(scene: Scene, *, adam: bool) -> Work:
    transfer = scene.transfer(adam=adam)
    checkpoints = Checkpoints(scene.path("run.impasto"), transfer, transfer.origin)
    return checkpoints.save


def _resumed(scene: Scene, *, adam: bool) -> Work:
    _checkpoint(scene, adam=adam)()
    return lambda: Checkpoint.read(scene.path("run.impasto"))


def _written(scene: Scene, name: str) -> Work:
    image, photograph = scene.image(), read_photograph(scene.path("content.jpg"))
    return lambda: write_picture(image, scene.path(name), like=photograph, text={"impasto": "x" * 4000})


def _inputs(scene: Scene) -> Work:
    image = scene.image()
    return lambda: Input.of("content", image, None)


#: Step -> a function that makes its inputs, and returns the work.
STEPS: dict[str, Callable[[Scene], Work]] = {
    "read a JPEG": _decoding("content.jpg"),
    "read a PNG": _decoding("content.png"),
    "hash of an input": _inputs,
    "levels to planes": _to_planes,
    "references of a stage": _references,
    "masks": _masks,
    "guides of two regions": _guides,
    "begin: content": lambda scene: _begin(scene, init="content"),
    "begin: content, half noise": lambda scene: _begin(scene, init="content", noise=0.5),
    "begin: noise": lambda scene: _begin(scene, init="random"),
    "begin: statistics of the style": lambda scene: _begin(scene, init="statistics"),
    "enlarge by 2": _enlarge,
    "planes to levels": _to_image,
    "colours: keep": _keep,
    "colours: match": _match,
    "strength 0.5": lambda scene: _mix(scene, 0.5),
    "picture of the result": lambda scene: _picture(scene, 1),
    "picture of the result, colours kept": lambda scene: _picture(scene, 1, colors=KEEP_EDGES),
    "picture of a coarser stage": lambda scene: _picture(scene, 2),
    "preview": _preview,
    "picture in between": _save,
    "notebook": _notebook,
    "checkpoint": lambda scene: _checkpoint(scene, adam=False),
    "checkpoint, adam": lambda scene: _checkpoint(scene, adam=True),
    "resume": lambda scene: _resumed(scene, adam=False),
    "resume, adam": lambda scene: _resumed(scene, adam=True),
    "write a PNG": lambda scene: _written(scene, "out.png"),
    "write a JPEG": lambda scene: _written(scene, "out.jpg"),
}


# --- the measurement ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Taken:
    """The memory that a step has taken, in bytes: of its process, and as `tracemalloc` counts it; and its time."""

    step: str
    resident: float
    traced: float
    seconds: float


def measure_here(step: str, scene: Scene) -> Taken:
    """Measure a step in this process."""
    work = STEPS[step](scene)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
    before, began = peak_mib(), time.perf_counter()
    result = work()
    seconds = time.perf_counter() - began
    resident = (peak_mib() - before) * 2**20
    del result
    gc.collect()
    tracemalloc.start()
    work()
    _, traced = tracemalloc.get_traced_memory()
    return Taken(step, resident, float(traced), seconds)


def measure(step: str, scene: Scene) -> Taken:
    """Measure a step in a process of its own.

    Raises
    ------
    CalledProcessError
        When it fails.
    """
    size = f"{scene.width}x{scene.height}"
    return Taken(**answer_alone("pictures", "--size", size, f"--one={step}", "--folder", str(scene.folder)))


def table(taken: list[Taken], scene: Scene) -> str:
    """Return the measurements in Markdown."""
    unit = scene.planes_bytes
    lines = [f"One float32 picture of {scene.width}x{scene.height} takes {unit / 1e6:.0f} MB.", ""]
    lines += ["| step | pictures | of these NumPy's | seconds |", "|---|--:|--:|--:|"]
    for one in taken:
        lines.append(f"| {one.step} | {one.resident / unit:.2f} | {one.traced / unit:.2f} | {one.seconds:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    machine.need_linux()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--size", default="6000x4000", help="the size of the picture [6000x4000]")
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS), metavar="STEP", help="the steps")
    parser.add_argument("--output", type=Path, help="a file for the measurements, as JSON")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    if options.one:
        print(json.dumps(asdict(measure_here(options.one, Scene(width, height, options.folder)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(width, height, Path(folder))
        scene.draw()
        taken: list[Taken] = []
        for step in options.only:
            taken.append(measure(step, scene))
            print(f"{taken[-1].resident / scene.planes_bytes:6.2f}  {step}", file=sys.stderr, flush=True)
            if options.output:
                options.output.write_text(json.dumps([asdict(one) for one in taken], indent=1) + "\n", "utf-8")
    print(table(taken, scene))


if __name__ == "__main__":
    main()
