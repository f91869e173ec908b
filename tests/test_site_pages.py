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

from webpage import axe, paper
from webpage.npm import NotFetched
from webpage.serve import server

from . import chromium
from .test_live_page import Plain
from .test_site import SITE, pages

DESKTOP, PHONE, PAPER = (1280, 900), (390, 844), (680, 1000)  # the last is A4 without its margins
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

# Pictures of outputs, and what turns them, of which a part is beyond the edge of the box that they scroll in.
CUT = """Array.from(document.querySelectorAll('.cell_output :is(img, canvas, input, button, select)')).filter((one) => {
        const { right, width } = one.getBoundingClientRect();
        const box = one.closest('.output')?.getBoundingClientRect();
        return width > 1 && right > (box?.right ?? innerWidth) + 1;
    }).slice(0, 5).map((one) => one.outerHTML.slice(0, 160))"""

# Formulas in a text that are on another line than the punctuation which follows.
TORN = """Array.from(document.querySelectorAll('.bd-article-container span.math')).filter((one) => {
        if (!/^[.,:;!?)\\]]/.test(one.nextSibling?.data ?? '')) return false;
        const first = document.createRange();
        first.setStart(one.nextSibling, 0);
        first.setEnd(one.nextSibling, 1);
        return first.getBoundingClientRect().left < one.getBoundingClientRect().right - 3;
    }).slice(0, 5).map((one) => one.textContent.slice(0, 80) + one.nextSibling.data.slice(0, 20))"""

# Formulas that scroll even on a desktop, whose pages are 769 pixels wide; and hints for notebooks without scripts. (It
# is asked on a phone: after a wider window the theme takes a while to let keys scroll again.)
WIDE = """Array.from(document.querySelectorAll('.bd-article-container mjx-container[display]'))
    .filter((one) => one.scrollWidth > 769).map((one) => one.textContent.slice(0, 80))"""
HINTS = "document.querySelectorAll('.lfdm-hint').length"


def faults(browser: chromium.Chromium, rules: dict = GUIDELINES) -> list[str]:
    """What axe-core finds on the page that is open: rule, place and what is wrong."""
    return browser.run(f"axe.run(document, {json.dumps(rules | QUICK)}){FAULTS}")


class Seen(NamedTuple):
    """What was found on a page."""

    faults: dict[str, list[str]]  # by the look of the page; nothing without axe-core
    width: int  # pixels that the page scrolls over on a phone
    outside: list[str]  # elements that do not fit there
    cut: list[str]  # pictures and controls that are seen in part there
    torn: list[str]  # formulas there whose punctuation is on the next line
    wide: list[str]  # formulas that do not fit on a desktop
    hints: int  # for notebooks
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
def served() -> Iterator[str]:
    """Where the built book is served."""
    running = server(0, SITE, Plain)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def look(rules: str | None, served: str) -> Iterator[Callable[[str], Seen]]:
    """Opens a page, once, and says what was seen."""
    with chromium.Chromium(*PHONE, calm=True) as browser:

        @functools.cache
        def see(page: str) -> Seen:
            browser.problems.clear()
            browser.resize(*PHONE)
            browser.ask_for(calm=True)
            browser.open(f"{served}/{page}.html")
            browser.run(FORMULAS)
            browser.run(UNFOLD)
            browser.until(SETTLED)
            width, outside = browser.run("document.documentElement.scrollWidth"), browser.run(OUTSIDE)
            cut, torn, wide, hints = map(browser.run, (CUT, TORN, WIDE, HINTS))
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
            return Seen(found, width, outside, cut, torn, wide, hints, problems)

        yield see


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
def test_pictures_and_formulas_are_seen_as_a_whole(look, page):
    seen = look(page)
    assert not seen.cut, "on a phone a part of it is hidden:\n" + "\n".join(seen.cut)
    assert not seen.torn, "on a phone a line begins with its punctuation:\n" + "\n".join(seen.torn)
    assert not seen.wide, "wider than a desktop's page:\n" + "\n".join(seen.wide)
    assert seen.hints == 0


@of_every_page
def test_no_page_complains_to_its_console(look, page):
    assert not look(page).problems


def test_dials_that_arrive_slowly_do_not_say_that_they_cannot_be_turned(served):
    """The hint for pages without scripts goes when a dial's first picture is there, even before the hint itself is."""
    with chromium.Chromium(*DESKTOP) as browser:
        browser.call("Network.emulateNetworkConditions", offline=False, latency=0, uploadThroughput=-1,
                     downloadThroughput=1_000_000)  # fmt: skip
        browser.open(f"{served}/chapters/09_latent_flow_diffusion.html")
        assert browser.run("document.querySelectorAll('.lfdm-dial').length")
        assert not browser.run("document.querySelectorAll('.lfdm-hint').length")


BEYOND = """Array.from(document.querySelectorAll('section.page *')).filter((one) => {
        const { right, width, height } = one.getBoundingClientRect();
        return width > 1 && height > 1 && right > innerWidth + 1 && !one.closest('mjx-assistive-mml, .card-words');
    }).slice(0, 5).map((one) => one.outerHTML.slice(0, 160))"""
ON_PAPER = ["index", "01_video_as_motion", "05_autoencoder", "10_few_steps", "instructors/plans", "notation", "ledger"]


def test_on_paper_nothing_is_cut_off(served):
    """The pages that are widest, as they are printed: no box scrolls there."""
    whole = SITE / "on_paper.html"
    whole.write_text(paper.gather(SITE, [f"chapters/{page}" for page in ON_PAPER]), encoding="utf-8")
    try:
        with chromium.Chromium(*PAPER) as browser:
            browser.call("Emulation.setEmulatedMedia", media="print")
            browser.open(f"{served}/{whole.name}")
            browser.run(FORMULAS)
            assert not (wide := browser.run(BEYOND)), "\n".join(wide)
    finally:
        whole.unlink()


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


def test_what_is_cut_torn_or_too_wide_is_noticed():
    page = """<div class="bd-article-container"><div class="cell_output"><div class="output" style="overflow: auto">
        <input type="range" style="width: 3000px"></div></div>
        <p><span class="math" style="display: inline-block; width: 100%">x</span>. So it is.
        <span class="math">y</span>. So it is.</p>
        <mjx-container display="true" style="display: block; overflow: auto"><div style="width: 3000px">z</div>
        </mjx-container></div>"""
    with chromium.Chromium(*DESKTOP) as browser:
        browser.open("about:blank")
        browser.run(f"document.write({json.dumps(page)}); document.close(); 0")
        assert ["range" in one for one in browser.run(CUT)] == [True]
        assert [one[:3] for one in browser.run(TORN)] == ["x. "]
        assert [one.strip() for one in browser.run(WIDE)] == ["z"]
