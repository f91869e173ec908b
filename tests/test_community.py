"""What stands around the code: templates, workflows, findings, licences, links."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from . import budgets, licences

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in budgets.tracked() if path.endswith(".md"))


def test_reports_ask_for_chapter_and_cell_and_for_what_the_doctor_says():
    forms = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")}
    asked = {name: {part["id"]: part for part in form.get("body", ())} for name, form in forms.items()}
    assert {"chapter", "cell", "what", "doctor"} <= set(asked["chapter"])
    assert {"command", "what", "doctor"} <= set(asked["library"])
    for name in ("chapter", "library"):
        assert {"name", "description", "body"} <= set(forms[name])
        assert all(part["attributes"]["label"] for part in asked[name].values())
        assert asked[name]["doctor"]["validations"]["required"]


def test_the_weekly_workflow_runs_sessions_that_exist():
    workflow = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text(encoding="utf-8"))
    named = workflow["jobs"]["check"]["strategy"]["matrix"]["session"]
    source = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = re.findall(r"@nox\.session.*\ndef (\w+)\(", source)
    pythons = re.findall(r'"(3\.\d+)"', source.split("def unit")[0].rpartition("@nox.session")[2])
    assert {"newest", "newest_torch", "lowest", "types", "spelling", "dist"} <= set(sessions)
    assert set(named) <= {*sessions, *(f"unit-{python}" for python in pythons)}
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_to_a_file_leads_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!\w+:|#)<?([^)#\s>]+)", text)
    assert not [link for link in links if not ((ROOT / page).parent / link).exists()]


# ---------------------------------------------------------------- findings


@pytest.fixture
def findings(tmp_path, monkeypatch):
    """The runner, over three scripts of our own."""
    spec = importlib.util.spec_from_file_location("findings_run", ROOT / "findings" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, script in {"is": "echo seen", "was": "echo gone >&2; exit 1", "waits": "exec sleep 60"}.items():
        (tmp_path / f"{name}.sh").write_text(script)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "PATIENCE", 2.0)
    return module


def test_findings_that_are_still_there_pass_and_others_are_to_be_looked_at(findings, capsys):
    assert findings.main(["is"]) == 0
    assert findings.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and "still there" in lines[0] and lines[0].endswith("seen")
    assert "no answer" in lines[2] and "look: exit 1" in lines[3] and lines[3].endswith("gone")
    assert findings.main(["nobody"]) == 2 and "there are: is, waits, was" in capsys.readouterr().err


def test_every_finding_says_what_its_exit_status_means():
    scripts = sorted((ROOT / "findings").glob("*.sh"))
    assert len(scripts) >= 6
    for script in scripts:
        head = script.read_text(encoding="utf-8").partition("set -e")[0]
        assert "Exits with 0 while " in head, script


# ---------------------------------------------------------------- licences


def test_what_the_library_asks_for_may_be_used_by_anyone():
    rows = licences.table()
    plain = {name: licence for name, (extra, licence) in rows.items() if extra == "library"}
    assert len(plain) >= 12
    for name, licence in plain.items():
        assert set(licence.split(" or ")) & licences.PERMISSIVE, f"{name}: {licence}"


def test_nothing_that_is_asked_for_has_an_unknown_licence():
    assert not [name for name, (_, licence) in licences.table().items() if licence == "unknown"]


@pytest.mark.parametrize(
    ("said", "family"),
    [
        ({"License-Expression": "Apache-2.0"}, "Apache-2.0"),
        ({"License": "BSD-3-Clause"}, "BSD"),
        ({"License": "GNU Affero General Public License v3"}, "AGPL"),
        ({"Classifier": ["License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)"]}, "LGPL"),
        ({"License": "as you like"}, "unknown"),
    ],
)
def test_a_licence_is_read_from_wherever_a_package_names_it(said, family, monkeypatch):
    class About(dict):
        def get_all(self, name):
            return self.get(name)

    monkeypatch.setattr(licences.metadata, "metadata", lambda name: About(said))
    assert family in licences.licence_of("it").split(" or ")
