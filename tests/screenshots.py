"""Pictures of the built book as readers see it: `python -m tests.screenshots [PAGE ...]`, to be looked at by a person.

Every page, or those named (`chapters/live`), on a desktop and on a phone, in light and dark, goes into
`_build/screenshots`: one JPEG a look, window after window from top to bottom, in columns that stand side by side.
"""

import io
import sys
import threading
from base64 import b64decode
from pathlib import Path

from PIL import Image

from webpage.serve import server

from .chromium import Chromium
from .test_live_page import Plain
from .test_site import ROOT, SITE, pages
from .test_site_pages import DESKTOP, FORMULAS, PHONE, SETTLED

FOLDER = ROOT / "_build" / "screenshots"
LOOKS = {
    f"{place}-{light}": (size, light == "dark")
    for place, size in (("desktop", DESKTOP), ("phone", PHONE))
    for light in ("light", "dark")
}
SCALE, GAP, HIGH = 0.5, 10, 4  # of a window, pixels between windows, windows in a column
DOWN = """(async () => {
    const before = scrollY;
    const bar = document.querySelector('.bd-header-article')?.offsetHeight ?? 0; // lies over what has come up to it
    scrollBy({ top: innerHeight - bar, behavior: 'instant' });
    for (const turn of [1, 2]) await new Promise(requestAnimationFrame);
    return [before, scrollY];
})()"""


def windows(browser: Chromium) -> list[Image.Image]:
    """The page that is open, as one scrolls down; the last one ends with the page."""
    seen = []
    while True:
        shot = browser.call("Page.captureScreenshot", format="jpeg", quality=90)
        picture = Image.open(io.BytesIO(b64decode(shot["data"])))
        seen.append(picture.resize((round(picture.width * SCALE), round(picture.height * SCALE))))
        before, now = browser.run(DOWN)
        if now <= before:
            return seen


def columns(seen: list[Image.Image]) -> Image.Image:
    """Windows below one another, and as many columns as it takes."""
    width, height = seen[0].width + GAP, seen[0].height + GAP
    whole = Image.new("RGB", (width * -(-len(seen) // HIGH), height * min(HIGH, len(seen))), "gray")
    for i, picture in enumerate(seen):
        whole.paste(picture, (i // HIGH * width, i % HIGH * height))
    return whole


def main(*wanted: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    running = server(0, SITE, Plain)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    for look, (size, dark) in LOOKS.items():
        with Chromium(*size, dark=dark, calm=True) as browser:
            for page in wanted or pages():
                browser.open(f"http://127.0.0.1:{running.server_port}/{page}.html")
                browser.until(SETTLED)
                browser.run(FORMULAS)
                columns(windows(browser)).save(FOLDER / f"{Path(page).name}-{look}.jpg", quality=85)
                print(look, page, flush=True)
    running.shutdown()
    running.server_close()


if __name__ == "__main__":
    main(*sys.argv[1:])
