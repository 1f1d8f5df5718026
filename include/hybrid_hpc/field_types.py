"""The types of a job request's fields: each refuses what could do harm, in words.

Values that go into a scheduler's directives are *refused* when they do not match a strict pattern, never
quoted: a newline inside a quoted directive starts a line that the shell runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from hybrid_hpc.problems import WrongValueError, shown
from hybrid_hpc.units import parse_array, parse_memory, parse_walltime

MAX_SCRIPT_BYTES = 1024**2
MAX_VALUE = 32_768
MAX_ENTRIES = 200

NAME_PATTERN = r"[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,63}"
CLUSTER_PATTERN = r"[a-z][a-z0-9_]{0,40}"
PROJECT_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.:/=@%+\-]{0,99}"
GPU_TYPE_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
PATH_PATTERN = r"[A-Za-z0-9_./][A-Za-z0-9_.,:/=@%+-]{0,199}"
MODULE_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.+:/=@~-]{0,199}"
VARIABLE_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,99}"

# Each of these changes what programs are found or run before the script has a say, or is the scheduler's.
_RESERVED_VARIABLES = re.compile(
    r"(LD_|SLURM_|SBATCH_|PYTHON|HH_|BASH_FUNC_).*|"
    r"PATH|BASH_ENV|ENV|IFS|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND|CDPATH|GLOBIGNORE|MODULEPATH"
)


def _text(value: object) -> object:
    """Numbers as they would be written: a walltime of 90 in YAML is the text '90'."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise WrongValueError(f"needs a whole number, not {value}", "Write digits only.")
    return value


def single_line(text: str) -> str:
    """Gives ``text`` without spaces around it; refuses what would break or end a line."""
    if not text.isprintable():
        raise WrongValueError(f"{shown(text)} has a line break or a control character", "Take it out.")
    return text.strip(" ")


