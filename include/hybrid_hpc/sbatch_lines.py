"""The ``#SBATCH`` lines at the head of a script, read as sbatch reads them.

That is: in the comments before the first command, with quotes, abbreviated names and joined letters
(``-N2``), the last of two equal options winning. What the options mean for a job is in `directives`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from hybrid_hpc.errors import Problem
from hybrid_hpc.problems import WrongValueError, bare, did_you_mean, shown
from hybrid_hpc.sbatch_options import BY_LETTER, OPTIONS, Option, Takes

_MARK = "#SBATCH"
_FOREIGN = ("#PBS", "#BSUB", "#$ ", "#COBALT", "#OAR", "#FLUX:")
_LONG = 4096  # splitting a word of a million letters takes shlex 20 s
_MANY = 20  # a script with more problems is no batch script; reading all of it would only take time


@dataclass(frozen=True, slots=True)
class Directive:
    """One option of one ``#SBATCH`` line; ``line`` counts from 1, ``value`` is '' when it has none."""

    line: int
    option: Option
    value: str = ""

    def __str__(self) -> str:
        value = f"={bare(self.value)}" if self.value else ""
        return f"line {self.line}: --{self.option.name}{value}"


@dataclass(slots=True)
class ScriptLines:
    """What the head of a script says: the options that count by name, notes, and problems."""

    said: dict[str, Directive] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_lines(script: str) -> ScriptLines:
    """Reads every ``#SBATCH`` line of the head; lines that cannot be read become problems."""
    lines = ScriptLines()
    head = True
    for number, text in enumerate(script.split("\n"), start=1):
        head = head and (not text.strip() or text.lstrip().startswith("#"))
        if text.startswith(_MARK) and len(lines.problems) < _MANY:
            _read_line(lines, number, text) if head else lines.notes.append(_late(number))
        elif head and text.startswith(_FOREIGN):
            lines.notes.append(f"line {number}: {shown(text)} is not read: only #SBATCH lines are")
    _note_lone_ntasks(lines)
    return lines


def script_notes(script: str) -> tuple[str, ...]:
    """What a person should know about the script's lines: which were left out, and why."""
    return tuple(read_lines(script).notes)


def _late(number: int) -> str:
    return f"line {number}: this #SBATCH line stands after the first command, where sbatch does not read it"


def _note_lone_ntasks(lines: ScriptLines) -> None:
    said = lines.said
    if "ntasks" in said and "nodes" not in said and "ntasks-per-node" not in said:
        lines.notes.append(
            f"{said['ntasks']} without --nodes: all tasks go on one node, unless Nodes is filled in"
        )


def _read_line(lines: ScriptLines, number: int, text: str) -> None:
    if len(text) > _LONG:
        what = f"line {number}: is longer than {_LONG} characters"
        lines.problems.append(Problem("script", what, "Write one option a line."))
        return
    try:
        for directive in _directives(number, shlex.split(text.removeprefix(_MARK), comments=True)):
            _sort_in(lines, directive)
    except WrongValueError as wrong:
        lines.problems.append(Problem("script", wrong.what, wrong.remedy))
    except ValueError as error:  # shlex: a quote that is not closed
        what = f"line {number}: {str(error).lower()}"
        lines.problems.append(Problem("script", what, "Close the quote, or escape it with a backslash."))


def _sort_in(lines: ScriptLines, directive: Directive) -> None:
    option = directive.option
    if option.refused:
        lines.problems.append(Problem("script", f"{directive} cannot be honoured", option.refused))
    elif option.name == "export" and "=" in directive.value:
        remedy = OPTIONS["export-file"].refused
        lines.problems.append(Problem("script", f"{directive} sets variables", remedy))
    elif option.left_out:
        lines.notes.append(f"{directive} is left out: {option.left_out}")
    if not option.left_out or option.name == "exclusive":
        lines.said[option.name] = directive


def _directives(line: int, words: list[str]) -> Iterator[Directive]:
    """The options in the words of one line, as getopt_long finds them."""
    rest = iter(words)
    for word in rest:
        if word.startswith("--") and len(word) > 2:
            yield _long(line, word, rest)
        elif word.startswith("-") and len(word) > 1:
            yield from _short(line, word, rest)
        else:
            raise _stray(line, word)


def _stray(line: int, word: str) -> WrongValueError:
    if word in {"hetjob", "packjob"}:
        remedy = "Submit the parts as jobs of their own, or ask for nodes of one kind."
        return WrongValueError(f"line {line}: {word}: a job gets nodes of one kind only", remedy)
    what = f"line {line}: {shown(word)} belongs to no option"
    return WrongValueError(what, "Write --name=value, with quotes around a value that has spaces.")


def _long(line: int, word: str, rest: Iterator[str]) -> Directive:
    name, equals, value = word[2:].partition("=")
    option = _option(line, name)
    if option.takes is Takes.NOTHING and equals:
        raise WrongValueError(f"line {line}: --{option.name} takes no value", f"Write --{option.name} alone.")
    if option.takes is Takes.VALUE and not equals:
        value = _next_value(line, option, rest)
    return Directive(line, option, value)


def _short(line: int, word: str, rest: Iterator[str]) -> Iterator[Directive]:
    """``-N2``, ``-N 2``, and letters without a value joined: ``-HN2``."""
    for position, letter in enumerate(word[1:], start=2):
        option = BY_LETTER.get(letter)
        if option is None:
            raise WrongValueError(
                f"line {line}: sbatch knows no option {bare('-' + letter)}", "Write its long name."
            )
        joined = word[position:]
        if option.takes is Takes.NOTHING:
            yield Directive(line, option)
            continue
        needs = option.takes is Takes.VALUE and not joined
        yield Directive(line, option, _next_value(line, option, rest) if needs else joined)
        return


def _next_value(line: int, option: Option, rest: Iterator[str]) -> str:
    value = next(rest, None)
    if value is None:
        raise WrongValueError(f"line {line}: --{option.name} has no value", f"Write --{option.name}=value.")
    return value


def _option(line: int, name: str) -> Option:
    """The option of that name, or of that unique beginning of a name."""
    found = [OPTIONS[name]] if name in OPTIONS else [o for o in OPTIONS.values() if o.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = f"line {line}: sbatch knows no option {bare('--' + name)}"
    names = [f"--{known}" for known in OPTIONS]
    raise WrongValueError(what, did_you_mean(f"--{name}", names, otherwise="Take it out."))
