"""The API the whole way: pictures, an estimate, a run from the queue to its result, and what can be done with it."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from processes import impasto_
from serving import LONG, QUICK, Server, png

from impasto.cli.serve import limits
from impasto.runtime.run.record import Record


def image_of(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


# --- pictures -------------------------------------------------------------------------------------------------


def test_a_picture_is_known_by_its_bytes_and_its_name(server: Server) -> None:
    body = png(80, 60, seed=7)
    told = server.upload(body, "photo.png")
    assert (told["name"], told["width"], told["height"], told["bytes"]) == ("photo.png", 80, 60, len(body))
    assert (told["sample"], told["record"]) == (None, None)
    assert server.upload(body, "photo.png")["id"] == told["id"]
    assert server.upload(body, "other.png")["id"] != told["id"]
    assert server.upload(png(80, 60, seed=8), "photo.png")["id"] != told["id"]
    assert server.get(f"/api/pictures/{told['id']}").body == body
    assert server.get(f"/api/pictures/{told['id']}/info").data == told


def test_pictures_are_shown_upright_whatever_their_format(server: Server) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (700, 400), "red").save(file, "TIFF", exif=exif)
    told = server.upload(file.getvalue(), "scan.tiff")
    assert (told["name"], told["width"], told["height"]) == ("scan.tiff", 400, 700)
    shown, small = (image_of(server.get(f"/api/pictures/{told['id']}/{kind}").body) for kind in ("shown", "thumbnail"))
    assert (shown.format, shown.size, small.format) == ("PNG", (400, 700), "PNG")
    assert max(small.size) == limits.THUMBNAIL and small.getpixel((5, 5)) == (255, 0, 0)


def test_samples_can_be_chosen(server: Server) -> None:
    samples = server.get("/api/choices").data["samples"]
    assert [sample["sample"] for sample in samples] == ["content", "style"]
    assert image_of(server.get(f"/api/pictures/{samples[0]['id']}/shown").body).size == (480, 360)


@pytest.mark.parametrize("path", ["/api/pictures/nothing", "/api/runs/nothing", "/api/runs/nothing/preview", "/api/no"])
def test_what_is_not_there_is_said_not_to_be(server: Server, path: str) -> None:
    answer = server.ask("GET", path)
    assert answer.status == 404 and answer.error


# --- requests -------------------------------------------------------------------------------------------------


def test_an_estimate_says_what_the_command_line_says(server: Server, tmp_path: Path, small_model: Path) -> None:
    answer = server.ask("POST", "/api/estimate", server.request({**QUICK, "size": "60", "evaluations": 3}))
    assert answer.status == 200
    told = answer.data
    assert (told["estimate"]["width"], told["estimate"]["height"], told["estimate"]["evaluations"]) == (60, 45, 3)
    assert told["estimate"]["fits"] and told["estimate"]["seconds"] > 0
    for seed in (0, 1):
        (tmp_path / f"noise-{seed}.png").write_bytes(png(seed=seed))
    words = shlex.split(told["command"])
    assert words[:4] == ["impasto", "stylize", "noise-0.png", "noise-1.png"]
    assert not any(str(server.data) in word for word in words)
    done = impasto_("stylize", *(str(tmp_path / word) if word.startswith("noise-") else word for word in words[2:]))
    assert done.returncode == 0, done.stderr
    without_amounts = re.compile(r"[\d.]+ [GM]B|(about|very roughly) .*")
    said = done.stderr.splitlines()[0]
    assert without_amounts.sub("", told["messages"][-1]) == without_amounts.sub("", said)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": "vast"}, "--size 'vast': expected "),
        ({"noise": 3}, "--noise '3': expected a number, 0..1"),
        ({"style_weight": -1}, "--style-weight is -1.0; expected 0, or 1e-15"),
        ({"style_blend": "1,2,3"}, "--style-blend"),
    ],
)
def test_what_cannot_be_run_is_refused_in_the_command_lines_words(
    server: Server, options: dict[str, Any], reason: str
) -> None:
    for path in ("/api/estimate", "/api/runs"):
        answer = server.ask("POST", path, server.request({**QUICK, **options}))
        assert answer.status == 422 and answer.error.startswith(reason), answer.body


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"content": 3}, "content: expected the id of the photograph"),
        ({"styles": []}, "styles: 0 paintings; expected 1 to 16"),
        ({"more": 1}, "request: expected content, styles and options (it has 'more')"),
        ({"options": {"sizes": "5"}}, "options: there is no 'sizes'"),
        ({"options": {"size": 512}}, "size: 512; expected a short text"),
        ({"options": {"evaluations": "9"}}, "evaluations: '9'; expected a whole number"),
        ({"options": {"colors": "loud"}}, "colors: 'loud'; expected a name, such as style, keep"),
        ({"options": {"clip": 1}}, "clip: 1; expected true or false"),
        ({"options": {"style_mask": "red"}}, "style_mask: expected a list"),
        ({"options": {"style_mask": ["red"]}}, "style_mask: 'red'; expected {\"picture\": id}"),
    ],
)
def test_a_request_of_another_form_is_refused(server: Server, change: dict[str, Any], reason: str) -> None:
    answer = server.ask("POST", "/api/runs", {**server.request(), **change})
    assert answer.status == 400 and answer.error.startswith(reason), answer.body


def test_an_unknown_picture_is_refused(server: Server) -> None:
    for change in ({"content": "0" * 32}, {"options": {**QUICK, "init": {"picture": "no"}}}):
        answer = server.ask("POST", "/api/runs", {**server.request(), **change})
        assert answer.status == 422 and "is not there; give it to the server once more" in answer.error


# --- a run ----------------------------------------------------------------------------------------------------


def test_a_run_is_watched_and_its_result_made_again(server: Server, tmp_path: Path, small_model: Path) -> None:
    with server.events() as events:
        key = server.submit({**QUICK, "evaluations": 8})
        seen: list[tuple[str, Any]] = []
        for name, data in events:
            seen.append((name, data))
            if name == "run" and data["id"] == key and data["state"] == "done":
                break
    states = [data["state"] for name, data in seen if name == "run"]
    assert states[0] == "waiting" and "running" in states and states[-1] == "done"
    steps = [data["step"] for name, data in seen if name == "step"]
    assert steps[-1]["evaluation"] == steps[-1]["evaluations"] == 8
    assert (steps[-1]["stage"], steps[-1]["stages"], steps[-1]["left"]) == (1, 1, 0)
    assert sum(steps[-1]["terms"].values()) == pytest.approx(steps[-1]["loss"], rel=1e-4)
    assert any(name == "preview" and data["version"] > 0 for name, data in seen)

    run = server.run(key)
    assert run["result"]["evaluations"] == 8 and run["result"]["reason"] == "all 8 evaluations were made"
    assert (run["error"], run["can_resume"], run["position"]) == (None, False, None)
    assert not any(str(server.data) in line for line in run["messages"])
    assert image_of(server.get(f"/api/runs/{key}/preview").body).format == "JPEG"
    log = [json.loads(line) for line in server.get(f"/api/runs/{key}/log").body.splitlines()]
    assert [line["evaluation"] for line in log] == [*range(1, 9)]

    # the record in the result leads back to it, from the pictures as their owner has them
    result = server.get(f"/api/runs/{key}/result.png?download=1")
    assert "noise-0-noise-1.png" in result.headers["content-disposition"]
    for seed in (0, 1):
        (tmp_path / f"noise-{seed}.png").write_bytes(png(seed=seed))
    (tmp_path / "result.png").write_bytes(result.body)
    done = impasto_("rerun", tmp_path / "result.png", "-o", tmp_path / "again.png", "--model", small_model)
    assert done.returncode == 0 and "bit for bit" in done.stderr, done.stderr
    assert server.get(f"/api/runs/{key}/record").data == json.loads(Record.read(tmp_path / "result.png").to_json())

    (tmp_path / "result.jpg").write_bytes(server.get(f"/api/runs/{key}/result.jpg").body)
    assert Record.read(tmp_path / "result.jpg").outcome == Record.read(tmp_path / "result.png").outcome
    assert image_of(server.get(f"/api/runs/{key}/thumbnail").body).size == (64, 48)


def test_a_result_that_is_given_back_tells_the_request_that_made_it(server: Server) -> None:
    key = server.submit({**QUICK, "seed": 5, "noise": 0.25, "style_weight": 3, "colors": "keep"})
    server.wait(key, "done")
    body = server.get(f"/api/runs/{key}/result.png").body
    made = server.upload(body, "made.png")["record"]
    assert made["missing"] == [] and made["command"].startswith("impasto rerun made.png")
    assert made["request"]["content"] == server.picture(0) and made["request"]["styles"] == [server.picture(1)]
    again = server.ask("POST", "/api/runs", {**made["request"], "options": {**QUICK, **made["request"]["options"]}})
    assert again.status == 201, again.body
    server.wait(again.data["id"], "done")
    first, second = (image_of(server.get(f"/api/runs/{one}/result.png").body) for one in (key, again.data["id"]))
    assert np.array_equal(np.asarray(first), np.asarray(second))


def test_masks_are_pictures_of_a_request(server: Server) -> None:
    halves = np.zeros((48, 64, 3), np.uint8)
    halves[:, :32, 0] = halves[:, 32:, 2] = 255
    file = io.BytesIO()
    Image.fromarray(halves).save(file, "PNG")
    mask = server.upload(file.getvalue(), "mask.png")["id"]
    regions = {
        "content_mask": {"picture": mask},
        "style_mask": ["#ff0000", "#0000ff"],
        "region_strength": ["#ff0000=0.5"],
    }
    request = server.request({**QUICK, **regions, "protect": {"picture": server.picture(3)}, "protect_weight": 7})
    request["styles"] = [server.picture(1), server.picture(2)]
    answer = server.ask("POST", "/api/runs", request)
    assert answer.status == 201, answer.body
    assert "--content-mask=mask.png '--style-mask=#ff0000' '--style-mask=#0000ff'" in answer.data["command"]
    run = server.wait(answer.data["id"], "done")
    assert any("region" in line for line in run["messages"])
    roles = [one["role"] for one in server.get(f"/api/runs/{run['id']}/record").data["origin"]["inputs"]]
    assert roles.count("style-mask") == 2 and {"content-mask", "protect"} < {*roles}
    made = server.upload(server.get(f"/api/runs/{run['id']}/result.png").body, "regions.png")["record"]
    told = {**made["request"]["options"], "recipe": "small"}
    assert made["missing"] == [] and {name: told[name] for name in request["options"] if name in told} == {
        **{name: request["options"][name] for name in request["options"] if name in told},
        "size": "64x48",
    }
    assert {*regions, "protect", "protect_weight"} < {*told}


def test_a_run_is_stopped_and_goes_on(server: Server) -> None:
    key = server.submit(LONG)
    server.wait(key, "running", step=3)
    assert image_of(server.get(f"/api/runs/{key}/preview").body).size == (64, 48)
    assert server.ask("POST", f"/api/runs/{key}/stop").data["state"] == "stopping"
    stopped = server.wait(key, "stopped")
    assert stopped["can_resume"] and stopped["result"]["reason"] == "interrupted"
    assert server.ask("POST", f"/api/runs/{key}/stop").status == 409
    assert server.ask("POST", f"/api/runs/{key}/resume").status == 200
    made = stopped["result"]["evaluations"]
    on = server.wait(key, "running", step=made + 2)
    assert any("resuming" in line for line in on["messages"])
    server.ask("POST", f"/api/runs/{key}/stop")
    assert server.wait(key, "stopped")["result"]["evaluations"] > made
    log = [json.loads(line)["evaluation"] for line in server.get(f"/api/runs/{key}/log").body.splitlines()]
    assert log == [*range(1, len(log) + 1)]


def test_a_result_is_where_another_run_begins(server: Server) -> None:
    key = server.submit()
    server.wait(key, "done")
    assert server.ask("POST", f"/api/runs/{key}/resume").status == 409  # it has no checkpoint
    answer = server.ask("POST", f"/api/runs/{key}/resume", {"evaluations": 3})
    assert answer.status == 200 and answer.data["continues"] == key
    again = server.wait(answer.data["id"], "done")
    record = server.get(f"/api/runs/{again['id']}/record").data
    assert record["plan"]["init"] == "picture" and again["result"]["evaluations"] == 3
    assert again["result"]["loss"] < server.run(key)["result"]["loss"]


def test_a_cancelled_run_leaves_nothing_but_its_request(server: Server) -> None:
    key = server.submit(LONG)
    server.wait(key, "running", step=2)
    assert server.ask("POST", f"/api/runs/{key}/cancel").data["state"] == "cancelled"
    run = server.run(key)
    assert (run["preview"], run["can_resume"], run["result"]) == (0, False, None)
    for name in ("preview", "result.png", "result.jpg", "thumbnail", "record"):
        assert server.ask("GET", f"/api/runs/{key}/{name}").status == 404
    assert server.ask("POST", f"/api/runs/{key}/cancel").status == 409
    assert server.ask("DELETE", f"/api/runs/{key}").status == 204
    assert server.ask("GET", f"/api/runs/{key}").status == 404
    assert not list((server.data / "runs").glob(f"*{key}*"))


def test_the_queue_is_put_in_order(server: Server) -> None:
    first = server.submit(LONG)
    server.wait(first, "running")
    second, third, fourth = (server.submit() for _ in range(3))
    assert server.ask("PATCH", f"/api/runs/{fourth}", {"position": 1}).data["position"] == 1
    listed = [run["id"] for run in server.get("/api/runs?limit=0").data["runs"]]
    assert listed == [first, fourth, second, third]
    assert server.ask("PATCH", f"/api/runs/{first}", {"position": 1}).status == 409
    assert server.ask("PATCH", f"/api/runs/{third}", {"position": 0}).status == 400
    assert server.ask("POST", f"/api/runs/{second}/cancel").data["state"] == "cancelled"
    with server.events(f"/api/runs/{third}/events") as events:
        server.ask("POST", f"/api/runs/{first}/cancel")
        *_, last = events  # the stream ends with the run
    assert last[0] == "run" and (last[1]["id"], last[1]["state"]) == (third, "done")
    assert server.run(fourth)["ended"] <= server.run(third)["ended"]


def test_a_run_that_fails_says_why_and_others_go_on(server: Server) -> None:
    key = server.submit(LONG)
    server.wait(key, "running", step=2)
    after = server.submit()
    pid = json.loads((server.data / "runs" / key / "run.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    failed = server.wait(key, "failed")
    assert "by signal 9, perhaps for want of memory; go on from its checkpoint" in failed["error"]
    assert failed["can_resume"]
    server.wait(after, "done")


def test_names_of_files_survive_where_they_are_safe(server: Server) -> None:
    names = {
        "Ölbild (2).PNG": "Ölbild (2).PNG",
        "../../x.png": "x.png",
        "a/b\\c.png": "c.png",
        "no ending": "no ending.png",
    }
    for name, kept in names.items():
        assert server.upload(png(seed=20), urllib.parse.quote(name))["name"] == kept
