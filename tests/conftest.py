"""Chromium for tests, with the network blocked (tests skip where there is none); long claims are left out."""

import os
import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium for the whole session."""
    if CHROMIUM is None:
        missing = "no chromium, chromium-browser or google-chrome on the path"
        # Continuous integration installs one; there a missing browser must not look like success.
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


def pytest_collection_modifyitems(items):
    """Leave claims of more than 10 s to `make claims`."""
    if os.environ.get("CODEBOOK_LONG"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="a claim of more than 10 s: make claims"))


class Visit:
    """A browser context that may open local files alone, and what went wrong on its pages."""

    def __init__(self, chromium, **options):
        self.context = chromium.new_context(**options)
        self.context.set_default_timeout(10_000)
        self.context.set_offline(True)
        self.context.on("request", self._request)
        self.problems = []

    def _request(self, request):
        if not request.url.startswith(("file:", "data:", "blob:", "about:")):
            self.problems.append(f"request: {request.url}")

    def open(self, address):
        """Return a page at ``address`` whose errors are noted."""
        page = self.context.new_page()
        page.on(
            "console", lambda m: self.problems.append(f"{m.type}: {m.text}") if m.type == "error" else None
        )
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("requestfailed", lambda request: self.problems.append(f"failed: {request.url}"))
        page.goto(address)
        return page


@pytest.fixture
def visit(chromium):
    """Make visits; afterwards none may have had an error or asked for anything from elsewhere."""
    visits = []

    def start(**options):
        visits.append(Visit(chromium, **options))
        return visits[-1]

    yield start
    problems = [problem for visit in visits for problem in visit.problems]
    for each in visits:
        each.context.close()
    assert problems == []
