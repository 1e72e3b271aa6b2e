"""A person's ways through the page, in a real browser, to pictures that are really painted."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browsing import Pages, choose, drop, give, made, paint, wait_for
from numpy.typing import NDArray
from PIL import Image
from processes import impasto_
from serving import Server, png

from impasto.runtime.run.record import Record

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def levels(body: bytes) -> NDArray[np.int32]:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), np.int32)


def download(page: Page, name: str, folder: Path) -> Path:
    with page.expect_download() as expected:
        page.get_by_role("link", name=name).click()
    path = folder / expected.value.suggested_filename
    expected.value.save_as(path)
    return path


def test_two_dropped_files_become_a_downloaded_result_that_can_be_made_again(
    page: Page, small_model: Path, tmp_path: Path
) -> None:
    photograph, painting = png(64, 48, 1), png(56, 64, 2)
    (tmp_path / "photo.png").write_bytes(photograph)
    (tmp_path / "painting.png").write_bytes(painting)
    drop(page, ".drop", photo=photograph)
    page.get_by_alt_text("The photograph photo.png").wait_for()
    drop(page, ".drop", painting=painting)
    page.get_by_alt_text("The painting painting.png").wait_for()
    choose(page)
    paint(page)
    wait_for(page, "Done")
    assert page.locator(".after img").evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [64, 48]

    result = download(page, "Download PNG", tmp_path)
    again = tmp_path / "again.png"
    done = impasto_("rerun", result, "--output", again, "--model", small_model)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(levels(again.read_bytes()), levels(result.read_bytes()))

    jpeg = download(page, "Download JPEG", tmp_path)
    with Image.open(jpeg) as image:
        assert image.format == "JPEG"
    assert Record.read(jpeg).plan == Record.read(result).plan


def test_a_dropped_result_tells_how_it_was_made_and_is_made_again_or_gone_on_from(page: Page, server: Server) -> None:
    first = made(page)
    result = server.get(f"/api/runs/{first}/result.png").body
    page.get_by_role("link", name="Paint", exact=True).click()
    page.get_by_role("button", name="Remove painting0.png").click()
    page.get_by_role("button", name="Remove photo.png").click()
    drop(page, "main", result=result)
    panel = page.get_by_role("region", name="This picture was painted by impasto")
    panel.get_by_text("all that it was made from is here").wait_for()
    panel.get_by_text("How it was made", exact=True).click()
    assert panel.locator("dd", has_text="small").count() == 1

    panel.get_by_role("button", name="Make it again").click()
    page.get_by_alt_text("The painting painting0.png").wait_for()
    second = paint(page)
    wait_for(page, "Done")
    np.testing.assert_array_equal(levels(server.get(f"/api/runs/{second}/result.png").body), levels(result))

    drop(page, "main", result=result)
    panel.get_by_role("button", name="Go on from it").click()
    page.get_by_alt_text("The painting painting0.png").wait_for()
    third = paint(page)
    wait_for(page, "Done")
    assert "init" in server.run(third)["request"]["options"]
    assert server.run(third)["result"]["loss"] < server.run(first)["result"]["loss"]


def test_a_result_whose_painting_is_missing_names_it_and_takes_it_later(
    start_server: Any, pages: Pages, server: Server, tmp_path: Path
) -> None:
    painting = png(56, 64, 77)
    run = made(pages.open(server), painting)
    elsewhere = pages.open(start_server(data=tmp_path / "other"))
    drop(elsewhere, "main", result=server.get(f"/api/runs/{run}/result.png").body)
    panel = elsewhere.get_by_role("region", name="This picture was painted by impasto")
    panel.get_by_text("Give these files, too, to make it again: photo.png, painting0.png").wait_for()
    drop(elsewhere, "main", photo=png(64, 48, 1))
    panel.get_by_text("to make it again: painting0.png").wait_for()
    drop(elsewhere, "main", painting0=painting)
    panel.get_by_role("button", name="Make it again").wait_for()


def test_a_run_is_stopped_and_kept_gone_on_with_and_cancelled(page: Page, server: Server) -> None:
    give(page)
    choose(page, evaluations=90_000)
    run = paint(page)
    page.get_by_text("Evaluation 2").first.wait_for()
    page.get_by_role("button", name="Stop and keep").click()
    wait_for(page, "Stopped and kept")
    kept = server.run(run)["result"]["evaluations"]
    assert page.get_by_role("link", name="Download PNG").is_visible()

    page.get_by_role("button", name="Go on", exact=True).click()
    wait_for(page, "Painting")
    assert server.wait(run, "running", step=kept + 1)["step"]["evaluation"] > kept

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="No").click()
    assert server.run(run)["state"] == "running"
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    wait_for(page, "Cancelled")
    assert server.run(run)["result"] is None


def test_while_it_paints_the_picture_its_losses_and_the_time_left_are_shown(page: Page, server: Server) -> None:
    give(page)
    choose(page, evaluations=90_000)
    run = paint(page)
    page.locator(".has-after").wait_for()
    first = page.locator(".after img").get_attribute("src")
    page.locator(".plot .line.all").wait_for()
    assert {"loss", "content", "style", "smoothness"} == {
        text.rpartition(" ")[0] for text in page.locator(".legend li").all_inner_texts()
    }
    assert "left" in page.locator("aside .time").inner_text()
    assert page.get_by_role("progressbar").evaluate("(bar) => bar.value") >= 1
    page.wait_for_function("(first) => document.querySelector('.after img').src.indexOf(first) < 0", arg=first)
    page.reload()
    page.locator(".plot .line.all").wait_for()
    assert len(page.locator(".plot .line.all").get_attribute("d") or "") > 20
    assert server.ask("DELETE", f"/api/runs/{run}").status == 204
    page.get_by_role("heading", name="Gallery").wait_for()


def noise(red: int, blue: int, seed: int) -> bytes:
    """Return a painting of noise around a colour."""
    file = io.BytesIO()
    shades = np.random.default_rng(seed).integers(-20, 20, (64, 64, 1)) + np.array([red, 60, blue])
    Image.fromarray(shades.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def stroke(page: Page, easel: Locator, *points: tuple[float, float]) -> None:
    """Draw a line over a canvas; points are parts of its width and height."""
    box = easel.bounding_box()
    assert box
    for number, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if not number:
            page.mouse.down()
    page.mouse.up()


def test_a_painted_mask_is_obeyed(page: Page, server: Server) -> None:
    give(page, None, noise(200, 40, 1), noise(40, 200, 2))
    choose(page, evaluations=30)
    page.get_by_role("button", name="Mark").first.click()
    easel = page.get_by_role("application", name="Mask over the picture")
    easel.wait_for()
    page.get_by_label("2: painting1").check(force=True)
    page.get_by_label("Size of the brush").fill("160")
    stroke(page, easel, *((0.66, y) if i % 2 else (0.99, y) for i, y in enumerate(np.linspace(0.01, 0.99, 9))))
    page.get_by_role("button", name="Done").click()
    page.get_by_text("Each painting has its own part").wait_for()
    run = paint(page)
    wait_for(page, "Done")

    options = server.run(run)["request"]["options"]
    mask = levels(server.get(f"/api/pictures/{options['content_mask']['picture']}").body)
    own = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in options["style_mask"]]
    height, width, _ = mask.shape
    assert width == 1024 and height == 768
    assert (mask[:, : width // 2 - 60] == own[0]).all()
    assert (mask[:, width // 2 + 40 :] == own[1]).all()

    result = levels(server.get(f"/api/runs/{run}/result.png").body)
    redness = (result[..., 0] - result[..., 2]).astype(float)
    assert redness[:, :24].mean() > redness[:, -24:].mean() + 40


def test_fill_eraser_undo_and_a_painting_marked_by_hand(page: Page, server: Server) -> None:
    half = io.BytesIO()
    picture = Image.new("RGB", (64, 48), "#204060")
    picture.paste("#f0d080", (0, 0, 64, 20))
    picture.save(half, "PNG")
    give(page, half.getvalue(), noise(200, 40, 1), noise(40, 200, 2))
    choose(page)
    page.get_by_role("button", name="Mark").first.click()
    easel = page.get_by_role("application", name="Mask over the picture")
    easel.wait_for()
    page.get_by_label("2: painting1").check(force=True)
    page.get_by_label("Fill").check(force=True)
    easel.click(position={"x": 100, "y": 30})
    says = page.locator(".painter .side [role=status]")
    says.filter(has_text=re.compile("2: painting1 4[123]%")).wait_for()
    filled = says.inner_text()
    page.get_by_role("button", name="Undo").click()
    says.filter(has_text="1: painting0 100%").wait_for()
    page.get_by_role("button", name="Do again").click()
    page.get_by_label("Eraser").check(force=True)
    page.get_by_label("Size of the brush").fill("160")
    stroke(page, easel, (0.02, 0.1), (0.3, 0.1))
    assert says.inner_text() not in (filled, "1: painting0 100%")

    page.get_by_role("button", name="painting1.png", exact=True).click()
    page.get_by_label("Parts, marked by hand").check(force=True)
    says.filter(has_text="2: painting1 100%").wait_for()
    page.get_by_label("1: painting0").check(force=True)
    page.get_by_label("Brush", exact=True).check(force=True)
    stroke(page, easel, (0.1, 0.1), (0.1, 0.9))
    says.filter(has_text=re.compile("1: painting0, painting1 [0-9]+%")).wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("dialog").wait_for(state="detached")
    run = paint(page)
    wait_for(page, "Done")
    first, second = server.run(run)["request"]["options"]["style_mask"]
    assert first.startswith("#") and set(second) == {"picture"}


def test_what_is_protected_can_be_painted(page: Page, server: Server) -> None:
    if not any(option["name"] == "protect" for option in server.get("/api/choices").data["options"]):
        pytest.skip("needs the option --protect")
    give(page)
    choose(page)
    page.get_by_role("button", name="Mark").last.click()
    easel = page.get_by_role("application", name="Mask over the picture")
    easel.wait_for()
    page.get_by_label("Size of the brush").fill("160")
    stroke(page, easel, (0.02, 0.5), (0.2, 0.5))
    page.get_by_role("button", name="Done").click()
    page.get_by_text("Parts of the photograph stay as they are").wait_for()
    run = paint(page)
    wait_for(page, "Done")
    mask = levels(server.get(f"/api/pictures/{server.run(run)['request']['options']['protect']['picture']}").body)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[384, 100] == 255).all() and (mask[:, -200:] == 0).all()


def test_the_queue_is_ordered_and_shortened(page: Page, server: Server) -> None:
    give(page)
    choose(page, evaluations=90_000)
    first = paint(page)
    waiting = []
    for evaluations in (101, 102, 103):
        page.get_by_role("link", name="Paint", exact=True).click()
        choose(page, evaluations=evaluations)
        page.get_by_role("button", name="Add to the queue").wait_for()
        waiting.append(paint(page))
    page.get_by_role("link", name="Queue").click()
    rows = page.locator(".queue > li")
    assert rows.count() == 4
    rows.nth(3).get_by_role("button", name="Earlier").press("Enter")
    page.wait_for_function("() => document.querySelector('.queue > li:nth-child(3)').textContent.includes('103')")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("Earlier")
    rows.nth(1).get_by_role("button", name="Remove").click()
    page.wait_for_function("() => document.querySelectorAll('.queue > li').length === 3")
    assert [run["id"] for run in server.get("/api/runs").data["runs"]][:3] == [first, waiting[2], waiting[1]]
    for run in (first, *waiting):
        server.ask("DELETE", f"/api/runs/{run}")
    page.get_by_text("nothing waits").wait_for()


def test_a_queue_of_three_outlives_a_server_that_is_killed_in_the_second(
    start_server: Any, pages: Pages, tmp_path: Path
) -> None:
    token = ("--token-file", tmp_path / "token")
    server = start_server(*token)
    page = pages.open(server)
    made(page)
    page.get_by_role("link", name="Paint", exact=True).click()
    choose(page, evaluations=90_000)
    second = paint(page)
    page.get_by_role("link", name="Paint", exact=True).click()
    choose(page)
    third = paint(page)
    server.wait(second, "running", step=3)
    page.wait_for_timeout(3000)  # a checkpoint is written every two seconds
    page.get_by_role("link", name="Queue").click()
    server.process.kill()
    server.process.wait()
    page.get_by_text("The server does not answer").wait_for()
    before = page.locator("progress").evaluate("(bar) => bar.value")

    server = start_server(*token, "--port", server.port)
    page.get_by_text("The server does not answer").wait_for(state="hidden")
    page.wait_for_function("() => document.querySelectorAll('.queue > li').length === 2")
    assert server.wait(second, "running", step=2)["step"]["evaluation"] >= min(before, 2)
    server.ask("POST", f"/api/runs/{second}/stop")
    server.wait(third, "done")
    page.get_by_role("link", name="Gallery").click()
    page.wait_for_function("() => document.querySelectorAll('.gallery > li').length === 3")
    pages.errors.clear()  # the browser's, about the server that was gone


def test_two_pages_that_are_open_at_once_show_the_same(pages: Pages, server: Server) -> None:
    one = pages.open(server)
    another = pages.open(server, beside=one)
    give(one)
    choose(one)
    run = paint(one)
    another.evaluate("location.hash = '#/queue'")
    wait_for(one, "Done")
    another.evaluate(f"location.hash = '#/run/{run}'")
    wait_for(another, "Done")
    one.get_by_role("button", name="Delete").click()
    one.get_by_role("dialog").get_by_role("button", name="Delete").click()
    for page in (one, another):
        page.get_by_role("heading", name="Gallery").wait_for()
    pages.errors.clear()  # the browser's, about a picture that was removed while a page asked for it


def test_the_token_leaves_the_address_and_a_stranger_is_told_what_is_missing(
    pages: Pages, server: Server, browser: Any
) -> None:
    page = pages.open(server)
    assert "token" not in page.url
    page.reload()
    page.locator(".drop").first.wait_for()
    assert page.evaluate("document.cookie") == ""

    stranger = browser.new_context().new_page()
    stranger.goto(server.url.partition("#")[0])
    stranger.get_by_role("heading", name="Open the whole address").wait_for()
    stranger.context.close()


def test_the_command_is_that_of_the_api_and_is_copied(pages: Pages, server: Server) -> None:
    page = pages.open(server, permissions=["clipboard-read", "clipboard-write"])
    run = made(page)
    page.get_by_text("As a command").click()
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied").first.wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == server.run(run)["command"]
    assert shlex.split(copied)[:2] == ["impasto", "stylize"]


def test_what_is_refused_is_said_in_the_commands_own_line(pages: Pages, server: Server) -> None:
    page = pages.open(server)
    drop(page, "main", broken=b"no picture")
    problem = page.locator(".compose > .problem")
    problem.filter(has_text="broken.png").wait_for()
    give(page)
    choose(page)
    page.get_by_text("More options").click()
    page.get_by_label("style scale").fill("99")
    page.get_by_label("style scale").press("Tab")
    refusal = page.locator(".begin .bad")
    refusal.wait_for()
    answer = server.ask("POST", "/api/estimate", server.request({"recipe": "small", "style_scale": 99}))
    assert refusal.inner_text() == answer.error
    pages.errors.clear()  # the browser's, about the answers


def test_a_files_name_is_text_whatever_it_holds(page: Page) -> None:
    name = "<img src=x onerror=document.title='struck'>"
    drop(page, "main", **{name: png(64, 48, 1)})
    page.locator(".caption b", has_text="onerror").wait_for()
    assert page.locator("img[src='x']").count() == 0
    assert "struck" not in page.title()


def test_a_draft_outlives_a_reload(page: Page) -> None:
    give(page, None, png(40, 40, 5), png(40, 40, 6))
    choose(page)
    page.get_by_label("Colours", exact=True).select_option("keep")
    page.get_by_label("Share of painting1.png").fill("1")
    shares = page.locator(".share output").all_inner_texts()
    assert shares == ["33%", "67%"]
    page.reload()
    page.get_by_alt_text("The painting painting1.png").wait_for()
    assert page.locator(".share output").all_inner_texts() == shares
    assert page.get_by_label("Colours", exact=True).input_value() == "keep"
    assert page.get_by_label("Evaluations", exact=True).input_value() == "4"


def test_every_option_of_the_command_that_is_changed_reaches_the_run(page: Page, server: Server) -> None:
    give(page)
    choose(page)
    page.get_by_text("More options").click()
    page.get_by_label("style scale").fill("1.5")
    page.get_by_label("seed").fill("7")
    page.get_by_label("init").select_option("random")
    page.get_by_label("low memory").check()
    page.get_by_label("clip").select_option("off")
    page.get_by_label("Strength").fill("0.5")
    page.get_by_label("Boldness").fill("-0.4")
    page.get_by_text("5 changed").wait_for()
    run = paint(page)
    wait_for(page, "Done")
    options = server.run(run)["request"]["options"]
    wanted = {"style_scale": 1.5, "seed": 7, "init": "random", "low_memory": True, "clip": False, "strength": 0.5}
    assert {**wanted, "boldness": -0.4}.items() <= options.items()


def test_the_drawn_samples_are_taken_with_two_clicks(page: Page) -> None:
    page.get_by_role("button", name="town").click()
    page.get_by_role("button", name="sunset").click()
    page.get_by_alt_text("The painting sunset.jpg").wait_for()
    choose(page)
    paint(page)
    wait_for(page, "Done")
