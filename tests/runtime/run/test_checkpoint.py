"""A checkpoint holds all there is to go on from; what is damaged or of another run is refused."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from impasto.runtime import InputError, Step, StopOptimization
from impasto.runtime.optimize.adam import Adam
from impasto.runtime.run.checkpoint import Checkpoint, Checkpoints, LogPosition
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.record import Origin
from impasto.runtime.run.state import State
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.run.watch import Log, together
from tests.runtime.misfits import misfits

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def model(small_model: Path) -> Path:
    """Return the quickest of models, for all tests here."""
    return small_model


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8))


def prepared(model: Path, **options: Any) -> Transfer:
    good: dict[str, Any] = {"recipe": "small", "size": (72, 64), "evaluations": 9, "stages": 2}
    good |= {"device": "cpu", "lowering": "direct", "threads": 1, "styles": [picture(1)]}
    good |= options
    return prepare(picture(0), good.pop("styles"), model=model, **good)


def stopped(model: Path, count: int, **options: Any) -> Transfer:
    """A transfer that was stopped after so many evaluations."""
    transfer = prepared(model, **options)

    def stop(step: Step) -> None:
        if step.evaluation == count:
            raise StopOptimization("enough")

    transfer.callback = stop
    transfer.run()
    return transfer


@pytest.fixture(scope="module", params=["lbfgs", "adam"])
def checkpoint(request: pytest.FixtureRequest, model: Path) -> Checkpoint:
    transfer = stopped(model, 7, optimizer=request.param)
    log = LogPosition("/somewhere/run.jsonl", 1234)
    return Checkpoint(
        transfer.plan, Origin.of(transfer), transfer.state.snapshot(), log, {"/somewhere/out.png": "ab" * 32}
    )


def assert_same(one: State, other: State) -> None:
    assert replace(one, point=None, adam=None) == replace(other, point=None, adam=None)  # type: ignore[arg-type]
    np.testing.assert_array_equal(one.point, other.point)
    assert (one.adam is None) == (other.adam is None)
    if one.adam and other.adam:
        assert one.adam.steps == other.adam.steps
        for name in ("point", "mean", "square"):
            np.testing.assert_array_equal(getattr(one.adam, name), getattr(other.adam, name))


# --- the file -------------------------------------------------------------------------------------------------


def written(checkpoint: Checkpoint) -> bytes:
    file = io.BytesIO()
    checkpoint.write(file)
    return file.getvalue()


def test_a_checkpoint_is_read_back_to_the_last_bit(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "run.impasto").write_bytes(written(checkpoint))
    read = Checkpoint.read(tmp_path / "run.impasto")
    assert (read.plan, read.origin, read.log, read.written) == (
        checkpoint.plan, checkpoint.origin, checkpoint.log, checkpoint.written,
    )  # fmt: skip
    assert_same(read.state, checkpoint.state)
    assert read.state.point.dtype == np.float32


def test_the_picture_is_kept_in_single_precision_and_little_else(checkpoint: Checkpoint) -> None:
    arrays = 4 if checkpoint.state.adam else 1
    assert len(written(checkpoint)) < arrays * 72 * 64 * 3 * 4 + 8000


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_checkpoint_is_refused_in_one_line(checkpoint: Checkpoint, data: st.DataObject) -> None:
    whole = written(checkpoint)
    how = data.draw(st.sampled_from(["cut", "flip"]))
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = whole[:at] if how == "cut" else whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
    try:
        read = Checkpoint.from_file(io.BytesIO(broken), "checkpoint run.impasto")
    except InputError as refused:
        assert str(refused).startswith("checkpoint run.impasto: is ")
        assert "\n" not in str(refused)
    else:  # what was hit is a date or a gap in the archive
        assert how == "flip"
        assert read.plan == checkpoint.plan
        assert_same(read.state, checkpoint.state)


@pytest.mark.parametrize("data", [b"", b"PK", b"somebody's work", b"\x93NUMPY", b"\x80\x04K\x01."])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "run.impasto"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"is damaged, or no checkpoint of impasto; begin anew with force=True"):
        Checkpoint.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        Checkpoint.read(tmp_path)


def rewritten(checkpoint: Checkpoint, old: str, new: str) -> bytes:
    """Return a checkpoint whose description is another; the archive is sound."""
    with np.load(io.BytesIO(written(checkpoint))) as archive:
        arrays = {name: archive[name] for name in archive.files}
    about = arrays["about"].tobytes().decode()
    assert old in about
    arrays["about"] = np.frombuffer(about.replace(old, new, 1).encode(), np.uint8)
    return saved(**arrays)


def saved(save: Callable[..., None] = np.savez, **arrays: Any) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def arrays_of(checkpoint: Checkpoint) -> dict[str, Any]:
    with np.load(io.BytesIO(written(checkpoint))) as archive:
        return {name: archive[name] for name in archive.files}


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as refused:
        Checkpoint.from_file(io.BytesIO(data), "checkpoint run.impasto")
    text = str(refused.value)
    assert text.startswith("checkpoint run.impasto: is ")
    assert text.isprintable()
    return text


def test_a_checkpoint_holds_its_arrays_and_nothing_else(checkpoint: Checkpoint) -> None:
    expected = {"about", "point", *(("next", "mean", "square") if checkpoint.state.adam else ())}
    assert set(arrays_of(checkpoint)) == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda point: np.array([{}], object), "expected numbers"),
        (lambda point: point.astype(np.float64), "bytes"),
        (lambda point: point.astype(np.int32), "array point is int32"),
        (lambda point: point.astype(">f4"), "array point is >f4"),
        (lambda point: point[:, :, :0], "array point is float32[1, 3, 0, "),
        (lambda point: point[0], "array point is float32[3, "),
        (lambda point: point[:, :1], "array point is float32[1, 1, "),
        (lambda point: np.full_like(point, np.nan), "not finite"),
        (lambda point: np.where(point == point.max(), np.float32(np.inf), point), "not finite"),
        (lambda point: np.zeros((1, 3, 640, 640), np.float32), "bytes"),
    ],
)
def test_arrays_that_are_not_the_stages_are_refused(
    checkpoint: Checkpoint, change: Callable[[Any], Any], reason: str
) -> None:
    arrays = arrays_of(checkpoint)
    assert reason in refusal(saved(**{**arrays, "point": change(arrays["point"])}))


def test_arrays_that_are_missing_or_unknown_are_refused(checkpoint: Checkpoint) -> None:
    arrays = arrays_of(checkpoint)
    assert "it holds the arrays ['about']" in refusal(saved(about=arrays["about"]))
    assert "it holds the arrays" in refusal(saved(**arrays, more=np.zeros(3)))
    assert "no checkpoint of impasto" in refusal(saved(point=arrays["point"]))


def test_a_checkpoint_that_swells_is_refused_before_it_does(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A megabyte of zeros, compressed, of a gigabyte: what it declares is enough to refuse it."""
    about = arrays_of(checkpoint)["about"]
    path = tmp_path / "run.impasto"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("about.npy", "w") as member:
            np.save(member, about)
        for name in set(arrays_of(checkpoint)) - {"about"}:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(
                    member, {"descr": "<f4", "fortran_order": False, "shape": (1, 3, 8192, 10240)}
                )
                for _ in range(960):
                    member.write(bytes(1 << 20))
            break
    tracemalloc.start()
    with pytest.raises(InputError, match=r"bytes; expected 55296 at most|it holds the arrays"):
        Checkpoint.read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6


