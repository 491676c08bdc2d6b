"""The page in a real browser: it slides, sorts, filters and chooses, and is whole without its script.

Playwright is not among the locked packages; where it or Chromium is missing these tests say so and are skipped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.report.page.collect import collect
from jobs.report.page.render import render
from pipelines.engine.runner import Engine

playwright = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`, and Chromium")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = Path(tmp_path_factory.mktemp("page")) / "report.html"
    file.write_text(render(collect(engine)), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page on a phone; errors of its script, and anything that its policy stops, fail the test."""
    errors: list[str] = []
    opened = browser.new_page(viewport={"width": 390, "height": 844})
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.goto(address)
    yield opened
    opened.close()
    assert errors == []


def counts(page: Any) -> list[str]:
    """The row of cats: from score, right, five kinds of errors, missed."""
    return page.locator("#counts tbody tr").nth(1).locator("td").all_inner_texts()


def test_the_slider_counts_and_draws_again(page: Any):
    assert counts(page) == ["2.00", "6", "0", "0", "0", "0", "0", "0"]
    assert page.locator(".mark.wrong:not(.off)").count() == 0
    page.locator("#score").focus()
    page.keyboard.press("Home")
    assert counts(page) == ["1.00", "6", "3", "0", "0", "0", "0", "0"]
    assert page.locator(".mark.wrong:not(.off)").count() == 3
    assert "6 right, 3 wrong, 6 missed; precision 66.7 %, recall 50.0 %" in page.locator("#said").inner_text()
    assert page.locator("#score").get_attribute("aria-valuetext") == "1.00"
    page.locator("#operating").click()
    assert counts(page)[0] == "2.00"
    assert page.locator("#operating").get_attribute("aria-pressed") == "true"


def test_readers_choose_the_images(page: Any):
    assert page.locator(".shot:visible").count() == 6
    page.locator("#role").select_option("best")
    assert page.locator(".shot:visible").count() == 4
    page.locator("#pick").select_option(label="dog")  # no dog is found: there is no best image of one
    assert page.locator(".shot:visible").count() == 0
    assert page.locator("#none").is_visible()
    page.locator("#role").select_option("worst")
    assert page.locator(".shot:visible").count() == 4
    assert page.locator(".shot:visible .mark.right:not(.off)").count() == 0  # only dogs are marked


def test_tables_are_sorted_by_keyboard(page: Any):
    head = page.locator("#weaknesses thead tr").last.locator("th").nth(1)
    names = page.locator("#weaknesses tbody th")
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert names.all_inner_texts() == ["mean", "cat", "dog"]
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert names.all_inner_texts() == ["mean", "dog", "cat"]


def test_a_phone_need_not_scroll_sideways(page: Any):
    page.locator(".tile b").evaluate_all("found => found.forEach(one => { one.textContent = '35 min 32 s' })")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_page_is_whole_without_its_script(browser: Any, address: str):
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(address)
    assert not plain.locator("#controls").is_visible()
    assert plain.locator(".shot:visible").count() == 6
    assert counts(plain) == ["2.00", "6", "0", "0", "0", "0", "0", "0"]
    assert plain.locator(".mark.right:not(.off)").count() == 6
