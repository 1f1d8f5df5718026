"""The pages that people read: README.md and docs/*.md, and the code blocks in them."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[1]
README = PROJECT / "README.md"
PAGES = [README, *sorted((PROJECT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_BODY = re.compile(r"<<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)


def page(name: str) -> Path:
    """The page docs/``name``.md."""
    return PROJECT / "docs" / f"{name}.md"


def blocks(path: Path, kind: str) -> list[str]:
    """The text of every code block of that kind, in order."""
    return [text for found, text in _FENCE.findall(path.read_text()) if found == kind]


def prose(path: Path) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", path.read_text())


def bodies(block: str) -> list[str]:
    """What a bash block hands to its commands in here-documents."""
    return _BODY.findall(block)
