"""A record says how a picture came about, holds no secrets, and is enough to make the picture again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from impasto.runtime import InputError, Step, StopOptimization
from impasto.runtime.engine.placement import Placement
from impasto.runtime.pictures import photographs
from impasto.runtime.pictures.encoding import write_picture
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.record import KEYWORD, Input, Machine, Origin, Record, digest, fingerprint
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.storage import codec
from impasto.runtime.storage.codec import Misfit
from tests.runtime.misfits import misfits


@pytest.fixture(scope="session")
def model(small_model: Path) -> Path:
    """Return the quickest of models, for all tests here."""
    return small_model


def picture(seed: int, height: int = 40, width: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def prepared(model: Path, **options: Any) -> Transfer:
    good: dict[str, Any] = {"recipe": "small", "size": 40, "evaluations": 2, "device": "cpu", "lowering": "direct"}
    return prepare(picture(0), [picture(1), picture(2)], model=model, **{**good, "threads": 1, **options})


@pytest.fixture(scope="module")
def made(model: Path) -> tuple[Transfer, Origin, Image.Image]:
    """A finished transfer, its origin and its picture."""
    transfer = prepared(model, init=picture(3))
    where = {"content": ["photo.png"], "style": ["https://secretary:secret@example.org/a.png?token=secret", "-"]}
    origin = Origin.of(transfer, where)
    return transfer, origin, transfer.run().image


@pytest.fixture
def record(made: tuple[Transfer, Origin, Image.Image]) -> Record:
    return Record.of(*made)


# --- what it holds --------------------------------------------------------------------------------------------


def test_a_record_names_every_input_and_its_pixels(record: Record) -> None:
    assert [(i.role, i.width, i.height) for i in record.origin.inputs] == [
        ("content", 48, 40), ("style", 48, 40), ("style", 48, 40), ("init", 48, 40),
    ]  # fmt: skip
    assert record.inputs("style")[1].sha256 == digest(picture(2))
    assert record.inputs("mask") == ()


def test_a_record_holds_names_and_no_folders_unless_they_are_wished_for(
    record: Record, made: tuple[Transfer, Origin, Image.Image], model: Path
) -> None:
    assert [i.place for i in record.origin.inputs] == ["photo.png", "a.png", "-", None]
    assert record.origin.model.place == model.name
    photograph = Path(str(made[1].inputs[0].place))
    assert photograph.is_absolute()
    assert photograph.name == "photo.png"
    for folder in (str(photograph.parent), str(model.parent), "example.org"):
        assert folder not in record.to_json()
    full = Record.of(*made, recorded_places=True)
    assert [i.place for i in full.origin.inputs] == [str(photograph), "https://example.org/a.png?...", "-", None]
    assert full.origin.model.place == str(model)
    assert "secret" not in full.to_json()
    assert Record.from_json(full.to_json(), "here") == full
    assert replace(full, origin=full.origin.named(), outcome=record.outcome) == record


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/home/me/photo.png", "photo.png"),
        ("C:\\Users\\me\\photo.png", "photo.png"),
        ("\\\\server\\share\\photo.png", "photo.png"),
        ("photo.png", "photo.png"),
        ("../photo.png", "photo.png"),
        ("/", None),
        ("", None),
        ("https://example.org/a/b.png", "b.png"),
        ("https://example.org/a/b.png?...", "b.png"),
        ("https://example.org/a/", "a"),
        ("https://example.org", None),
        ("https:...", None),
        ("data:...", None),
        ("-", None),
        (None, None),
    ],
)
def test_the_name_of_a_place_is_what_comes_last_in_it(place: str | None, name: str | None) -> None:
    assert Input("content", place, 1, 1, "0" * 64).name == name


def test_a_colour_is_a_mask_and_no_name() -> None:
    mask = Input("style-mask", "#ff0000", 32, 32, "0" * 64)
    assert (mask.color, mask.name, mask.named()) == ("#ff0000", None, mask)
    assert Input("style", "#ff0000", 32, 32, "0" * 64).color is None


def test_a_record_holds_no_secret_of_an_address(record: Record) -> None:
    assert "secret" not in record.to_json()


def test_a_record_says_what_was_made_and_where(record: Record) -> None:
    assert record.plan.evaluations == record.outcome.evaluations == 2
    assert sum(record.outcome.terms.values()) == pytest.approx(record.outcome.loss, rel=1e-5)
    assert record.outcome.reason == "all 2 evaluations were made"
    assert record.outcome.share is not None
    assert 0 < record.outcome.share <= 1
    assert record.origin.model.random_weights
    assert len(record.origin.model.weights_sha256) == 64
    assert record.origin.placement == Placement("cpu", "direct", 1, precision="fp32")
    assert {"impasto", "python", "onnxruntime", "numpy", "scipy", "pillow"} == set(record.origin.machine.versions)
    assert record.outcome.date.endswith("+00:00")


def test_a_record_from_before_shares_were_kept_is_read(record: Record) -> None:
    older = json.loads(record.to_json())
    del older["outcome"]["share"]
    assert Record.from_json(json.dumps(older), "older.png").outcome.share is None


def test_automatic_choices_are_recorded_as_they_were_made(model: Path) -> None:
    transfer = prepared(model, device="auto", lowering="auto", evaluations=1)
    origin = Origin.of(transfer)
    transfer.run()
    placement = Record.of(transfer, origin).origin.placement
    assert (placement.device, placement.lowering, placement.precision) == ("cpu", "winograd", "fp32")


def test_a_record_says_which_request_it_is_of(made: tuple[Transfer, Origin, Image.Image], model: Path) -> None:
    transfer, origin, _ = made
    asked = prepared(model, init=picture(3))
    assert Record.of(*made).request == fingerprint(asked, asked.origin)
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"evaluations": 3},
        {"time_limit": 9},
        {"style_blend": [1, 2]},
        {"size": 48},
    ]
    for other in ({"init": picture(4)}, *({"init": picture(3), **more} for more in others)):
        changed = prepared(model, **other)
        assert fingerprint(changed, changed.origin) != Record.of(*made).request, other
    fewer = tuple(replace(stage, optimizer="adam", pairs=3) for stage in asked.plan.stages)
    asked.plan = replace(asked.plan, stages=fewer)  # for want of memory
    assert fingerprint(asked, asked.origin) == fingerprint(transfer, origin)


def test_a_request_of_a_version_with_fewer_settings_is_known(model: Path) -> None:
    transfer = prepared(model)
    origin = transfer.origin
    plan = replace(transfer.plan, recipe=replace(transfer.plan.recipe, description=""))
    data = codec.to_data(plan)
    for name in ("bleed", "crops", "protect_weight", "region_strengths"):
        del data[name]
    for name in ("bleed", "padding", "style_crop"):
        del data["recipe"][name]
    pictures = [(i.role, i.width, i.height, i.sha256) for i in origin.inputs]
    text = json.dumps([data, pictures, origin.model.weights_sha256], sort_keys=True)
    assert fingerprint(transfer, origin) == hashlib.sha256(text.encode()).hexdigest()
    transfer.plan = replace(plan, recipe=replace(plan.recipe, padding="replicate"))
    assert fingerprint(transfer, origin) != hashlib.sha256(text.encode()).hexdigest()


def test_a_transfer_that_was_stopped_fulfils_nothing_and_one_whose_time_was_over_does(model: Path) -> None:
    def stop(step: Step) -> None:
        raise StopOptimization

    assert prepared(model, callback=stop).run().record.is_fulfilled is False
    assert prepared(model, evaluations=100_000, time_limit=0.2).run().record.is_fulfilled


def test_the_record_of_a_run_under_way_says_so(model: Path) -> None:
    found: list[Record] = []
    transfer = prepared(model)
    origin = Origin.of(transfer)
    transfer.callback = lambda step: found.append(Record.of(transfer, origin))
    transfer.run()
    assert [r.outcome.reason for r in found] == [f"under way: evaluation {n} of 2" for n in (1, 2)]
    assert [r.plan.evaluations for r in found] == [1, 2]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 9))
def test_the_digest_is_of_the_pixels_and_the_input_knows_the_size(width: int, height: int, seed: int) -> None:
    image = picture(seed, height, width)
    assert digest(image) == hashlib.sha256(np.asarray(image).tobytes()).hexdigest()
    found = Input.of("content", image, None)
    assert found.is_same(image.copy())
    levels = np.array(image)
    levels[-1, -1, -1] ^= 1
    assert not found.is_same(Image.fromarray(levels))
    if width != height:
        assert not found.is_same(Image.frombytes("RGB", (height, width), image.tobytes()))


# --- in a picture ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.png", "out.jpg"])
def test_a_record_is_read_back_from_a_picture_as_it_was(record: Record, tmp_path: Path, name: str) -> None:
    write_picture(picture(0), tmp_path / name, text=record.text)
    assert Record.read(tmp_path / name) == record


def test_a_record_survives_json(record: Record) -> None:
    assert Record.from_json(record.to_json(), "here") == record


def damaged(record: Record, **changes: Any) -> str:
    data: dict[str, Any] = json.loads(record.to_json())
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = data
        for name in parents:
            part = part[name]
        part[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "is of format 2, not 1; use the impasto that wrote it"),
        ({"format": None}, "is of format None"),
        ({"format": [[]]}, "is of format [[]]"),
        ({"more": 1}, "unknown key more"),
        ({"plan": 3}, "plan is 3; expected a table"),
        ({"plan": None}, "plan is None; expected a table"),
        ({"plan__noise": "much"}, "noise is 'much'; expected a number"),
        ({"plan__seed": -3}, "seed is -3"),
        ({"plan__seed": 10**400}, "seed is 1000"),
        ({"plan__blend": ["a"]}, "blend is 'a'; expected a number"),
        ({"plan__blend": "a"}, "blend is 'a'; expected a list"),
        ({"plan__blend": [0.5, 0.25, 0.25]}, "plan.blend has 3 shares for 2 styles"),
        ({"plan__init": "content"}, "plan.init is content, with 1 pictures to start from"),
        ({"plan__stages": [{"width": 40, "height": 40}]}, "stages.1.evaluations is missing"),
        ({"plan__stages": [{"width": 40, "height": 40, "evaluations": 10**18}]}, "evaluations is 10000"),
        ({"plan__stages": [1]}, "stages.1 is 1; expected a table"),
        ({"plan__recipe": "gatys"}, "recipe is 'gatys'; expected a table"),
        ({"plan__recipe__content__layers": {"block9_conv1": 1}}, "content.layers has 'block9_conv1'"),
        ({"plan__recipe__size": 512}, "recipe.size is 512; expected text"),
        ({"origin": []}, "origin is []; expected a table"),
        ({"origin__inputs": "all"}, "origin.inputs is 'all'"),
        ({"origin__inputs": []}, "inputs has 0 of the role content"),
        ({"origin__inputs": [{"role": "content"}]}, "origin.inputs.1.place is missing"),
        ({"origin__model__random_weights": 1}, "random_weights is 1"),
        ({"origin__model__colour": 1}, "unknown key origin.model.colour"),
        ({"origin__model__weights_sha256": "0"}, "weights_sha256 is '0'"),
        ({"origin__model__network": "x" * 200_000}, "has 200000 characters"),
        ({"origin__placement__threads": 0}, "threads is 0"),
        ({"origin__placement__device": "\x1b[2J"}, "device '\\x1b[2J'"),
        ({"origin__machine__versions": {"numpy": 2}}, "versions.numpy is 2"),
        ({"outcome__resumed": [1.5]}, "resumed is 1.5"),
        ({"outcome__loss": None}, "loss is None"),
        ({"outcome__share": -0.5}, "outcome.share is -0.5; expected 0 to 1"),
        ({"outcome__sha256": "\u202e" * 64}, "outcome.sha256 is '\\u202e"),
    ],
)
def test_records_of_others_and_of_the_future_are_refused_in_one_line(
    record: Record, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError) as refused:
        Record.from_json(damaged(record, **changes), "picture out.png")
    assert str(refused.value).startswith("picture out.png: ")
    assert reason in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("role", ["content", "init", "content-mask"])
def test_a_record_with_two_of_what_there_is_one_of_is_refused(record: Record, role: str) -> None:
    data = json.loads(record.to_json())
    data["origin"]["inputs"] += [{**data["origin"]["inputs"][0], "role": role}] * 2
    with pytest.raises(InputError, match=f"of the role {role}; expected 0 to 1|{role}; expected 1 to 1"):
        Record.from_json(json.dumps(data), "picture out.png")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_numbers_that_are_none_are_refused(record: Record, number: str) -> None:
    text = record.to_json().replace(f'"seconds": {record.outcome.seconds}', f'"seconds": {number}')
    assert number in text
    with pytest.raises(InputError, match=r"picture out\.png: its record is "):
        Record.from_json(text, "picture out.png")


def test_a_key_that_is_there_twice_is_refused(record: Record) -> None:
    text = record.to_json().replace('"outcome": {', '"outcome": {"loss": 1.0, ')
    with pytest.raises(InputError, match="'loss' is there twice"):
        Record.from_json(text, "picture out.png")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_anything_in_the_place_of_anything_is_taken_or_refused(record: Record, data: st.DataObject) -> None:
    whole = data.draw(misfits(json.loads(record.to_json())))
    try:
        Record.from_json(json.dumps(whole), "picture out.png").to_json()
    except InputError as refused:
        assert str(refused).startswith("picture out.png: ")
        assert str(refused).isprintable()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"plan": 1}', "[" * 100_000, "\ufeff{}", "\0"])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="its record is damaged, or another program's"):
        Record.from_json(text, "picture out.png")


def test_pictures_without_a_record_are_refused(tmp_path: Path) -> None:
    write_picture(picture(0), tmp_path / "plain.png", text={"Comment": "by hand"})
    with pytest.raises(InputError, match=r"plain\.png: holds no record"):
        Record.read(tmp_path / "plain.png")


def test_fields_with_a_default_may_be_missing_and_no_others() -> None:
    assert codec.from_data(Placement, {"device": "cpu"}) == Placement("cpu")
    with pytest.raises(Misfit, match=r"machine\.versions is missing"):
        codec.from_data(Machine, {"processor": "x", "cpus": 1}, "machine")


# --- again ----------------------------------------------------------------------------------------------------


def given_again() -> dict[str, list[Image.Image]]:
    return {"content": [picture(0)], "style": [picture(1), picture(2)], "init": [picture(3)]}


def test_the_picture_is_made_again_bit_for_bit_from_its_record_alone(
    record: Record, made: tuple[Transfer, Origin, Image.Image], model: Path, tmp_path: Path
) -> None:
    write_picture(made[2], tmp_path / "out.png", text=record.text)
    read = Record.read(tmp_path / "out.png")
    result = read.transfer(given_again(), model=model, placement=read.origin.placement).run()
    assert digest(result.image) == record.outcome.sha256 == digest(photographs.read_picture(tmp_path / "out.png"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"content": [picture(9)]}, "content 1: its pixels are not those"),
        ({"style": [picture(2), picture(1)]}, "style 1: its pixels are not those"),
        ({"style": [picture(1)]}, "style: 1 pictures given; expected 2"),
        ({"init": []}, "init: 0 pictures given; expected 1"),
    ],
)
def test_other_inputs_are_refused(
    record: Record, model: Path, changes: dict[str, list[Image.Image]], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        record.transfer({**given_again(), **changes}, model=model, placement=Placement("cpu"))


def test_a_model_whose_recipe_is_another_is_refused(record: Record, model: Path) -> None:
    style = replace(record.plan.recipe.style, layers={"block1_conv1": 1.0})
    other = replace(record, plan=replace(record.plan, recipe=replace(record.plan.recipe, style=style)))
    with pytest.raises(InputError, match="its recipe 'small' has another style"):
        other.transfer(given_again(), model=model, placement=Placement("cpu"))
    padded = replace(record, plan=replace(record.plan, recipe=replace(record.plan.recipe, padding="replicate")))
    with pytest.raises(InputError, match="its recipe 'small' has another padding"):
        padded.transfer(given_again(), model=model, placement=Placement("cpu"))
    heavier = record.plan.recipe.with_weights(style=3.0)  # weights are no part of the graphs
    again = replace(record, plan=replace(record.plan, recipe=heavier))
    assert again.transfer(given_again(), model=model, placement=Placement("cpu")).plan.recipe.style.weight == 3


def test_what_may_change_the_bits_is_told(record: Record) -> None:
    origin = record.origin
    assert origin.differences(origin) == []
    machine = origin.machine
    others = {
        "onnxruntime 9.9 instead of ": replace(machine, versions={**machine.versions, "onnxruntime": "9.9"}),
        "processor Abacus instead of ": replace(machine, processor="Abacus"),
    }
    for expected, other in others.items():
        (told,) = origin.differences(replace(origin, machine=other))
        assert told.startswith(expected)
    (told,) = origin.differences(replace(origin, placement=replace(origin.placement, threads=3)))
    assert told == "threads 3 instead of 1"
    (told,) = origin.differences(replace(origin, model=replace(origin.model, weights_sha256="0" * 64)))
    assert told.startswith("other weights in ")
    newer = replace(machine, versions={**machine.versions, "python": "9.9"})
    assert origin.differences(replace(origin, machine=newer)) == []
    assert origin.differences(replace(origin, placement=replace(origin.placement, low_memory=True))) == []


def test_the_number_of_processors_matters_where_it_decides_the_threads(record: Record) -> None:
    placement = replace(record.origin.placement, threads=None)
    origin = replace(record.origin, placement=placement)
    more = replace(origin.machine, cpus=origin.machine.cpus + 1)
    (told,) = origin.differences(replace(origin, machine=more))
    assert told == f"{more.cpus} processors instead of {origin.machine.cpus}"
    assert record.origin.differences(replace(record.origin, machine=more)) == []


def test_the_keyword_is_that_of_the_program() -> None:
    assert KEYWORD == "impasto"
