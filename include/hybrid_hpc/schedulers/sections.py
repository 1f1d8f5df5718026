"""Several commands in one round trip, and out of the one answer each command's own output and status.

The far side draws a random nonce for every answer and closes every section with a line that holds it.
A login banner cannot know it, nor can a job's name that somebody chose yesterday: names may hold line
breaks and any separator (measured on Slurm 22.05), so fixed marker lines could be forged with `sbatch -J`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hybrid_hpc.commands import Answer
from hybrid_hpc.errors import Unreadable

NONCE = "$n"  # what a part of the shell text writes where it wants the answer's nonce
_DRAW = 'n=$(od -An -N6 -tx1 /dev/urandom | tr -d " \\n"); printf "hh-begin %s\\n" "$n"'
_CLOSE = 'printf "hh-%s {name} %s\\n" "$n" "$?"'
_STATUS = re.compile(r"([0-9]{1,3})$", re.MULTILINE)
_LINE = re.compile(r"[^\n]+")
_BEGIN = re.compile(r"hh-begin ([0-9a-f]{12})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Section:
    """What one command of a round trip printed on stdout, and its exit status."""

    text: str
    status: int

    @property
    def lines(self) -> list[str]:
        """The lines that are not empty. Not `str.splitlines`: it also splits at 0x1E, 0x85 and U+2028."""
        return list(self.each_line())

    def each_line(self) -> Iterator[str]:
        """The same one by one, for an answer of which no second copy should be made."""
        return (found[0] for found in _LINE.finditer(self.text))


@dataclass(frozen=True, slots=True)
class Sections:
    """A whole answer: its nonce and its sections by name."""

    nonce: str
    by_name: Mapping[str, Section]

    def __getitem__(self, name: str) -> Section:
        return self.by_name[name]


def one_round_trip(parts: Mapping[str, str]) -> str:
    """One line of bash that runs all ``parts``, by name, whatever the ones before them did."""
    closed = [f"{text}; {_CLOSE.format(name=name)}" for name, text in parts.items()]
    return "; ".join((_DRAW, *closed, _CLOSE.format(name="end")))


def read_sections(answer: Answer, names: Sequence[str]) -> Sections:
    """The sections of the answer to `one_round_trip`; what is printed before them is ignored.

    Raises `Unreadable` when the answer is cut or was never one.
    """
    begin = _BEGIN.search(answer.stdout)
    if begin is None:
        raise Unreadable(f"the head node's answer has no beginning: {_shown(answer)}")
    nonce, start = begin[1], begin.end() + 1
    sections: dict[str, Section] = {}
    for name in (*names, "end"):
        sections[name], start = _section(answer.stdout, start, nonce, name)
    return Sections(nonce, sections)


def _section(text: str, start: int, nonce: str, name: str) -> tuple[Section, int]:
    """The section that begins at ``start``, and where the next one does. Raises `Unreadable` without an end.

    What it looks for is found as plain text: an expression would take a third of the time that a long answer
    of the accounting takes to read.
    """
    word = f"hh-{nonce} {name} "
    close = text.find(word, start)
    while close >= 0:
        status = _STATUS.match(text, close + len(word))
        if status and (close == start or text[close - 1] == "\n"):
            return Section(text[start:close], int(status[1])), status.end() + 1
        close = text.find(word, close + 1)
    raise Unreadable(f"the head node's answer is cut: its part {name!r} has no end")


def _shown(answer: Answer) -> str:
    said = (answer.stderr.strip() or answer.stdout.strip())[-200:]
    return f"exit status {answer.exit_status}, {said!r}"
