"""The page for everyone: by keyboard alone, for a screen reader, on a phone, in light and dark, without motion."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsing import Pages, choose, drop, give, made, paint, wait_for
from serving import Server, png

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Where `make page` has npm put it.
AXE = Path(sys.prefix, "page", "node_modules", "axe-core", "axe.min.js")

#: Widths of screens: a desk's, a phone's, and a small phone's.
SIZES = (1280, 390, 320)

_FOUND = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, impact, nodes }) => `${impact}: ${id}: ${nodes.map((node) => node.html).join(" | ")}`);
}"""


def violations(page: Page) -> list[str]:
    """Return what axe finds in what is shown."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(_FOUND)
    return found


def overflows(page: Page) -> bool:
    """Whether the page has to be scrolled sideways."""
    wide: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return wide


def views(page: Page, server: Server) -> Any:
    """Go through all that the page shows, and yield the name of each view."""
    yield "empty"
    give(page, None, png(40, 40, 5), png(40, 40, 6))
    choose(page)
    yield "filled"
    page.get_by_text("More options").click()
    page.get_by_text("As a command").click()
    yield "all options"
    page.get_by_role("button", name="Mark").first.click()
    page.get_by_role("application").wait_for()
    yield "painter"
    page.get_by_role("button", name="painting1.png", exact=True).click()
    page.get_by_text("All of it to region 2").wait_for()
    yield "painter of a painting"
    page.get_by_role("button", name="Cancel").click()
    run = paint(page)
    wait_for(page, "Done")
    page.locator(".has-after").wait_for()
    yield "done"
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").wait_for()
    yield "question"
    page.get_by_role("button", name="No").click()
    page.get_by_role("link", name="Gallery").click()
    page.locator(".gallery img").first.wait_for()
    yield "gallery"
    result = server.get(f"/api/runs/{run}/result.png").body
    page.get_by_role("link", name="Paint", exact=True).click()
    drop(page, "main", result=result)
    page.get_by_role("region", name="This picture was painted by impasto").wait_for()
    yield "a dropped result"
    page.get_by_role("button", name="Not now").click()
    choose(page, evaluations=90_000)
    paint(page)
    page.locator(".plot .line.all").wait_for()
    yield "painting"
    page.get_by_role("link", name="Queue").click()
    page.locator(".queue progress").wait_for()
    yield "queue"


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core, from npm; run: make page")
def test_no_view_violates_a_rule_of_axe_or_is_wider_than_its_screen(page: Page, server: Server) -> None:
    found: dict[str, object] = {}
    for view in views(page, server):
        for size in SIZES:
            page.set_viewport_size({"width": size, "height": 800})
            if overflows(page):
                found[f"{view}, {size}"] = "is scrolled sideways"
            for scheme in ("light", "dark") if size in SIZES[:2] else ():
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                if problems := violations(page):
                    found[f"{view}, {size}, {scheme}"] = problems
        page.set_viewport_size({"width": SIZES[0], "height": 800})
    assert found == {}


def focused(page: Page) -> str:
    """Return what a screen reader would call the element that has the focus."""
    name: str = page.evaluate(
        """() => {
            const element = document.activeElement;
            const labels = [...(element.labels ?? [])].map((label) => label.textContent);
            return element.ariaLabel || labels.join(" ") || element.textContent;
        }"""
    )
    return " ".join(name.split())


def tab_to(page: Page, name: str) -> None:
    """Press Tab until something of a name has the focus."""
    met = []
    for _ in range(80):
        page.keyboard.press("Tab")
        met.append(focused(page))
        if met[-1].startswith(name):
            return
    raise AssertionError(f"{name!r} is none of {met}")


def test_the_keyboard_alone_is_enough_from_samples_to_a_download(page: Page) -> None:
    tab_to(page, "town")
    page.keyboard.press("Enter")
    page.get_by_alt_text("The photograph town.jpg").wait_for()
    tab_to(page, "sunset")
    page.keyboard.press("Enter")
    page.get_by_alt_text("The painting sunset.jpg").wait_for()
    assert focused(page) == "Paint"
    page.keyboard.press("Shift+Tab")
    while focused(page) != "Size":
        page.keyboard.press("Shift+Tab")
    page.keyboard.type("Another")
    tab_to(page, "Long side")
    page.keyboard.type("64")
    tab_to(page, "Recipe")
    page.keyboard.type("small")
    tab_to(page, "Evaluations")
    page.keyboard.type("3")

    tab_to(page, "Mark")
    page.keyboard.press("Enter")
    page.get_by_role("application").wait_for()
    tab_to(page, "2:")
    page.keyboard.press("Space")
    tab_to(page, "Mask over the picture")
    for key in ("Space", "ArrowRight", "ArrowRight", "ArrowDown", "Space"):
        page.keyboard.press(key)
    page.get_by_text(re.compile(r"no painting yet [\d.]+%")).wait_for()  # the brush has left a little of region 2
    page.keyboard.press("Control+z")
    page.get_by_text("1: sunset 100%").wait_for()
    tab_to(page, "Done")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for(state="detached")
    page.locator(".begin", has_text="3 evaluations").wait_for()

    tab_to(page, "Paint")
    page.keyboard.press("Enter")
    wait_for(page, "Done")
    page.locator(".has-after").wait_for()
    tab_to(page, "Border between")
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("slider", name="Border between").get_attribute("aria-valuenow") == "48"
    tab_to(page, "Download PNG")
    with page.expect_download() as expected:
        page.keyboard.press("Enter")
    assert expected.value.suggested_filename.endswith(".png")


def test_a_screen_reader_hears_what_happens(page: Page) -> None:
    heard = page.evaluate_handle(
        """() => {
            const heard = [];
            for (const region of document.querySelectorAll("body > [role=status]")) {
                new MutationObserver(() => heard.push(region.textContent)).observe(region, { childList: true });
            }
            return heard;
        }"""
    )
    give(page)
    choose(page, evaluations=40)
    paint(page)
    wait_for(page, "Done")
    page.wait_for_timeout(300)
    texts = heard.json_value()
    assert "photo.png, 64 × 48 pixels" in texts
    assert any(text.startswith("Evaluation ") for text in texts)
    assert "Now: Done" in texts
    assert page.evaluate("document.activeElement.tagName") == "H1"
    assert page.title() == "photo × painting0 – impasto"


def test_who_wants_no_motion_sees_none(pages: Pages, server: Server) -> None:
    page = pages.open(server, reduced_motion="reduce")
    give(page)
    choose(page, evaluations=90_000)
    paint(page)
    page.locator("aside progress").wait_for()
    assert page.evaluate("document.getAnimations().length") == 0


def test_light_and_dark_follow_the_system(pages: Pages, server: Server) -> None:
    def ground(scheme: str) -> int:
        page = pages.open(server, color_scheme=scheme)
        color: str = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return sum(map(int, color[4:-1].split(",")))

    assert ground("dark") < 100 < 600 < ground("light")


def test_a_picture_is_looked_at_closely(page: Page) -> None:
    made(page)
    page.locator(".has-after").wait_for()
    image = page.locator(".after img")
    page.get_by_role("button", name="Pixels").click()
    assert image.evaluate("(image) => [image.offsetWidth, image.offsetHeight]") == [64, 48]
    for _ in range(4):
        page.get_by_role("button", name="Larger").click()
    assert image.evaluate("(image) => image.style.imageRendering") == "pixelated"
    page.get_by_role("button", name="Fit").click()
    whole = page.locator(".viewer .stage").bounding_box()
    assert whole and image.evaluate("(image) => image.offsetWidth") <= whole["width"] + 1

    divider = page.get_by_role("slider", name="Border between")
    page.mouse.click(whole["x"] + whole["width"] / 4, whole["y"] + 30)
    assert abs(int(divider.get_attribute("aria-valuenow") or 0) - 25) <= 3
    page.get_by_label("Side by side").check(force=True)
    left, right = (page.locator(f".pane.{side}").bounding_box() for side in ("before", "after"))
    assert left and right and left["x"] + left["width"] <= right["x"]
    assert page.locator(".pane.after").evaluate("(pane) => pane.style.clipPath") == "none"
