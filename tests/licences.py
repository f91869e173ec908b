"""Under which licences the packages are that this one asks for: `python -m tests.licences` prints them."""

import re
from importlib import metadata

from lfdm_lite.files.machine.packages import packages

# By words of a licence's name, text or classifiers; the first that is found counts.
FAMILIES = {
    "AGPL": r"affero|agpl",
    "LGPL": r"lesser general public|lgpl",
    "GPL": r"general public|\bgpl",
    "MPL-2.0": r"mozilla public|mpl",
    "Apache-2.0": r"apache",
    "BSD": r"\bbsd\b|redistribution and use in source and binary forms",
    "MIT": r"\bmit\b|\bmit-cmu\b|hpnd|historical permission|permission is hereby granted, free of charge",
    "PSF": r"python software foundation|\bpsf",
    "Unlicense": r"unlicense|public domain",
}
PERMISSIVE = {"MPL-2.0", "Apache-2.0", "BSD", "MIT", "PSF", "Unlicense"}


def licence_of(name: str) -> str:
    """The families that a package names; "unknown" if it names none.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    about = metadata.metadata(name)
    classifiers = [line for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    for said in (about.get("License-Expression"), " ".join(classifiers), about.get("License")):
        if found := [family for family, words in FAMILIES.items() if re.search(words, (said or "").lower())]:
            return " or ".join(found)
    return "unknown"


def table() -> dict[str, tuple[str, str]]:
    """Of each requirement that is installed: the extra that asks for it first, and its licence."""
    rows: dict[str, tuple[str, str]] = {}
    for extra, members in packages().items():
        for package in members:
            if package.installed is not None:
                rows.setdefault(package.name, (extra or "library", licence_of(package.name)))
    return rows


def main() -> None:
    """Print the table; wheels of PyAV, torch and OpenCV bring libraries of others, whose licences they carry."""
    for name, (extra, licence) in table().items():
        print(f"{name:26} {extra:8} {licence}")


if __name__ == "__main__":
    main()
