"""The built book: every page of the table of contents is there, and every picture a page shows.

`make book` builds it first; without a build there is nothing to look at.
"""

import functools
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"

pytestmark = [
    pytest.mark.site,
    pytest.mark.skipif(not SITE.exists(), reason="the book is not built: make book"),
]


def pages() -> list[str]:
    """Every page that the table of contents names, the root first."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *(chapter["file"] for chapter in chapters)]


@pytest.mark.parametrize("page", pages())
def test_every_page_of_the_contents_is_built(page):
    html = (SITE / f"{page}.html").read_text(encoding="utf-8")
    assert "<h1" in html
    assert "</html>" in html


@pytest.mark.parametrize("page", pages())
def test_every_picture_of_a_page_exists_and_is_described(page):
    file = SITE / f"{page}.html"
    images = re.findall(r"<img\s[^>]*>", file.read_text(encoding="utf-8"))
    for image in images:
        source = re.search(r'src="([^"]*)"', image)
        assert source, image
        if not source[1].startswith(("data:", "http:", "https:")):
            assert (file.parent / unquote(source[1])).exists(), f"{page}: {source[1]} is missing"
        alt = re.search(r'alt="([^"]*)"', image)
        assert alt and alt[1].strip(), f"{page}: no alternative text: {image[:120]}"


@pytest.mark.parametrize("page", pages())
def test_a_page_needs_no_network(page):
    """Scripts and style sheets lie beside the page, MathJax among them: formulas show offline too."""
    file = SITE / f"{page}.html"
    html = file.read_text(encoding="utf-8")
    scripts = re.findall(r'<script[^>]*\ssrc="([^"]*)"', html)
    sheets = [tag for tag in re.findall(r"<link\s[^>]*>", html) if 'rel="stylesheet"' in tag]
    for source in scripts + [re.search(r'href="([^"]*)"', sheet)[1] for sheet in sheets]:
        assert (file.parent / source.split("?")[0]).is_file(), f"{page}: {source} is not beside it"
    assert 'class="math' not in html or any("mathjax" in source for source in scripts)


@pytest.mark.parametrize("page", pages())
def test_no_citation_or_reference_is_left_unresolved(page):
    html = (SITE / f"{page}.html").read_text(encoding="utf-8")
    assert "{cite" not in html
    assert "{doc}" not in html


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """What links may lead to on a page, which many others link to."""
    return frozenset(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", pages())
def test_every_internal_link_arrives(page):
    file = SITE / f"{page}.html"
    html = file.read_text(encoding="utf-8")
    for link in set(re.findall(r'<a\s[^>]*?href="([^"]*)"', html)):
        if re.match(r"[a-z]+:|//", link):
            continue
        target, _, anchor = unquote(unescape(link)).partition("#")
        there = (file.parent / target).resolve() if target else file
        assert there.exists(), f"{page} links to {link}, which is not there"
        if anchor and there.suffix == ".html":
            assert anchor in anchors(there.resolve()), f"{page} links to {link}: no such place"


def test_the_front_page_leads_into_the_book():
    assert "chapters/index.html" in (SITE / "index.html").read_text(encoding="utf-8")