def test_a_header_that_declares_more_than_there_is_takes_no_memory(checkpoint: Checkpoint) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": (1, 3, 1 << 20, 1 << 20)}
    )
    whole = written(checkpoint)
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(made := io.BytesIO(), "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, file.getvalue() if entry.filename == "point.npy" else old.read(entry))
    assert "array 'point' of shape (1, 3, 1048576, 1048576) has 0 bytes" in refusal(made.getvalue())


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    for path in ("/dev/zero", "/dev/null", str(tmp_path)):
        if Path(path).exists():
            with pytest.raises(InputError, match="cannot be read"):
                Checkpoint.read(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_anything_in_the_place_of_anything_is_taken_or_refused(checkpoint: Checkpoint, data: st.DataObject) -> None:
    arrays = arrays_of(checkpoint)
    about = data.draw(misfits(json.loads(arrays["about"].tobytes())))
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    try:
        Checkpoint.from_file(io.BytesIO(saved(**arrays)), "checkpoint run.impasto")
    except InputError as refused:
        assert str(refused).startswith("checkpoint run.impasto: is ")
        assert str(refused).isprintable()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"format": 1', '"format": 2', "is of format 2, not 1"),
        ('"format": 1', '"format": {"a": 1}', "is of format {'a': 1}, not 1"),
        ('"made": [6, 1]', '"made": [6, 1, 1]', "standing.made has 3 stages; the plan has 2"),
        ('"made": [6, 1]', '"made": []', "standing.made has 0 stages"),
        ('"made": [6, 1]', '"made": "all"', "made is 'all'"),
        ('"made": [6, 1]', '"made": [6, -1]', "made is (6, -1); expected 0 or more"),
        ('"made": [6, 1]', '"made": [6, 4]', "standing.made has 4 evaluations in stage 2 of 3"),
        ('"seed": 0', '"seed": -1', "seed is -1"),
        ('"position": 1234', '"position": "end"', "position is 'end'"),
        ('"position": 1234', '"position": -1', "log.position is -1"),
        ('"written": {', '"written": {"a": 3, ', "written.a is 3; expected text"),
        ('"standing": {', '"standing": {"more": 1, ', "unknown key standing.more"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(checkpoint: Checkpoint, old: str, new: str, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        Checkpoint.from_file(io.BytesIO(rewritten(checkpoint, old, new)), "checkpoint run.impasto")
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("scale", ["0", "-1.0", "1e300"])
def test_a_scale_that_no_loss_has_is_refused(checkpoint: Checkpoint, scale: str) -> None:
    adam = checkpoint.state.adam
    data = rewritten(checkpoint, f'"scale": {adam.scale if adam else 1.0}', f'"scale": {scale}')
    with pytest.raises(InputError, match=r"standing.scale is .*; expected 2.93874e-39 to"):
        Checkpoint.from_file(io.BytesIO(data), "checkpoint run.impasto")


# --- the same run? --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"seed": 3}, "seed is 3, was 0"),
        ({"evaluations": 10}, "stages.1.evaluations is 7, was 6"),
        ({"size": (72, 66)}, "stages.2.height is 66, was 64"),
        ({"style_weight": 2.0}, "recipe.style.weight is 2.0"),
        ({"recipe": "other"}, "recipe.name is 'other', was 'small'"),
        ({"clip": True}, "clip is True, was False"),
        ({"colors": "keep"}, "colors is 'keep', was 'style'"),
        ({"init": picture(3)}, "init is 'picture'"),
        ({"styles": [picture(9)]}, "style is another picture"),
        ({"styles": [picture(1), picture(2)]}, "blend"),
    ],
)
def test_another_run_is_refused_and_what_differs_is_said(
    checkpoint: Checkpoint, model: Path, options: dict[str, Any], reason: str
) -> None:
    transfer = prepared(model, **{"optimizer": checkpoint.plan.optimizer, **options})
    with pytest.raises(InputError) as refused:
        checkpoint.check(transfer, Origin.of(transfer), "run.impasto")
    assert str(refused.value).startswith("checkpoint run.impasto: is of another run (")
    assert reason in str(refused.value)


def test_a_run_that_kept_the_colours_of_pixels_goes_on_with_the_option_that_its_refusal_names(
    checkpoint: Checkpoint, model: Path
) -> None:
    older = replace(checkpoint, plan=replace(checkpoint.plan, colors="keep"))  # as all such checkpoints had it
    optimizer = checkpoint.plan.optimizer
    with pytest.raises(InputError, match=r"\(colors is 'keep', was 'keep-pixels'\)"):
        other = prepared(model, optimizer=optimizer, colors="keep")
        older.check(other, Origin.of(other), "run.impasto")
    same = prepared(model, optimizer=optimizer, colors="keep-pixels")
    older.check(same, Origin.of(same), "run.impasto")


def test_of_many_differences_the_first_are_told(checkpoint: Checkpoint, model: Path) -> None:
    transfer = prepared(model, optimizer=checkpoint.plan.optimizer)
    longer = replace(checkpoint, plan=replace(checkpoint.plan, stages=checkpoint.plan.stages * 20))
    with pytest.raises(InputError, match=r"stages.3.width is None, was \d+; .*; and \d+ more\)") as refused:
        longer.check(transfer, Origin.of(transfer), "run.impasto")
    assert len(str(refused.value)) < 500


def test_other_weights_are_refused(checkpoint: Checkpoint, model: Path) -> None:
    transfer = prepared(model, optimizer=checkpoint.plan.optimizer)
    origin = Origin.of(transfer)
    origin = replace(origin, model=replace(origin.model, weights_sha256="0" * 64))
    with pytest.raises(InputError, match=f"the weights in {model} are others"):
        checkpoint.check(transfer, origin, "run.impasto")


def test_when_to_end_may_be_another_and_where_the_pictures_lie(checkpoint: Checkpoint, model: Path) -> None:
    transfer = prepared(model, optimizer=checkpoint.plan.optimizer, time_limit=5, min_improvement=0.1)
    checkpoint.check(transfer, Origin.of(transfer, {"content": ["moved.png"]}), "run.impasto")


def test_the_recipe_may_name_another_optimizer_by_now_if_the_plan_keeps_its_own(
    checkpoint: Checkpoint, model: Path
) -> None:
    transfer = prepared(model, optimizer=checkpoint.plan.optimizer)
    plan = replace(transfer.plan, recipe=replace(transfer.plan.recipe, optimizer="lbfgs-sobolev"))
    transfer.plan = plan
    checkpoint.check(transfer, Origin.of(transfer), "run.impasto")
    transfer.plan = replace(plan, optimizer="lbfgs-sobolev")
    with pytest.raises(InputError, match=f"optimizer is 'lbfgs-sobolev', was {checkpoint.plan.optimizer!r}"):
        checkpoint.check(transfer, Origin.of(transfer), "run.impasto")


# --- while a transfer runs ------------------------------------------------------------------------------------


def test_a_run_that_dies_at_any_evaluation_goes_on_from_its_file(model: Path, tmp_path: Path) -> None:
    """Nothing of the first process is used but its file."""
    path = tmp_path / "run.impasto"

    class DiedError(Exception):
        pass

    def begun(die_at: int) -> list[int]:
        transfer = prepared(model)
        origin, seen = Origin.of(transfer), []
        position = None
        if path.exists():
            read = Checkpoint.read(path)
            read.check(transfer, origin, path)
            position = read.state

        def die(step: Step) -> None:
            seen.append(step.evaluation)
            if step.evaluation == die_at:
                raise DiedError

        checkpoints = Checkpoints(path, transfer, origin, seconds=0)
        transfer.callback = together(checkpoints, die)
        result = transfer.run(position)
        checkpoints.remove()
        assert result.finished
        assert result.evaluations == 9
        return seen

    for die_at in (1, 4, 6, 7, 9):
        with pytest.raises(DiedError):
            begun(die_at)
    assert begun(99) == []  # all was done, and only the result was missing
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_written_after_a_stage_though_it_is_not_time(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.impasto"
    transfer = prepared(model)
    made: list[tuple[int, ...]] = []
    transfer.callback = together(
        Checkpoints(path, transfer, Origin.of(transfer), seconds=1000),
        lambda step: made.append(Checkpoint.read(path).state.made),
    )
    transfer.run()
    assert made == [(1,)] * 6 + [(6, 0)] * 3


def test_a_checkpoint_knows_how_long_the_log_is(model: Path, tmp_path: Path) -> None:
    transfer = prepared(model)
    with Log(tmp_path / "run.jsonl") as log:
        checkpoints = Checkpoints(tmp_path / "run.impasto", transfer, Origin.of(transfer), log=log, seconds=0)
        transfer.callback = together(log, checkpoints)
        transfer.run()
    read = Checkpoint.read(tmp_path / "run.impasto")
    assert read.log == LogPosition(str(log.path), log.path.stat().st_size)


def test_removing_takes_what_killed_processes_left_and_nothing_else(model: Path, tmp_path: Path) -> None:
    transfer = prepared(model)
    for name in (".run.impasto.ab12cd_9", ".run.impasto.backup", ".other.impasto.ab12cd34", "run.impasto"):
        (tmp_path / name).touch()
    Checkpoints(tmp_path / "run.impasto", transfer, Origin.of(transfer)).remove()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.impasto.ab12cd34", ".run.impasto.backup"]


def test_a_full_disk_keeps_the_last_whole_checkpoint_and_the_run_goes_on(
    model: Path, tmp_path: Path, scarce_space: Callable[..., AbstractContextManager[None]]
) -> None:
    path = tmp_path / "run.impasto"
    transfer = prepared(model)
    room = contextlib.ExitStack()
    transfer.callback = together(
        Checkpoints(path, transfer, Origin.of(transfer), seconds=0),
        lambda step: room.enter_context(scarce_space()) if step.evaluation == 3 else None,
    )
    with pytest.warns(RuntimeWarning, match="checkpoint: .*File too large"), room:
        result = transfer.run()
    assert result.evaluations == 9
    assert Checkpoint.read(path).state.made == (3,)
    assert [p.name for p in tmp_path.iterdir()] == ["run.impasto"]


def test_after_a_kill_in_an_evaluation_that_takes_longer_than_the_pause_only_that_one_is_lost(
    model: Path, tmp_path: Path
) -> None:
    """The pause is the default one; each evaluation after the first takes more."""
    program = f"""
import sys, time
from pathlib import Path
from impasto.runtime.run.checkpoint import Checkpoints
from impasto.runtime.run.record import Origin
from impasto.runtime.run.watch import together
from tests.runtime.run.test_checkpoint import prepared

transfer = prepared(Path({str(model)!r}), stages=1)

def tell(step):
    print(step.evaluation, flush=True)
    time.sleep(2.2)

transfer.callback = together(Checkpoints({str(tmp_path / "run.impasto")!r}, transfer, Origin.of(transfer)), tell)
transfer.run()
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number in (1, 2, 3):
            assert process.stdout.readline() == f"{number}\n"
        process.kill()
    assert Checkpoint.read(tmp_path / "run.impasto").state.evaluations == 3


# --- large pictures -------------------------------------------------------------------------------------------


def large(model: Path, evaluations: int) -> Transfer:
    """A transfer, with Adam, of a picture of 4.5 MB, after so many evaluations that nobody has made."""
    transfer = prepared(model, size=(750, 500), stages=1, optimizer="adam")
    point = np.random.default_rng(evaluations).uniform(0, 255, (1, 3, 500, 750)).astype(np.float32)
    transfer.state = State((evaluations,), point, loss=1.0, adam=Adam(evaluations, point + 1, point + 2, point + 3))
    return transfer


def test_a_checkpoint_is_written_and_read_in_pieces(model: Path, tmp_path: Path) -> None:
    transfer = large(model, 3)
    checkpoints = Checkpoints(tmp_path / "run.impasto", transfer, Origin.of(transfer))
    tracemalloc.start()
    assert checkpoints.save()
    _, writing = tracemalloc.get_traced_memory()
    tracemalloc.clear_traces()
    tracemalloc.reset_peak()
    read = Checkpoint.read(checkpoints.path)
    held, reading = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_same(read.state, transfer.state)
    assert writing < 4e6
    assert held == pytest.approx(4 * transfer.state.point.nbytes, rel=0.1)
    assert reading - held < 4e6


@pytest.mark.parametrize("most", [300, 4_000_000, 13_000_000])
def test_a_disk_that_fills_up_while_a_large_checkpoint_is_written_keeps_the_old_one(
    model: Path, tmp_path: Path, most: int, scarce_space: Callable[..., AbstractContextManager[None]]
) -> None:
    transfer = large(model, 3)
    checkpoints = Checkpoints(tmp_path / "run.impasto", transfer, Origin.of(transfer))
    assert checkpoints.save()
    old, before = checkpoints.path.read_bytes(), transfer.state
    transfer.state = large(model, 4).state
    with pytest.warns(RuntimeWarning, match="checkpoint: .*File too large.*the run goes on"), scarce_space(most):
        assert not checkpoints.save()
    assert checkpoints.path.read_bytes() == old
    assert_same(Checkpoint.read(checkpoints.path).state, before)
    assert [path.name for path in tmp_path.iterdir()] == ["run.impasto"]
    assert checkpoints.save()
    assert_same(Checkpoint.read(checkpoints.path).state, transfer.state)


def test_a_file_system_that_fills_up_keeps_the_old_checkpoint(model: Path, tmp_path: Path) -> None:
    """It has room for one checkpoint of 18 MB, and for half of another one."""
    program = f"""
import warnings
from pathlib import Path
from impasto.runtime.run.checkpoint import Checkpoint, Checkpoints
from impasto.runtime.run.record import Origin
from tests.runtime.run.test_checkpoint import assert_same, large

model, path = Path({str(model)!r}), Path({str(tmp_path)!r}) / "run.impasto"
transfer = large(model, 3)
old = transfer.state
checkpoints = Checkpoints(path, transfer, Origin.of(transfer))
assert checkpoints.save()
transfer.state = large(model, 4).state
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert not checkpoints.save()
print(*(one.message for one in caught))
assert_same(Checkpoint.read(path).state, old)
assert [one.name for one in path.parent.iterdir()] == ["run.impasto"]
"""
    mounted = f"mount -t tmpfs -o size=27m none {shlex.quote(str(tmp_path))}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*alone, mounted], capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a file system of its own (user name spaces)")
    script = f"{mounted} && exec {shlex.join([sys.executable, '-c', program])}"
    done = subprocess.run([*alone, script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("checkpoint: ")
    assert "No space left on device" in done.stdout
    assert done.stdout.endswith("; the run goes on\n")
