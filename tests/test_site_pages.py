"""Every page of the built book in a real browser: nobody is kept out, in light and dark, and it fits a phone.

A page is opened once, on a phone. Then axe-core looks for what breaks the guidelines for accessible pages (WCAG 2.2,
levels A and AA), with everything unfolded, there and as the window grows to that of a desktop, which is the order in
which the browser has the least to lay out anew.
"""

import functools
import json
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from webpage import axe
from webpage.npm import NotFetched
from webpage.serve import server

from . import chromium
from .test_live_page import Plain
from .test_site import SITE, pages

DESKTOP, PHONE = (1280, 900), (390, 844)
LOOKS = {"on a phone": (False, PHONE), "light": (False, DESKTOP), "dark": (True, DESKTOP)}
GUIDELINES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
COLOURS = ["color-contrast", "link-in-text-block"]
RULES = {  # a dark page differs in its colours alone, and a narrow one has those of the wide one
    "light": GUIDELINES,
    "dark": {"runOnly": [*COLOURS, "image-alt", "role-img-alt", "svg-img-alt"]},
    "on a phone": GUIDELINES | {"rules": {name: {"enabled": False} for name in COLOURS}},
}
QUICK = {"resultTypes": ["violations"], "preload": False}

of_every_page = pytest.mark.parametrize("page", pages())  # all tests of a page in one process, see conftest.py

pytestmark = [
    pytest.mark.site,
    pytest.mark.skipif(not SITE.exists(), reason="the book is not built: make book"),
    pytest.mark.skipif(chromium.find() is None, reason="chromium is missing: apt-get install chromium"),
]

# Formulas are set, what the page loads later is there, nothing fades any more.
SETTLED = """(document.querySelector('#live') === null || document.querySelector('#live :is(form, img)'))
    && (document.querySelector('#points') === null || document.querySelector('#points').page?.made)
    && (document.querySelector('#cover') === null || document.querySelector('#cover').player)
    && (document.querySelector('.math') === null || document.querySelector('mjx-container'))
    && document.getAnimations().every((one) => one.playState !== 'running')"""
FORMULAS = "Promise.resolve(window.MathJax?.startup?.promise).then(() => 0)"

# What is folded counts too.
UNFOLD = """for (const one of document.querySelectorAll('details')) one.open = true;
    for (const one of document.querySelectorAll('.toggle-hidden')) one.classList.remove('toggle-hidden'); 0"""

# What is alike is looked at once: of words of code three of each kind and ground, of a formula what is read out. The
# megabytes that pictures hold are left out: axe-core would write them out at every step.
THIN = """{
    const seen = new Map();
    for (const word of document.querySelectorAll('.highlight span[class]')) {
        const ground = word.closest('.cell_input, .cell_output, .highlight').className;
        const kind = `${word.className} on ${ground}`, count = (seen.get(kind) ?? 0) + 1;
        seen.set(kind, count);
        if (count > 3) word.replaceWith(...word.childNodes);
    }
    for (const formula of document.querySelectorAll('mjx-math')) formula.remove();
    for (const block of document.querySelectorAll('.highlight pre')) block.normalize();
    for (const picture of document.querySelectorAll('img[src^="data:"]')) {
        const { width, height } = picture.getBoundingClientRect();
        Object.assign(picture.style, { width: `${width}px`, height: `${height}px` });
        picture.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=';
    }
    for (const film of document.querySelectorAll('[style*="url(data:"]')) film.style.background = 'white';
}"""

FAULTS = """.then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(
    ({ target, failureSummary, html }) =>
        `${id} at ${target.flat().join(' ')} (${html.slice(0, 100)}): ${failureSummary.replace(/\\s+/g, ' ')}`)))"""

# What reaches beyond the edges of the window and is in no box that scrolls. Words for screen readers do not count.
OUTSIDE = """Array.from(document.querySelectorAll('.bd-article-container *, body > table')).filter((one) => {
        const { left, right, width, height } = one.getBoundingClientRect();
        if (width < 2 || height < 2 || (right <= innerWidth + 1 && left >= -1)) return false;
        for (let up = one.parentElement; up !== document.body; up = up.parentElement)
            if (['auto', 'scroll'].includes(getComputedStyle(up).overflowX) || up.offsetWidth < 2) return false;
        return !one.closest('mjx-assistive-mml');
    }).slice(0, 5).map((one) => one.outerHTML.slice(0, 160))"""


