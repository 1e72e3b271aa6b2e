"""Pages of `impasto serve` in a real browser, and what a person does in them, by the names that a page shows."""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING, Any

from serving import PATIENCE, Server, png

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

#: What tests paint with unless they say otherwise: it is over at once.
SIZE, EVALUATIONS = "64", 4

_DROP = """([selector, files]) => {
    const transfer = new DataTransfer();
    for (const [name, bytes] of files) {
        transfer.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
    }
    const target = document.querySelector(selector);
    for (const kind of ["dragenter", "dragover", "drop"]) {
        target.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }
}"""


class Pages:
    """Opens pages, and collects the errors that they meet.

    Attributes
    ----------
    errors
        What went wrong in scripts, or was refused by the browser. A test that expects some takes them out.
    """

    def __init__(self, browser: Browser) -> None:
        self.errors: list[str] = []
        self._browser, self._contexts, self._servers = browser, list[Any](), list[Server]()

    def open(self, server: Server, *, beside: Page | None = None, **options: Any) -> Page:
        """Open a page: in the browser of another page, or in one of its own with options of Playwright."""
        if beside is None:
            self._contexts.append(self._browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options}))
        self._servers.append(server)
        page: Page = (beside.context if beside else self._contexts[-1]).new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)
        page.goto(server.url)
        page.wait_for_selector("h1")
        return page

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def close(self) -> None:
        """Close all of them, and end what their servers still paint: other tests do not wait for it."""
        for context in self._contexts:
            context.close()
        for server in self._servers:
            with contextlib.suppress(OSError):  # it may have ended
                for run in server.get("/api/runs").data["runs"]:
                    server.ask("POST", f"/api/runs/{run['id']}/cancel")


def drop(page: Page, selector: str, **files: bytes) -> None:
    """Drop PNG files, given by their names without ``.png``, on an element."""
    given = [[f"{name}.png", base64.b64encode(body).decode()] for name, body in files.items()]
    page.evaluate(_DROP, [selector, given])


def give(page: Page, photograph: bytes | None = None, *paintings: bytes) -> None:
    """Drop a photograph and paintings on the page; they are of noise unless given."""
    drop(page, "main", photo=photograph or png(64, 48, 1))
    page.wait_for_selector("img[alt='The photograph photo.png']")
    for number, painting in enumerate(paintings or (png(56, 64, 2),)):
        drop(page, "main", **{f"painting{number}": painting})
        page.wait_for_selector(f"img[alt='The painting painting{number}.png']")


def choose(page: Page, size: str = SIZE, evaluations: int = EVALUATIONS, recipe: str = "small") -> None:
    """Choose what is quick, and wait for its estimate."""
    page.get_by_label("Recipe", exact=True).select_option(recipe)
    page.get_by_label("Size", exact=True).select_option("other")
    page.get_by_label("Long side in pixels").fill(size)
    page.get_by_label("Evaluations", exact=True).fill(str(evaluations))
    page.get_by_label("Evaluations", exact=True).press("Tab")
    many = "1 evaluation" if evaluations == 1 else f"{evaluations:,} evaluations"
    page.locator(".begin", has_text=many).wait_for()


def paint(page: Page) -> str:
    """Press the button, and return the run's id."""
    page.locator(".begin button").click()
    page.wait_for_url("**/#/run/*")
    return page.url.rpartition("/")[2]


def wait_for(page: Page, state: str) -> None:
    """Wait until the run that is shown is in a state."""
    page.locator(".state", has_text=state).wait_for()


def made(page: Page, *paintings: bytes, **choices: Any) -> str:
    """Go the whole way from nothing to a picture that is done, and return the run's id."""
    give(page, None, *paintings)
    choose(page, **choices)
    run = paint(page)
    wait_for(page, "Done")
    return run
