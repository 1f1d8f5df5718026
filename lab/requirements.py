"""Compiles requirements*.in to the pins; ``--check`` says whether the pins are what that would give.

Pins that still fit are kept. Without a network ``--check`` looks only at what can be seen without one: that
everything asked for is pinned within its limits.

Each pin has the hashes of every file of its release, and nothing is installed without. They are read from the
index itself: of further indexes and folders of wheels, which have only some of the files, the pins would
refuse what other systems and Pythons install.
"""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from lab import bootstrap

FOLDER = bootstrap.LAB / "requirements"
NAMES = ("requirements", "requirements-dev")
OPTIONS = (
    *("--universal", "--python-version", "3.11", "--quiet", "--generate-hashes"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
)
SOME_FILES = ("UV_INDEX", "UV_FIND_LINKS")
NO_NETWORK = ("Could not connect", "Failed to fetch", "error sending request", "dns error", "timed out")


class StaleError(Exception):
    """The pins cannot be compiled, or are not current; the message says why."""


def main() -> int:
    """Compile, or with ``--check`` compare; gives the exit status."""
    try:
        if sys.argv[1:] == ["--check"]:
            check()
        else:
            compile_to(bootstrap.PROJECT)
    except StaleError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def check() -> None:
    """Raise StaleError when the pins are not what compiling them again gives."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name in NAMES:
        shutil.copy(bootstrap.PROJECT / f"{name}.in", FOLDER)
        shutil.copy(bootstrap.PROJECT / f"{name}.txt", FOLDER)
    try:
        compile_to(FOLDER)
    except StaleError as error:
        if not any(words in str(error) for words in NO_NETWORK):
            raise
        print("requirements: no package index can be reached, so only their limits are checked")
    _compare()
    print("requirements: current")


def compile_to(folder: Path) -> None:
    """Compile the folder's requirements*.in; pins that are there and still fit are kept."""
    settings = bootstrap.index_settings() or {}
    whole = {name: value for name, value in settings.items() if name not in SOME_FILES}
    environment = bootstrap.uv_environment(whole)
    for name in NAMES:
        argv = [
            str(bootstrap.VENV / "bin" / "uv"),
            "pip",
            "compile",
            *OPTIONS,
            f"{name}.in",
            "-o",
            f"{name}.txt",
        ]
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StaleError(f"{name}.in cannot be compiled:\n{done.stderr.strip()}")


def _compare() -> None:
    for name in NAMES:
        ours = (bootstrap.PROJECT / f"{name}.txt").read_text().splitlines()
        fresh = (FOLDER / f"{name}.txt").read_text().splitlines()
        if changed := list(difflib.unified_diff(ours, fresh, f"{name}.txt", "compiled", n=0, lineterm="")):
            raise StaleError("\n".join([*changed, f"{name}.txt is not current; run: make requirements"]))
        if missing := list(unpinned(bootstrap.PROJECT / f"{name}.in", ours)):
            raise StaleError(f"{name}.txt lacks {', '.join(missing)}; run: make requirements")


def unpinned(asked_for: Path, pins: list[str]) -> Iterator[str]:
    """Name what is asked for and has no pin within its limits."""
    lines = [line.removesuffix("\\").strip() for line in pins]
    names = map(Requirement, (line for line in lines if line and not line.startswith(("--hash=", "#"))))
    pinned = {_plain(pin.name): pin for pin in names}
    for line in asked_for.read_text().splitlines():
        wanted = line.split("#")[0].strip()
        if wanted and not wanted.startswith("-"):
            requirement = Requirement(wanted)
            pin = pinned.get(_plain(requirement.name))
            if pin is None or not requirement.specifier.contains(next(iter(pin.specifier)).version):
                yield wanted


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