def faults(browser: chromium.Chromium, rules: dict = GUIDELINES) -> list[str]:
    """What axe-core finds on the page that is open: rule, place and what is wrong."""
    return browser.run(f"axe.run(document, {json.dumps(rules | QUICK)}){FAULTS}")


class Seen(NamedTuple):
    """What was found on a page."""

    faults: dict[str, list[str]]  # by the look of the page; nothing without axe-core
    width: int  # pixels that the page scrolls over on a phone
    outside: list[str]  # elements that do not fit there
    problems: list[str]  # what the console said


@pytest.fixture(scope="module")
def rules() -> str | None:
    """axe-core, if it can be had."""
    try:
        return axe.script()
    except NotFetched as problem:
        print(f"\nACCESSIBILITY IS NOT CHECKED: {problem}", file=sys.__stderr__)
        return None


@pytest.fixture(scope="module")
def look(rules: str | None) -> Iterator[Callable[[str], Seen]]:
    """Opens a page, once, and says what was seen."""
    running = server(0, SITE, Plain)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    with chromium.Chromium(*PHONE, calm=True) as browser:

        @functools.cache
        def see(page: str) -> Seen:
            browser.problems.clear()
            browser.resize(*PHONE)
            browser.ask_for(calm=True)
            browser.open(f"http://127.0.0.1:{running.server_port}/{page}.html")
            browser.run(FORMULAS)
            browser.run(UNFOLD)
            browser.until(SETTLED)
            width, outside = browser.run("document.documentElement.scrollWidth"), browser.run(OUTSIDE)
            found = {}
            if rules:
                browser.run(THIN)
                browser.run(f"{rules};0")
                for name, (dark, size) in LOOKS.items():
                    browser.resize(*size)
                    browser.ask_for(dark=dark, calm=True)
                    browser.until(f"document.documentElement.dataset.theme === '{'dark' if dark else 'light'}'")
                    browser.until(SETTLED)
                    found[name] = faults(browser, RULES[name])
            problems = [said for said in browser.problems if "No available adapters" not in said]
            return Seen(found, width, outside, problems)

        yield see
    running.shutdown()
    running.server_close()


@of_every_page
def test_no_page_keeps_anybody_out(look, rules, page):
    if rules is None:
        pytest.skip("axe-core could not be fetched, so accessibility is not checked")
    found = [f"{name}: {fault}" for name, some in look(page).faults.items() for fault in some]
    assert not found, f"{len(found)} faults\n" + "\n".join(found[:20])


@of_every_page
def test_no_page_scrolls_sideways_on_a_phone(look, page):
    seen = look(page)
    assert not seen.outside, "\n".join(seen.outside)
    assert seen.width <= PHONE[0]


@of_every_page
def test_no_page_complains_to_its_console(look, page):
    assert not look(page).problems


def test_a_page_that_keeps_people_out_is_noticed(rules):
    """The check itself: pale letters, a picture and a field without a name, a table that is too wide for a phone."""
    if rules is None:
        pytest.skip("axe-core could not be fetched, so accessibility is not checked")
    page = """<html lang="en"><title>bad</title><h1>bad</h1><p style="color: #bbb; background: #fff">pale</p>
        <img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><input>
        <table style="width: 3000px"><tr><td>wide</td></tr></table></html>"""
    with chromium.Chromium(*PHONE) as browser:
        browser.open("about:blank")
        browser.run(f"document.write({json.dumps(page)}); document.close(); 0")
        browser.run(f"{rules};0")
        found = {fault.partition(" at ")[0] for fault in faults(browser)}
        assert {"color-contrast", "image-alt", "label"} <= found, found
        assert any(one.startswith("<table") for one in browser.run(OUTSIDE))
