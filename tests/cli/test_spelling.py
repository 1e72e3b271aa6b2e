"""Messages call an option what their reader has typed: ``--style-blend``, or in Python ``style_blend``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from processes import assert_refused, impasto_, lay_out

from impasto.cli.app import app
from impasto.cli.options import GIB, NAME, NAME_OR_FILE, NUMBER, SECONDS, SIZE, WHOLE_NUMBER
from impasto.cli.spelling import on_command_line, parameter_name
from impasto.export.weights.sources import load_weights
from impasto.runtime import ImpastoError
from impasto.runtime.engine.cuda import CudaOptions
from impasto.runtime.run.prepare import prepare

#: What of Python a wrong value is given to, what is typed for the same, and how both messages go on.
WRONG: dict[str, tuple[str, Any, str, str]] = {
    "size": ("size", "vast", "vast", " 'vast': expected "),
    "init": ("init", "nowhere", "nowhere", " 'nowhere': expected one of random, content"),
    "noise": ("noise", 2.0, "2", "expected "),
    "seed": ("seed", -1, "-1", "expected "),
    "colors": ("colors", "loud", "loud", " 'loud': expected style, keep, keep-pixels, match or match-lab"),
    "strength": ("strength", float("nan"), "nan", "expected "),
    "style_blend": ("style_blend", [-1.0], "-1", " -1.0: expected weights of 0 or more"),
    "style_scale": ("style_scale", 99.0, "99", " is 99.0; expected 0.05 to 20"),
    "boldness": ("boldness", 2.0, "2", "expected "),
    "content_weight": ("content_weight", -1.0, "-1", " is -1.0; expected 0, or 1e-15"),
    "style_weight": ("style_weight", float("inf"), "inf", " is inf; expected a finite number"),
    "tv_weight": ("tv_weight", 1e38, "1e38", " is 1e+38; expected 0, or 1e-15"),
    "protect_weight": ("protect_weight", -1.0, "-1", " is -1.0; expected 0 to 1000000"),
    "evaluations": ("evaluations", 0, "0", " is 0; expected 1 or more"),
    "stages": ("stages", 0, "0", "expected "),
    "optimizer": ("optimizer", "sgd", "sgd", " 'sgd': expected lbfgs, lbfgs-sobolev, lbfgs-device or adam"),
    "min_improvement": ("min_improvement", 2.0, "2", " is 2.0; expected 0 to 1"),
    "time_limit": ("time_limit", -1.0, "-1", " is -1.0; expected 0 or more"),
    "restart_every": ("restart_every", 0, "0", "expected "),
    "device": ("device", "gpu", "gpu", " 'gpu': expected auto, cpu"),
    "lowering": ("lowering", "tensor", "tensor", " 'tensor': expected auto, "),
    "threads": ("threads", 0, "0", " is 0; expected 1 or more"),
    "precision": ("precision", "fp8", "fp8", " 'fp8': expected auto, fp32, fp16 or bf16"),
    "gpu_memory": ("cuda.memory", 0.1, "0.1", " is 0.1; expected 0.25 or more, in GiB"),
    "conv_search": ("cuda.search", "luck", "luck", " 'luck': expected exhaustive, "),
}

#: Options that have no value of a kind that could be wrong by itself: what they name is there, or not. And those that
#: Python does not have.
OTHERS = {"recipe", "save_every", "preview_every", "workers"}


def in_python(name: str, value: Any, model: Path) -> str:
    """Return what `prepare` says of a wrong value."""
    with pytest.raises(ImpastoError) as refused:
        of_cuda, _, part = name.partition(".")
        given = {of_cuda: CudaOptions(**{part: value})} if part else {name: value}
        picture = Image.new("RGB", (48, 40))
        prepare(picture, picture, **{"model": model, "recipe": "seed", "size": 40, **given})
    return str(refused.value)


def test_every_number_and_every_name_is_tried() -> None:
    group: Any = typer.main.get_command(app)
    kinds = {NUMBER, WHOLE_NUMBER, SECONDS, GIB, NAME, NAME_OR_FILE, SIZE, "NUMBERS"}
    assert {p.name for p in group.commands["stylize"].params if p.metavar in kinds} == {*WRONG, *OTHERS}


@pytest.mark.parametrize("name", WRONG)
def test_an_option_is_called_what_was_typed(
    name: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path / "desk", monkeypatch)
    in_python_, value, typed, told = WRONG[name]
    said = in_python(in_python_, value, model)
    assert said.startswith(f"{in_python_} ") and told in said
    quick = ["--size", "40"] if name != "size" else []
    shell = impasto_(
        "stylize", "photo.png", "painting.jpg", "-o", "out.png", "-r", "seed", "--model", model, *quick,
        f"--{name.replace('_', '-')}={typed}",
    )  # fmt: skip
    assert_refused(shell, told)
    assert shell.stderr.startswith(f"error: --{name.replace('_', '-')} ")
    assert in_python_ not in shell.stderr or "_" not in in_python_


@pytest.mark.parametrize(
    ("options", "given", "reason"),
    [
        (
            ("--low-memory", "--cuda-graph"),
            lambda: {"low_memory": True, "cuda": CudaOptions(graph=True)},
            "{cuda.graph}: needs the memory that {low_memory} gives back",
        ),
        (
            ("--cuda-graph", "--optimizer", "lbfgs-device"),
            lambda: {"optimizer": "lbfgs-device", "cuda": CudaOptions(graph=True)},
            "{cuda.graph}: needs pictures to stay in their places",
        ),
        (
            ("--tile", "64", "--optimizer", "lbfgs-device"),
            lambda: {"tile": 64, "optimizer": "lbfgs-device"},
            "{tile}: its gradients are added up on the host",
        ),
        (("--stages", "2", "--restart-every", "5"), lambda: {"stages": 2, "restart_every": 5}, "is 2: with {restart}"),
        (
            ("--optimizer", "adam", "--restart-every", "5"),
            lambda: {"optimizer": "adam", "restart_every": 5},
            "{restart}: restarts are SciPy's",
        ),
        (("--style-mask", "#ff0000"), lambda: {"style_masks": "#ff0000"}, "{mask}: none given beside {masks}"),
        (("--content-mask", "#ff0000"), lambda: {"content_mask": "#ff0000"}, "{masks}: 0 given for 1 styles"),
        (
            ("--region-strength", "#ff0000=1"),
            lambda: {"region_strengths": {"#ff0000": 1}},
            "{strength}: there are no regions without {mask}",
        ),
        (("--style-blend", "1,2"), lambda: {"style_blend": [1, 2]}, "{blend} has 2 weights for 1 styles"),
    ],
)
def test_options_that_exclude_each_other_are_both_called_so(
    options: tuple[str, ...], given: Any, reason: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path / "desk", monkeypatch)
    names = {
        "{cuda.graph}": ("--cuda-graph", "cuda.graph=True"),
        "{low_memory}": ("--low-memory", "low_memory=True"),
        "{tile}": ("--tile 64", "tile=64"),
        "{restart}": ("--restart-every", "restart_every"),
        "{mask}": ("--content-mask", "content_mask"),
        "{masks}": ("--style-mask", "style_masks"),
        "{strength}": ("--region-strength", "region_strengths"),
        "{blend}": ("--style-blend", "style_blend"),
    }
    typed = spelled = reason
    for mark, (shell, python) in names.items():
        typed, spelled = typed.replace(mark, shell), spelled.replace(mark, python)
    placed = ("-o", "out.png", "--model", model, "-r", "seed", "--size", "40")
    assert_refused(impasto_("stylize", "photo.png", "painting.jpg", *placed, *options), typed)
    with pytest.raises(ImpastoError) as refused:
        prepare("photo.png", "painting.jpg", model=model, recipe="seed", size=40, **given())
    assert spelled in str(refused.value)


def test_what_a_record_says_wrong_is_no_option_of_the_users(tmp_path: Path) -> None:
    from impasto.cli.spelling import on_command_line
    from impasto.runtime.plan.plan import Plan, Stage
    from impasto.runtime.plan.recipe import load_recipe
    from impasto.runtime.storage import codec
    from impasto.wording import speak

    data = codec.to_data(Plan(load_recipe("seed"), (Stage(40, 32, 3),), "content"))
    with speak(on_command_line), pytest.raises(ImpastoError) as refused:
        codec.from_data(Plan, {**data, "noise": 3.0})
    assert str(refused.value) == "noise is 3.0; expected 0 to 1"


@pytest.mark.parametrize(
    ("options", "given", "typed", "spelled"),
    [
        (("--network", "vgg11"), {"network": "vgg11"}, "--network 'vgg11': expected", "network 'vgg11': expected"),
        (
            ("--preprocessing", "own"),
            {"preprocessing": "own"},
            "--preprocessing 'own': expected",
            "preprocessing 'own': expected",
        ),
    ],
)
def test_options_of_an_export_are_called_what_was_typed(
    options: tuple[str, ...], given: dict[str, str], typed: str, spelled: str
) -> None:
    assert_refused(impasto_("export", "--weights", "random", "-o", "new", *options), typed)
    with pytest.raises(ImpastoError) as refused:
        load_weights("random", **given)
    assert str(refused.value).startswith(spelled)


def test_the_command_line_spells_every_option_as_it_is_typed() -> None:
    group: Any = typer.main.get_command(app)
    flags = {flag for p in group.commands["stylize"].params for flag in [*p.opts, *p.secondary_opts]}
    others = "low_memory", "cuda.tf32", "cuda.workspace", "cuda.graph"
    for name in (*WRONG, *others, "content_mask", "style_masks", "region_strengths", "protect"):
        assert on_command_line(name) in flags
    assert on_command_line("cuda.tf32", False) in flags
    assert on_command_line("size", 512) == "--size 512"
    assert parameter_name("cuda.memory") == "gpu_memory"
