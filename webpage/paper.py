"""`make pdf`: the built book as one PDF, `_build/book.pdf`, printed by Chromium or Chrome.

The articles of all pages go into one page, each with a name of its own before its ids, so that links from chapter to
chapter lead to a place in the same file. What is folded on the site is open on paper.
"""

import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from . import ROOT
from .serve import SITE

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 1800  # seconds for the print, on a busy machine
FORMULAS = 600_000  # milliseconds of the page's own clock until formulas are set; it does not wait for them in vain
NAMING = r'(\s(?:id|for|aria-labelledby|aria-describedby))="([^"]+)"'

STYLE = """
@page { size: A4; margin: 16mm 15mm; }
html { font-size: 11px; }
body { background: white; display: block; }
:is(.bd-main, .bd-content, .bd-content > div) { display: block !important; max-width: none; width: auto; }
section.page { break-before: page; }
section.page:first-of-type { break-before: auto; }
section.page h1 { display: block !important; }
section.page figcaption { color: black !important; }
"""
OPEN = "for (const one of document.querySelectorAll('details')) one.open = true;"


def pages() -> list[str]:
    """Every page of the table of contents, the root first."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def name(page: str) -> str:
    """What stands before the ids of a page."""
    return page.replace("/", "-")


def article(site: Path, page: str, among: Sequence[str]) -> str:
    """The text of a page, for the top folder of the site: ids are its own, links and pictures lead where they led."""
    html = (site / f"{page}.html").read_text(encoding="utf-8")
    text = re.search(r'<article class="bd-article">(.*)</article>', html, flags=re.DOTALL)[1]
    text = re.sub(r"<script\b[^>]*type=\"module\".*?</script>", "", text, flags=re.DOTALL)
    text = re.sub(NAMING, lambda found: f'{found[1]}="{name(page)}-{found[2]}"', text)
    text = re.sub(r"url\(#([\w-]+)\)", lambda found: f"url(#{name(page)}-{found[1]})", text)
    text = re.sub(r'(\s(?:href|src))="([^"]*)"', lambda found: f'{found[1]}="{moved(found[2], page, among)}"', text)
    return f'<section class="page bd-article" id="{name(page)}">{text}</section>'


def moved(link: str, page: str, among: Sequence[str]) -> str:
    """Where a link of a page leads from the top folder, or within the one page that all are in."""
    if re.match(r"[a-z]+:|//", link):
        return link
    path, _, place = link.partition("#")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else f"{page}.html"
    target = there.removesuffix(".html")
    if there.endswith(".html") and target in among:
        return f"#{name(target)}-{place}" if place else f"#{name(target)}"
    return f"{there}#{place}" if place else there


def head(site: Path, among: Sequence[str]) -> Iterator[str]:
    """Style sheets, and what sets formulas."""
    seen = set()
    for page in among:
        html = (site / f"{page}.html").read_text(encoding="utf-8")
        start = html.partition("</head>")[0]
        tags = re.findall(r"<link\b[^>]*rel=\"stylesheet\"[^>]*>|<script\b[^>]*>.*?</script>", start, flags=re.DOTALL)
        for tag in tags:
            if "stylesheet" in tag or "mathjax" in tag.lower():
                tag = re.sub(r'(href|src)="([^"]*)"', lambda at, page=page: f'{at[1]}="{moved(at[2], page, ())}"', tag)
                if tag not in seen:
                    seen.add(tag)
                    yield tag


def gather(site: Path, among: Sequence[str]) -> str:
    """All pages as one."""
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">',
            "<title>Latent Flow Diffusion from Scratch</title>",
            *head(site, among),
            f"<style>{STYLE}</style></head>",
            '<body><main class="bd-main"><div class="bd-content"><div>',
            *(article(site, page, among) for page in among),
            f"</div></div></main><script>{OPEN}</script></body></html>",
        ]
    )


def write(place: Path, site: Path = SITE, among: Sequence[str] | None = None) -> int:
    """Print pages, all unless named, into a file; how many sheets it has.

    Raises:
        FileNotFoundError: the book is not built, or there is no browser.
        RuntimeError: the browser wrote nothing.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise FileNotFoundError("chromium is missing: apt-get install chromium")
    whole = site / "whole_book.html"
    whole.write_text(gather(site, among or pages()), encoding="utf-8")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
        options += ["--allow-file-access-from-files", "--no-pdf-header-footer", "--generate-pdf-document-outline"]
        options += [f"--virtual-time-budget={FORMULAS}", f"--print-to-pdf={place.resolve()}", whole.resolve().as_uri()]
        said = subprocess.run([browser, *options], capture_output=True, text=True, timeout=PATIENCE)
    whole.unlink()
    if not place.is_file():
        raise RuntimeError(f"{os.path.basename(browser)} wrote no {place.name}: {said.stderr[-2000:]}")
    return len(re.findall(rb"/Type\s*/Page\b", place.read_bytes()))


def main() -> int:
    place = ROOT / "_build" / "book.pdf"
    try:
        sheets = write(place)
    except (FileNotFoundError, RuntimeError) as problem:
        print(f"no PDF: {problem}", file=sys.stderr)
        return 1
    print(f"{place.relative_to(ROOT)}: {sheets} pages, {place.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
