"""The first page of the built book in a real browser: the cover, and the map that is a way in; films that can stop."""

import threading
from collections.abc import Sequence

import pytest

from webpage.serve import server

from . import chromium
from .test_live_page import Plain
from .test_site import SITE
from .test_site_pages import PHONE

pytestmark = [
    pytest.mark.site,
    pytest.mark.skipif(not SITE.exists(), reason="the book is not built: make book"),
    pytest.mark.skipif(chromium.find() is None, reason="chromium is missing: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def front():
    """Its address."""
    running = server(0, SITE, Plain)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/chapters/index.html"
    running.shutdown()
    running.server_close()


def test_the_cover_moves_and_can_be_stopped_and_rests_for_who_wants_less_motion(front):
    frame = "document.querySelector('#cover input').value"
    with chromium.Chromium() as page:
        page.open(front)
        page.until("document.querySelector('#cover').player?.timer")
        before = page.run(frame)
        page.until(f"{frame} !== '{before}'")
        page.click("#cover button")
        assert page.run("document.querySelector('#cover').player.timer") is None
        assert page.run("document.querySelector('#cover button').textContent") == "Play"
        page.ask_for(calm=True)
        page.open(front)
        page.until("document.querySelector('#cover').player")
        assert page.run("document.querySelector('#cover').player.timer") is None
        assert int(page.run(frame)) > 0, "a frame in which something has happened"


def test_the_map_is_walked_by_keyboard(front):
    with chromium.Chromium() as page:
        page.open(front)
        page.run("document.querySelector('.book-map').focus()")
        reached = []
        for _ in range(3):
            page.press("Tab", 9)
            reached.append(page.run("document.activeElement.textContent.trim()"))
        assert reached == ["00 tour", "01 motion", "02 estimation"]
        thick = "getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth"
        assert page.run(thick) == "3px", "one sees where one is"
        page.press("Enter", 13)
        page.until("location.pathname.endsWith('/02_flow_estimation.html')")


def test_a_figure_that_is_small_on_a_phone_opens_alone(front):
    with chromium.Chromium(*PHONE) as page:
        page.open(front.replace("index", "02_flow_estimation"))
        page.until("document.querySelector('a.book-whole > img')")
        page.click("a.book-whole")
        page.until("location.pathname.endsWith('.png')")


def test_colours_in_formulas_are_legible_on_a_dark_page(front):
    """axe-core is not shown formulas. The guidelines ask for a contrast of 4.5."""
    with chromium.Chromium(dark=True) as page:
        page.open(front.replace("index", "06_ddpm"))
        page.until("document.querySelector('mjx-container [style*=color]')")
        ink, ground = page.run("""[[document.querySelector('mjx-container [style*=color]'), 'color'],
            [document.documentElement, 'backgroundColor']].map(
            ([one, which]) => getComputedStyle(one)[which].match(/\\d+/g).slice(0, 3).map(Number))""")
        assert contrast(ink, ground) > 4.5 > contrast((179, 89, 0), ground)


def contrast(one: Sequence[int], other: Sequence[int]) -> float:
    """Of two colours in sRGB, 0 to 255, by the formula of WCAG 2.2 to two digits: 1 to 21."""
    light = [[(v / 269 + 0.052) ** 2.4 if v > 10 else v / 3295 for v in rgb] for rgb in (one, other)]
    dark, bright = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in light)
    return (bright + 0.05) / (dark + 0.05)


def test_films_of_the_tour_can_be_stopped_and_stand_for_who_wants_less_motion(front):
    button = "document.querySelector('.book-films')"
    moving = "document.querySelectorAll('img[src^=\"data:image/gif\"]').length"
    with chromium.Chromium() as page:
        page.open(front.replace("index", "00_tour"))
        page.until(button)
        films = page.run(moving)
        assert films > 0 and page.run(f"{button}.textContent") == "Pause"
        page.click(".book-films")
        assert page.run(moving) == 0 and page.run(f"{button}.textContent") == "Play"
        page.click(".book-films")
        assert page.run(moving) == films
        page.ask_for(calm=True)
        page.open(front.replace("index", "00_tour"))
        page.until(button)
        assert page.run(moving) == 0 and page.run(f"{button}.textContent") == "Play"
