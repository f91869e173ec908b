"""What the site is made of, before it is built: cards, archives from npm, the one page that is printed.

And that nobody takes a site for checked of which a part was not looked at.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

from webpage import axe, cards, npm, paper, runtime

from .chromium import Chromium
from .test_site import ROOT, pages

CHAPTERS = ROOT / "chapters"


def listed() -> list[cards.Card]:
    body = re.search(r"```\{chapter-cards\}\n(.*?)```", (CHAPTERS / "index.md").read_text(encoding="utf-8"), re.DOTALL)
    return [cards.read(CHAPTERS, line) for line in body[1].splitlines()]


def test_every_page_of_the_road_has_a_card_in_its_order():
    road = [page.removeprefix("chapters/") for page in pages()]
    assert [card.page for card in listed()] == road[road.index("00_tour") : road.index("launching")]


def test_cards_of_chapters_say_goals_minutes_and_difficulty_and_others_do_not():
    for card in listed():
        if card.page[:2].isdigit():
            assert len(card.goals) >= 4 and 0 < card.minutes <= card.minutes_all and card.seconds > 0, card.page
            assert f"difficulty {card.difficulty} of 3" in card.html()
            assert all(goal.split()[0] in card.html() for goal in card.goals)
        else:
            assert (card.goals, card.difficulty) == ((), 0), card.page
            assert "minutes" not in card.html()


@pytest.mark.parametrize(
    "line, said",
    [
        ("00_tour", "expected `page"),
        ("00_tour | 4 | too hard", "difficulty from 1 to 3"),
        ("00_tour | -1 | too easy", "difficulty from 1 to 3"),
        ("99_nowhere | 1 | no such page", "99_nowhere"),
    ],
)
def test_a_card_that_says_nothing_is_refused(line, said):
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(said)):
        cards.read(CHAPTERS, line)


def test_a_card_takes_no_markup_from_what_it_is_told():
    assert "<b>" not in cards.Card("a", "<b>x</b>", 1, "<b>y</b>", ("<b>z</b>",)).html()


@pytest.mark.parametrize("archive", [axe.ARCHIVE, runtime.ARCHIVE], ids=lambda one: one.package)
def test_another_archive_than_the_known_one_is_refused(archive, tmp_path, monkeypatch):
    other = tmp_path / archive.name
    other.write_bytes(b"something else")
    monkeypatch.setenv(archive.variable, str(other))
    with pytest.raises(npm.NotFetched, match="by its checksum"):
        archive.content()


def test_what_a_registry_sends_is_kept_if_it_is_right_and_else_not(tmp_path, monkeypatch):
    content = b"an archive"
    right = npm.Archive("some", "1.0", hashlib.sha256(content).hexdigest(), len(content), "LFDM_SOME")
    monkeypatch.setattr(npm, "user_cache", lambda: tmp_path)
    monkeypatch.setattr(npm.Archive, "download", lambda self: content)
    assert right.content() == content == (tmp_path / "some-1.0.tgz").read_bytes()
    monkeypatch.setattr(npm.Archive, "download", lambda self: pytest.fail("it is there already"))
    assert right.content() == content


def test_a_registry_that_is_not_safe_is_not_asked(monkeypatch):
    monkeypatch.setattr(npm, "registry", lambda: "http://localhost:1/")
    monkeypatch.setattr(npm.shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(npm.NotFetched, match="no https://"):
        axe.ARCHIVE.download()
    monkeypatch.setattr(npm.shutil, "which", lambda name: None)
    with pytest.raises(npm.NotFetched, match="LFDM_AXE"):
        axe.ARCHIVE.download()


# ---------------------------------------------------------------- paper


@pytest.fixture
def site(tmp_path):
    """Two pages that point to themselves, to each other, to a picture and to elsewhere."""
    head = '<head><link href="../_static/a.css" rel="stylesheet" /><script src="../_static/mathjax.js"></script></head>'
    for page, other in (("one", "two"), ("two", "one")):
        (tmp_path / "book").mkdir(exist_ok=True)
        (tmp_path / "book" / f"{page}.html").write_text(
            f"""<html>{head}<body><article class="bd-article"><h1 id="top">{page}</h1><img src="../_images/p.png">
            <a href="#top">here</a><a href="{other}.html#top">there</a><a href="{other}.html">whole</a>
            <a href="https://example.org/#top">far</a><code>id=&quot;top&quot;</code>
            <script type="module" src="x.mjs"></script></article></body></html>"""
        )
    return tmp_path


def test_on_paper_links_lead_to_the_same_place_and_no_two_ids_are_alike(site):
    text = paper.gather(site, ["book/one", "book/two"])
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert sorted(ids) == ["book-one", "book-one-top", "book-two", "book-two-top"]
    links = re.findall(r'<a href="([^"]+)"', text)
    assert {link[1:] for link in links if link.startswith("#")} == set(ids)
    assert "https://example.org/#top" in links
    assert 'src="_images/p.png"' in text and ".mjs" not in text
    assert text.count("_static/a.css") == text.count("_static/mathjax.js") == 1
    assert "id=&quot;top&quot;" in text, "code stays as it is"

@pytest.mark.parametrize(("said", "goes_on"), [("Inspected target navigated or closed", True), ("no such page", False)])
def test_a_page_that_leaves_while_it_is_asked_is_waited_for(said, goes_on, monkeypatch):
    browser, answers = object.__new__(Chromium), iter([RuntimeError(said), False, True])

    def run(_):
        answer = next(answers)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    monkeypatch.setattr(browser, "run", run, raising=False)
    if goes_on:
        browser.until("the next page is there")
        assert not list(answers), "asked until it was true"
    else:
        with pytest.raises(RuntimeError, match=said):
            browser.until("the next page is there")



def test_without_a_browser_it_is_said_what_is_missing(site, monkeypatch):
    monkeypatch.setattr(paper.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="chromium"):
        paper.write(site / "book.pdf", site, ["book/one"])


# ---------------------------------------------------------------- what nobody looked at

LOOKS = """
    import pytest

    @pytest.mark.site
    @pytest.mark.skipif(True, reason="chromium is missing")
    def test_a_page():
        pass

    @pytest.mark.site
    def test_another():
        pytest.skip("axe-core could not be fetched")

    @pytest.mark.skipif(True, reason="no site")
    def test_else():
        pass
"""


@pytest.mark.parametrize("in_ci, workers", [("true", "1"), ("", "0")])
def test_in_ci_nothing_of_the_site_is_skipped_and_elsewhere_it_is_said_aloud(tmp_path, in_ci, workers):
    for name in ("pyproject.toml", "tests/conftest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tests" / "test_looks.py").write_text(textwrap.dedent(LOOKS))
    command = [sys.executable, "-m", "pytest", "-n", workers, "tests"]
    environment = os.environ | {"CI": in_ci, "COLUMNS": "120"}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    if in_ci:
        assert ran.returncode == 1 and re.search(r"1 failed, 1 skipped.*, 1 error in", ran.stdout), ran.stdout
        assert "Not skipped, for CI=true: Skipped: axe-core could not be fetched" in ran.stdout
    else:
        assert ran.returncode == 0 and "3 skipped" in ran.stdout, ran.stdout
        loud = ran.stdout.partition("THE SITE IS NOT FULLY CHECKED: 2 skipped")[2]
        assert "chromium is missing" in loud and "axe-core could not be fetched" in loud and "no site" not in loud
