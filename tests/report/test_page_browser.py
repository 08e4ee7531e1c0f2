"""The page in a real Chromium, headless, at desktop and phone width; skipped where there is none."""

import shutil

import pytest
from report.stored_units import EVIL, store

from lightning_advinterp.report.command import write_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="Chromium is driven by playwright, which is absent")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    parent = tmp_path_factory.mktemp("browser")
    folders = [store(parent / name, seed) for seed, name in enumerate("ab")]
    return write_page(folders, parent / "page.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=[(1280, 900), (390, 800)], ids=["desktop", "phone"])
def page(request, browser, address):
    context = browser.new_context(viewport=dict(zip(("width", "height"), request.param, strict=True)))
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.set_default_timeout(10_000)
    page.wait_for_selector("body[data-ready]")
    yield page
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert page.title() == f"net0{EVIL} · net1{EVIL}"  # which the names' script would have changed
    context.close()


def cells(page, place):
    """Return the numbers of a column in the rows that are drawn."""
    values = page.eval_on_selector_all(
        ".tabulator-row", f"rows => rows.map(row => row.querySelectorAll('.tabulator-cell')[{place}].textContent)"
    )
    return [float(value) for value in values]


def test_sort_filter_brush_open_compare(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing reaches beyond the screen
    titles = page.eval_on_selector_all(".tabulator-col-title", "titles => titles.map(title => title.textContent)")
    iou = titles.index("IoU, real")
    assert "120 of 120" in page.text_content("#status")
    # A grid may hold rows and their groups alone: a focusable holder between them is a child without a role.
    assert page.locator("#table[role=grid] > [tabindex]").count() == 0

    page.evaluate("number => document.querySelectorAll('.tabulator-col')[number].click()", iou)
    page.wait_for_function("document.querySelector('.tabulator-col[aria-sort=descending]')")
    assert cells(page, iou) == sorted(cells(page, iou), reverse=True)

    field = page.locator(".tabulator-header-filter input").nth(iou)
    field.press_sequentially("> 0.8")
    page.wait_for_function("!document.getElementById('status').textContent.includes('120 of')")
    assert min(cells(page, iou)) > 0.8
    page.click("#clear")
    page.wait_for_function("document.getElementById('status').textContent.includes('120 of 120')")

    page.locator("#scatter").scroll_into_view_if_needed()
    box = page.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    page.wait_for_function("document.getElementById('status').textContent.includes('inside the box')")
    shown = int(page.text_content("#status").split()[0])
    assert 0 < shown < 120
    page.click("#clear")
    page.wait_for_function("document.getElementById('status').textContent.startsWith('120 of 120')")

    page.focus(".tabulator-row")
    page.keyboard.press("Enter")
    page.wait_for_selector("#unit h3")
    assert page.locator("#unit .strip img").count() >= 6
    assert (
        page.locator("#unit h4", has_text="net1").count() == 1
    )  # the other network's unit of this number stands below
    assert page.eval_on_selector("#unit .strip img", "image => image.naturalWidth") == 16
    assert page.locator("#comparison td").count() > 5

    page.locator(".tabulator-header-filter input").first.press_sequentially("net1")
    page.wait_for_function("document.getElementById('status').textContent.startsWith('60 of 120')")
    page.focus(".tabulator-row")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#unit h4').textContent.startsWith('net1')")  # the chosen one first
