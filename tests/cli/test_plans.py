"""Plans on the command line: read, overruled, written, told, and made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from processes import assert_refused, contents, impasto_, lay_out

from impasto.runtime.plan.plan import StageOptions
from impasto.runtime.run.record import Record

PLAN = """
size = 72
seed = 4
noise = 0.25

[[stages]]
size = "50%"
evaluations = 6
styles = ["painting"]
style_weight = 50

[[stages]]
evaluations = 3
styles = [2]
start_colors = "style"
optimizer = "adam"
"""


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: Path) -> Path:
    monkeypatch.setenv("IMPASTO_MODEL", str(small_model))
    folder = lay_out(tmp_path / "desk", monkeypatch)
    Image.open("photo.png").transpose(Image.Transpose.ROTATE_180).save("other.png")
    Path("mine.toml").write_text(PLAN)
    return folder


def stylize(small_model: Path, *options: object, plan: bool = True) -> dict[str, object]:
    """Run a command that has to succeed, and return what it prints as JSON."""
    place = ("--plan", "mine.toml") if plan else ()
    done = impasto_(*command(small_model), *place, "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def command(model: Path) -> tuple[object, ...]:
    pictures = ("photo.png", "painting.jpg", "other.png")
    return "stylize", *pictures, "--model", model, "-r", "small", "--device", "cpu", "--threads", "1"


def test_a_plan_is_carried_out_recorded_and_made_again(small_model: Path) -> None:
    stylize(small_model, "-o", "out.png")
    plan = Record.read("out.png").plan
    assert (plan.seed, plan.noise, plan.recipe.name) == (4, 0.25, "small")
    assert [stage.evaluations for stage in plan.stages] == [6, 3]
    assert [stage.options for stage in plan.stages] == [
        StageOptions(blend=(1.0, 0.0), style_weight=50),
        StageOptions(blend=(0.0, 1.0), start_colors="style", optimizer="adam"),
    ]
    told = impasto_("info", "out.png").stdout
    assert "  stage 1                style weight 50, style blend 1:0\n" in told
    assert "  stage 2                style blend 0:1, optimizer adam, start colors style\n" in told
    again = impasto_("rerun", "out.png", "-o", "again.png", "--inputs", ".", "--model", small_model)
    assert again.returncode == 0, again.stderr
    assert "the same picture as out.png, bit for bit" in again.stderr


def test_an_option_beside_a_plan_overrules_it_and_a_default_does_not(small_model: Path) -> None:
    stylize(small_model, "-o", "out.png", "--style-weight", "7", "--noise", "0", "--size", "48", "--evaluations", "6")
    plan = Record.read("out.png").plan
    assert (plan.recipe.style.weight, plan.noise, plan.seed) == (7, 0, 4)
    assert [(stage.width, stage.evaluations) for stage in plan.stages] == [(32, 4), (40, 2)]
    assert plan.stages[0].options == StageOptions(blend=(1.0, 0.0))


def test_a_dry_run_tells_everything_and_writes_nothing(desk: Path, small_model: Path) -> None:
    before = contents(desk), contents(small_model)
    done = impasto_(*command(small_model), "--plan", "mine.toml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert (contents(desk), contents(small_model)) == before
    title, *rows = done.stdout.splitlines()
    assert title == "60x72, as it would be made"
    assert "  evaluations            6 at 32x38, 3 at 60x72" in rows
    assert "  stage 2                style blend 0:1, optimizer adam, start colors style" in rows
    assert "60x72, 9 evaluations in 2 stages: about" in done.stderr
    found = stylize(small_model, "--dry-run")
    assert found.keys() == {"plan", "estimate"}
    assert contents(desk) == before[0]


@pytest.mark.parametrize(
    "options",
    [
        ("--size", "72", "--stages", "2", "--evaluations", "7", "--style-blend", "1,2"),
        ("--size", "70x50", "--init", "random", "--seed", "8", "--no-clip", "--optimizer", "adam", "-e", "4"),
        ("--size", "64", "--style-scale", "0.7", "--tv-weight", "0.25", "--colors", "match", "--strength", "0.5"),
    ],
)
def test_a_plan_that_is_written_does_the_same_bit_for_bit(small_model: Path, options: tuple[str, ...]) -> None:
    stylize(small_model, "-o", "first.png", *options, plan=False)
    stylize(small_model, "--dry-run", "--write-plan", "written.toml", *options, plan=False)
    stylize(small_model, "-o", "second.png", "--plan", "written.toml", plan=False)
    first, second = Record.read("first.png"), Record.read("second.png")
    assert first.plan == second.plan
    assert first.request == second.request
    assert first.outcome.sha256 == second.outcome.sha256


def test_a_plan_is_written_by_a_run_too_and_a_file_is_not_lost_by_it(small_model: Path) -> None:
    stylize(small_model, "-o", "out.png", "--write-plan", "written.toml")
    assert Path("written.toml").read_text().count("[[stages]]") == 2
    refused = impasto_(*command(small_model), "--dry-run", "--write-plan", "written.toml")
    assert_refused(refused, "output written.toml: exists already; choose another name, or replace it with --force")
    same = ("--plan", "mine.toml", "--dry-run", "--write-plan", "mine.toml", "--force")
    assert_refused(impasto_(*command(small_model), *same), "output mine.toml: is one of the pictures to be read")
    assert Path("mine.toml").read_text() == PLAN
    stylize(small_model, "--dry-run", "--write-plan", "written.toml", "--force", "--seed", "9")
    assert "seed = 9\n" in Path("written.toml").read_text()


def test_an_interrupted_plan_goes_on_from_its_checkpoint(small_model: Path) -> None:
    kept = ("--checkpoint", "run.impasto", "--write-plan", "written.toml", "-o", "out.png")
    done = impasto_(*command(small_model), "--plan", "mine.toml", *kept, "--time-limit", "0.000001")
    assert done.returncode == 0, done.stderr
    assert Path("run.impasto").exists()
    found = stylize(small_model, *kept, "--resume")
    assert found["evaluations"] == 9
    Path("mine.toml").write_text(PLAN.replace("style_weight = 50", "style_weight = 60"))
    stylize(small_model, "-o", "new.png", "--checkpoint", "run.impasto", "--time-limit", "0.000001")
    Path("mine.toml").write_text(PLAN)
    refused = impasto_(*command(small_model), "--plan", "mine.toml", *kept, "--resume", "--force")
    assert_refused(refused, "stages.1.options.style_weight is 50, was 60")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--stages", "2"), "--stages: the plan has its own; leave one of the two out"),
        (("--evaluations", "1"), "--evaluations is 1; expected 2 or more, one for each stage"),
        (("--restart-every", "5"), "--restart-every: needs a single stage; the plan has 2"),
        (("--noise", "0.5", "--style-scale", "99"), "--style-scale is 99.0; expected 0.05 to 20"),
        (("--plan", "none.toml"), "plan none.toml: No such file or directory; give a path to a readable .toml file"),
    ],
)
def test_what_has_no_meaning_beside_a_plan_is_refused(small_model: Path, options: tuple[str, ...], told: str) -> None:
    place = () if "--plan" in options else ("--plan", "mine.toml")
    assert_refused(impasto_(*command(small_model), *place, "-o", "out.png", *options), told)


def test_a_plans_own_values_are_called_as_in_the_file(small_model: Path) -> None:
    Path("mine.toml").write_text(PLAN.replace("noise = 0.25", "noise = 2"))
    refused = impasto_(*command(small_model), "--plan", "mine.toml", "-o", "out.png")
    assert_refused(refused, "error: plan mine.toml: noise is 2.0; expected 0 to 1")
    Path("mine.toml").write_text(PLAN.replace("style_weight", "style_wieght"))
    refused = impasto_(*command(small_model), "--plan", "mine.toml", "-o", "out.png")
    assert_refused(refused, "unknown key stages.1.style_wieght; ")
    assert refused.stderr.endswith("; did you mean stages.1.style_weight?\n")


def test_a_dry_run_exports_no_recipe(model: Path) -> None:
    before = contents(model)
    pictures = ("stylize", "photo.png", "painting.jpg", "--model", model, "--device", "cpu")
    done = impasto_(*pictures, "-r", "titu", "--dry-run", "--size", "48")
    assert done.returncode == 0, done.stderr
    assert "no estimate: the model has no recipe titu yet; a run exports it" in done.stderr
    assert contents(model) == before


def test_a_batch_takes_a_plan_and_knows_its_results_again(small_model: Path) -> None:
    pictures = ("photo.png", "--style", "painting.jpg", "--style", "other.png", "--blended", "-o", "results")
    batch = ("batch", *pictures, "--plan", "mine.toml", "-r", "small", "--model", small_model, "--device", "cpu")
    done = impasto_(*batch)
    assert done.returncode == 0, done.stderr
    (made,) = Path("results").glob("*.png")
    assert Record.read(made).plan.stages[1].options == StageOptions(
        blend=(0.0, 1.0), start_colors="style", optimizer="adam"
    )
    assert "1 of 1 pictures are there already" in impasto_(*batch).stderr
    alone = impasto_(*batch[:2], "--style", "painting.jpg", "-o", "others", *batch[8:])
    assert_refused(alone, "plan mine.toml: stage 2: styles has 2; expected a number from 1 to 1")
