"""What the tests in a browser share: a real Chromium, and pages that a user could have opened."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browsing import Pages
from serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def chromium() -> str | None:
    """Return the system's Chromium, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; tests that need it are skipped where there is none."""
    if not importlib.util.find_spec("playwright"):
        pytest.skip("needs Playwright; run: make page")
    if not (path := chromium()):
        pytest.skip("needs Chromium, from the system's packages")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def pages(browser: Browser) -> Iterator[Pages]:
    """A maker of pages. No page may meet an error."""
    pages = Pages(browser)
    yield pages
    pages.close()
    assert not pages.errors


@pytest.fixture
def page(pages: Pages, server: Server) -> Page:
    """The page of a server that a module's tests share."""
    return pages.open(server)