def matching(pattern: str, remedy: str) -> Callable[[str], str]:
    """A check that refuses every text but one line that matches ``pattern`` as a whole."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        line = single_line(text)
        if not compiled.fullmatch(line):
            raise WrongValueError(f"{shown(line)} cannot be taken", remedy)
        return line

    return check


def _readable(parse: Callable[[str], object]) -> Callable[[str], str]:
    def check(text: str) -> str:
        line = single_line(text)
        parse(line)
        return line

    return check


def clean_script(text: str) -> str:
    """The script with Unix line ends and without a byte order mark or blank lines in front.

    A script pasted from Windows would fail with ``$'\\r': command not found``, and a blank first line
    would hide its ``#!``.
    """
    script = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")
    if not script.strip():
        raise WrongValueError("is empty", "Paste a shell script.")
    if "\0" in script or any("\ud800" <= letter <= "\udfff" for letter in script):
        raise WrongValueError("holds bytes that are no text", "Paste a shell script, not a program.")
    if len(script.encode()) > MAX_SCRIPT_BYTES:
        raise WrongValueError("is larger than 1 MiB", "Keep data in files and read them in the script.")
    return script if script.endswith("\n") else f"{script}\n"


def _path_inside(text: str) -> str:
    """A path that no ``..`` leads out of the folder it starts in."""
    line = single_line(text)
    if ".." in line.split("/"):
        raise WrongValueError(f"{shown(line)} leads out of its folder", "Write the path without `..`.")
    return line


def _glob(text: str) -> str:
    line = _path_inside(text)
    if line.startswith(("/", "~", "-")) or "\\" in line or len(line) > 500:
        remedy = "Write a path or pattern inside the run directory, such as results/*.csv."
        raise WrongValueError(f"{shown(line)} is not inside the run directory", remedy)
    return line


def _without_blanks(value: object) -> object:
    """A list without its blank entries: the form makes one of every empty line."""
    if isinstance(value, list | tuple):
        return [item for item in value if not (isinstance(item, str) and not item.strip(" "))]
    return value


def _short_list(entries: list[str]) -> list[str]:
    if len(entries) > MAX_ENTRIES:
        raise WrongValueError(f"has {len(entries)} entries", f"Leave at most {MAX_ENTRIES}.")
    return entries


def _variables(value: object) -> object:
    """Numbers become text, as a person would type them after ``NAME=``."""
    if not isinstance(value, dict):
        return value
    return {name: repr(item) if type(item) in {int, float} else item for name, item in value.items()}


def _environment(variables: dict[str, str]) -> dict[str, str]:
    _short_list(list(variables))
    for name, value in variables.items():
        _check_variable(name, value)
    return variables


def _check_variable(name: str, value: str) -> None:
    if not re.fullmatch(VARIABLE_PATTERN, name):
        remedy = "Use letters, digits and _, and no digit in front."
        raise WrongValueError(f"{shown(name)} is no name of a variable", remedy)
    if _RESERVED_VARIABLES.fullmatch(name):
        raise WrongValueError(f"{name} must not be set from outside", "Set it in the script if it is needed.")
    if not value.isprintable() or len(value) > MAX_VALUE:
        remedy = f"Keep it on one line, up to {MAX_VALUE} characters, or set it in the script."
        raise WrongValueError(f"{name} has a value with a control character, or a too long one", remedy)


def _moment(value: object) -> object:
    """Only text or a datetime: a bare number could be seconds, milliseconds or a year."""
    if isinstance(value, str | datetime):
        return value
    remedy = "Write date, time and time zone as a text: 2030-05-31T18:00:00Z."
    raise WrongValueError(f"{shown(value)} is no date", remedy)


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None or moment.utcoffset() is None:
        remedy = "Add one: 2030-05-31T18:00:00Z for UTC, or an offset: 2030-05-31T18:00:00+02:00."
        raise WrongValueError(f"{moment.isoformat()} has no time zone", remedy)
    if not 2000 <= moment.year < 2200:
        raise WrongValueError(f"the year {moment.year} is out of range", "Write a date that will come.")
    return moment.astimezone(UTC)


_NAME_REMEDY = "Use letters, digits and . _ + -, up to 64 characters, and no dash in front."
_CLUSTER_REMEDY = "Write auto, or a cluster's name: small letters, digits and _."
_PROJECT_REMEDY = "Write the project's name as the cluster knows it."
_GPU_TYPE_REMEDY = "Write the type as the cluster knows it, such as a100."
_MODULE_REMEDY = "Write one module a line, such as openmpi/4.1.5."
_PATH_REMEDY = (
    "Write a path inside the run directory, such as work, or an absolute one, of letters, digits and "
    ". _ , : = @ % + -; a shell variable or ~ is not replaced there."
)

Count = Annotated[int, BeforeValidator(_no_bool)]
Name = Annotated[str, AfterValidator(matching(NAME_PATTERN, _NAME_REMEDY))]
Script = Annotated[str, AfterValidator(clean_script)]
Memory = Annotated[str, BeforeValidator(_text), AfterValidator(_readable(parse_memory))]
Walltime = Annotated[str, BeforeValidator(_text), AfterValidator(_readable(parse_walltime))]
ArrayText = Annotated[str, BeforeValidator(_text), AfterValidator(_readable(parse_array))]
ClusterName = Annotated[str, AfterValidator(matching(CLUSTER_PATTERN, _CLUSTER_REMEDY))]
Project = Annotated[str, AfterValidator(matching(PROJECT_PATTERN, _PROJECT_REMEDY))]
GpuType = Annotated[str, AfterValidator(matching(GPU_TYPE_PATTERN, _GPU_TYPE_REMEDY))]
Directory = Annotated[str, AfterValidator(_path_inside), AfterValidator(matching(PATH_PATTERN, _PATH_REMEDY))]
Module = Annotated[str, AfterValidator(matching(MODULE_PATTERN, _MODULE_REMEDY))]
Glob = Annotated[str, AfterValidator(_glob)]
Modules = Annotated[list[Module], BeforeValidator(_without_blanks), AfterValidator(_short_list)]
Outputs = Annotated[list[Glob], BeforeValidator(_without_blanks), AfterValidator(_short_list)]
Environment = Annotated[dict[str, str], BeforeValidator(_variables), AfterValidator(_environment)]
Deadline = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_in_utc)]
