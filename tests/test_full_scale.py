"""`launch/full_scale.sh`: what it asks for, in which order, and that the same line goes on where it stopped."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "launch" / "full_scale.sh"
# Stands in for `lfdm`: notes its words, and leaves what the real one leaves. STOP: the stage that is stopped in time.
LFDM = """
echo "$@" >> "$NOTED"
out=; previous=
for word in "$@"; do [[ $previous == --out ]] && out=$word; previous=$word; done
case $1 in
    train) mkdir -p "$out"; touch "$out/recipe.json"; [[ $2 == "$STOP" ]] || touch "$out/model.safetensors" ;;
    *) touch "$out" ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    """Runs the script, and gives what it asked `lfdm` for this time, line by line."""
    noted, stand_in = tmp_path / "noted", tmp_path / "lfdm.sh"
    stand_in.write_text(LFDM)

    def start(*words: str, **environment: str) -> list[str]:
        noted.write_text("")
        known = os.environ | {"LFDM": f"bash {stand_in}", "NOTED": str(noted), "STOP": ""} | environment
        known = {name: value for name, value in known.items() if name not in {"DATA", "VGG", "INIT"} - set(environment)}
        subprocess.run(["bash", SCRIPT, *words], cwd=tmp_path, env=known, check=True, capture_output=True)
        return noted.read_text().splitlines()

    return start


def test_from_an_empty_folder_to_figures(run):
    asked = run("faces128cpu", "r")
    assert [line.split()[0] for line in asked] == ["plan", "train", "train", "train", "train", "evaluate"]
    assert [line.split()[1] for line in asked[1:5]] == ["autoencoder", "judge", "judge", "diffusion"]
    assert "--data.acting.heads shuffled" in asked[3] and "--autoencoder r/ae" in asked[4]
    assert asked[5] == "evaluate r/dm --judge r/judge --out r/metrics.json"
    assert run("faces128cpu", "r") == [], "what is finished is not done again"


def test_weights_to_begin_with_are_for_both_stages_and_not_for_judges(run):
    asked = run("faces128cpu", "r", "--no-progress", INIT="some_model")
    assert ["--init some_model" in line for line in asked] == [False, True, False, False, True, False]
    assert ["--no-progress" in line for line in asked] == [False, True, True, True, True, False]


def test_the_same_line_again_resumes_what_was_stopped_in_time(run):
    asked = run("faces128cpu", "r", "--max-hours", "1", STOP="autoencoder")
    assert [line.split()[:2] for line in asked] == [["plan", "faces128cpu"], ["train", "autoencoder"]]
    again = run("faces128cpu", "r", "--max-hours", "1")
    assert again[0].startswith("train autoencoder") and "--resume" in again[0] and len(again) == 5
    assert not any("--resume" in line for line in again[1:])
