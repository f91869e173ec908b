"""What the site needs beside its pages: the model and the runtime of the live page, and a server for trying it."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "_build" / "live"  # what `make site-assets` makes
MADE = "made_of.json"  # in each folder of it: the key of what that was made of
