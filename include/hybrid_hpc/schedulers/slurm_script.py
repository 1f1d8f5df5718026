"""The batch script for Slurm: directives from checked values, then the template beside this module.

Values of directives are refused when they do not match a strict pattern, never quoted: a newline inside a
quoted ``#SBATCH`` value starts a line that the shell runs (measured).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hybrid_hpc.errors import InvalidRequest, Problem
from hybrid_hpc.schedulers.base import Submission

_VALUE = re.compile(r"[A-Za-z0-9_.,:/=@%+\[\]][A-Za-z0-9_.,:/=@%+\-\[\]]{0,399}")
_OPTION = re.compile(r"[a-z][a-z-]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,14}")  # a name longer than 15 letters is never found again
_FOLDER = re.compile(r"/[A-Za-z0-9_.,:/=@+\-]{0,399}")  # no %: Slurm would replace it in --output
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9_.@+-]")

_VALUE_REMEDY = "Use letters, digits and . _ , : / = @ % + - [ ] only, and no dash in front."
_FOLDER_REMEDY = "Use an absolute path of letters, digits and . _ , : / = @ + - only."


def _memory(submission: Submission) -> str | None:
    asked = submission.request.memory_per_node_mib
    return None if asked is None else f"{asked}M"


def _walltime(submission: Submission) -> str:
    minutes, rest = divmod(submission.request.walltime_s, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours // 24}-{hours % 24:02}:{minutes:02}:{rest:02}"


def _gpus(submission: Submission) -> str | None:
    request = submission.request
    kind = f"{request.gpu_type}:" if request.gpu_type else ""
    return f"gpu:{kind}{request.gpus_per_node}" if request.gpus_per_node else None


def _comment(submission: Submission) -> str:
    """The job's name and who asked, for whoever looks there; the ledger has both to the letter."""
    asked_by = _NOT_OF_A_NAME.sub("_", submission.asked_by)[:100]
    return submission.request.name + (f",by={asked_by}" if asked_by else "")


def _output(submission: Submission) -> str:
    return f"{submission.run_dir}/{'output.%a.log' if submission.request.array else 'output.log'}"


# Our directives: the option, the field that a refusal names, and the value; None: left out, '': a flag.
_DIRECTIVES: tuple[tuple[str, str, Callable[[Submission], str | None]], ...] = (
    ("job-name", "token", lambda submission: submission.token),
    ("comment", "name", _comment),
    ("partition", "partition", lambda submission: submission.partition),
    ("account", "project", lambda submission: submission.request.project),
    ("nodes", "nodes", lambda submission: str(submission.request.nodes)),
    ("ntasks-per-node", "tasks_per_node", lambda submission: str(submission.request.tasks_per_node)),
    ("cpus-per-task", "cpus_per_task", lambda submission: str(submission.request.cpus_per_task)),
    ("mem", "memory_per_node", _memory),
    ("gres", "gpu_type", _gpus),
    ("time", "walltime", _walltime),
    ("array", "array", lambda submission: submission.request.array),
    ("chdir", "run_dir", lambda submission: submission.run_dir),
    ("output", "run_dir", _output),
    ("open-mode", "open_mode", lambda _: "append"),  # a requeued job would wipe its output
    ("export", "export", lambda _: "ALL"),  # of the clean environment that sbatch is given
    ("requeue", "rerunnable", lambda submission: "" if submission.requeue else None),
    ("no-requeue", "rerunnable", lambda submission: None if submission.requeue else ""),
)
_OURS = frozenset(option for option, _, _ in _DIRECTIVES)


def batch_script(submission: Submission) -> str:
    """The whole script. Raises `InvalidRequest` naming every field whose value is refused."""
    if problems := list(_problems(submission)):
        raise InvalidRequest(problems)
    request = submission.request
    return _TEMPLATE.render(
        directives=_directives(submission),
        run_dir=shlex.quote(submission.run_dir),
        exports={name: shlex.quote(value) for name, value in request.environment.items()},
        modules=[shlex.quote(module) for module in request.modules],
        work_dir=shlex.quote(request.working_directory or "."),
    )


def _directives(submission: Submission) -> dict[str, str]:
    ours = {option: value(submission) for option, _, value in _DIRECTIVES}
    given = {option: value for option, value in ours.items() if value is not None}
    return given | dict(submission.directives)


def _problems(submission: Submission) -> Iterator[Problem]:
    yield from _bad_places(submission)
    yield from _bad_directives(submission)
    yield from _bad_site_directives(submission.directives)
    yield from _bad_environment(submission.request.environment)


def _bad_places(submission: Submission) -> Iterator[Problem]:
    if not _TOKEN.fullmatch(submission.token):
        yield _refused("token", submission.token, "Use up to 15 letters, digits, _ and -.")
    if not _FOLDER.fullmatch(submission.run_dir):
        yield _refused("run_dir", submission.run_dir, _FOLDER_REMEDY)
    if not (submission.request.working_directory or "").isprintable():
        yield _refused("working_directory", str(submission.request.working_directory), _FOLDER_REMEDY)


def _bad_directives(submission: Submission) -> Iterator[Problem]:
    for option, field, value in _DIRECTIVES:
        remedy = f"It goes into --{option}. {_VALUE_REMEDY}"
        try:
            text = value(submission)
        except ValueError as error:
            yield Problem(field, str(error), remedy)
        else:
            if text and not _VALUE.fullmatch(text):
                yield _refused(field, text, remedy)


def _bad_site_directives(directives: Mapping[str, str]) -> Iterator[Problem]:
    for option, value in directives.items():
        where = f"directives.{option}"
        if not _OPTION.fullmatch(option):
            yield _refused("directives", option, "Write the long name of an sbatch option, without dashes.")
        elif option in _OURS:
            yield Problem(where, "is set by hybrid-hpc itself", "Take it out of clusters.yaml.")
        elif value and not _VALUE.fullmatch(value):
            yield _refused(where, value, _VALUE_REMEDY)


def _bad_environment(environment: Mapping[str, str]) -> Iterator[Problem]:
    for name, value in environment.items():
        if not _VARIABLE.fullmatch(name):
            yield _refused("environment", name, "Use letters, digits and _ in a variable's name.")
        elif "\0" in value:
            yield _refused("environment", value, f"Take the NUL character out of {name}.")


def _refused(where: str, value: str, remedy: str) -> Problem:
    return Problem(where, f"{value[:60]!r} is not accepted", remedy)


_TEMPLATE = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=False,  # noqa: S701  shell, not HTML; what goes in is checked or quoted above
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
).get_template("slurm.sh.j2")
