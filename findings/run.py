"""Run the findings one after the other and print what became of them: `python findings/run.py [NAME ...]`.

Exit status 0 if every surprise is still there; 1 if one is gone or could not be looked at.
"""

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE = 1800.0  # seconds for one script, whose environment is installed first


def run(script: Path) -> tuple[str, str]:
    """What became of one, and the last line that it printed."""
    try:
        done = subprocess.run(["bash", str(script)], capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "no answer", f"after {PATIENCE / 60:.0f} minutes"
    lines = [line for line in (done.stdout if done.returncode == 0 else done.stdout + done.stderr).splitlines() if line]
    return "still there" if done.returncode == 0 else f"look: exit {done.returncode}", lines[-1] if lines else ""


def main(names: list[str]) -> int:
    scripts = [script for script in sorted(HERE.glob("*.sh")) if not names or script.stem in names]
    if unknown := set(names) - {script.stem for script in scripts}:
        known = ", ".join(script.stem for script in sorted(HERE.glob("*.sh")))
        print(f"no finding is called {', '.join(sorted(unknown))}; there are: {known}", file=sys.stderr)
        return 2
    results = []
    for script in scripts:
        began = time.monotonic()
        became, last = run(script)
        results.append(became)
        print(f"{script.stem:34} {became:14} {time.monotonic() - began:5.0f} s  {last[:100]}", flush=True)
    return int(any(result != "still there" for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
