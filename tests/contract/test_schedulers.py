"""What every scheduler must keep, over all that are registered: a new one is tested without an edit here."""

from __future__ import annotations

import random
import re
import shlex
import string
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hybrid_hpc.commands import Answer, Command, shell_text
from hybrid_hpc.errors import Invalid, InvalidRequest, SubmissionRefused, Unavailable, Unreadable
from hybrid_hpc.request import JobRequest
from hybrid_hpc.schedulers import SCHEDULERS, scheduler
from hybrid_hpc.schedulers.base import Scheduler, Submission

GARBAGE = [
    Answer(0, "", ""),
    Answer(0, "Last login: Monday\n", ""),
    Answer(0, "\x00\x01\ufffd\x1e\x1f\x1f\n" * 50, "\ufffd"),
    Answer(0, "<html><body>502 Bad Gateway</body></html>", ""),
    Answer(0, "{", ""),
    Answer(255, "", ""),
]


@pytest.fixture(params=SCHEDULERS)
def language(request: pytest.FixtureRequest) -> Scheduler:
    return scheduler(request.param)


def word(rng: random.Random, length: int = 8) -> str:
    return "".join(rng.choice(string.ascii_lowercase + string.digits) for _ in range(length))


def submission(**changes: Any) -> Submission:
    fields: dict[str, Any] = {"name": "demo", "script": "true\n", **changes.pop("request", {})}
    values: dict[str, Any] = {
        "token": "hh-abcdefghijkl",
        "partition": "batch",
        "run_dir": "/scratch/hh-abcdefghijkl",
        **changes,
    }
    return Submission(request=JobRequest.model_construct(**fields), **values)


def commands(language: Scheduler) -> Iterator[Command]:
    """One of each."""
    yield language.version_command()
    yield language.submit_command(submission())
    yield language.find_command("hh-abcdefghijkl")
    yield language.release_command("4711", "hh-abcdefghijkl")
    yield language.cancel_command("4711", "hh-abcdefghijkl")
    yield language.withdraw_command("4711", "hh-abcdefghijkl", "/scratch/hh-abcdefghijkl")
    yield language.load_command()
    yield language.history_command(["4711", "4712"])
    yield language.usage_command(1_795_416_797.0, 1_795_420_397.0)
    yield language.start_estimate_command(submission())
    yield language.accounting_command()
    yield language.admit_nodes_command(["node01"])
    yield language.drain_nodes_command(["node01"], "it is idle")
    yield language.retire_nodes_command(["node01", "node02"], "it is gone")
    yield language.give_up_nodes_command(["node01"])


def test_every_name_gives_the_scheduler_of_that_name() -> None:
    assert SCHEDULERS
    for name in SCHEDULERS:
        assert scheduler(name).name == name
        assert scheduler(name) is scheduler(name)


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(Invalid, match="slurm"):
        scheduler("nosuch")


def test_every_command_has_arguments_and_a_label(language: Scheduler) -> None:
    for command in commands(language):
        assert command.argv
        assert all(command.argv)
        assert command.label


def test_every_command_passes_any_login_shell_in_one_piece(language: Scheduler) -> None:
    """csh ends a quoted line at a line break and replaces ``!`` even between single quotes."""
    for command in commands(language):
        assert not re.search(r"[\n\r\0!]", shell_text(command.argv)), command.label
        assert tuple(shlex.split(shell_text(command.argv))) == command.argv


def test_no_command_holds_the_script_or_a_secret_in_its_arguments(language: Scheduler) -> None:
    secret = submission(request={"environment": {"KEY": "s3cr3t"}, "script": "s3cr3t\n"})
    for command in (language.submit_command(secret), language.start_estimate_command(secret)):
        assert "s3cr3t" not in shell_text(command.argv)


@pytest.mark.parametrize("seed", range(20))
def test_what_was_asked_for_comes_out_in_the_script(language: Scheduler, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  the same values in every run
    asked: dict[str, Any] = {
        "name": word(rng),
        "project": word(rng),
        "gpu_type": "g" + word(rng),
        "environment": {f"V_{word(rng)}": word(rng), "OTHER": f"{word(rng)} {word(rng)}"},
        "modules": [f"{word(rng)}/{rng.randrange(9)}", word(rng)],
        "working_directory": word(rng),
        "nodes": rng.randrange(1000, 2000),
        "tasks_per_node": rng.randrange(2000, 3000),
        "cpus_per_task": rng.randrange(3000, 4000),
        "gpus_per_node": rng.randrange(4000, 5000),
        "array": f"{rng.randrange(100)}-{rng.randrange(100, 200)}",
    }
    token, partition, directive = "hh-" + word(rng, 12), word(rng), word(rng)
    given = submission(
        request=asked,
        token=token,
        partition=partition,
        run_dir=f"/scratch/{word(rng)}/{token}",
        directives={"constraint": directive},
    )
    script = language.batch_script(given)
    expected = [token, partition, directive, given.run_dir]
    expected += [str(value) for name, value in asked.items() if name not in {"environment", "modules"}]
    expected += [*asked["environment"], *asked["environment"].values(), *asked["modules"]]
    assert [value for value in expected if value not in script] == []


def test_the_script_is_good_bash(language: Scheduler) -> None:
    given = submission(request={"environment": {"A": "it's"}, "modules": ["x"], "array": "0-3"})
    checked = subprocess.run(["/bin/bash", "-n"], input=language.batch_script(given), text=True, check=False)
    assert checked.returncode == 0


HOSTILE = [
    "x\ntouch canary",
    "x\r\n#SBATCH --uid=0",
    "x y",
    "x;reboot",
    "$(reboot)",
    "`reboot`",
    "x'y",
    'x"y',
    "x\\",
    "x\0y",
    "-x",
    "ü",
    "x" * 5000,
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", ["token", "partition", "run_dir", "directives", "name", "project", "array"])
def test_a_hostile_directive_value_is_refused_with_its_field(
    language: Scheduler, field: str, value: str
) -> None:
    places: dict[str, dict[str, Any]] = {
        "token": {"token": value},
        "partition": {"partition": value},
        "run_dir": {"run_dir": value if value.startswith("-") else f"/{value}"},
        "directives": {"directives": {"qos": value}},
    }
    changes = places.get(field, {"request": {field: value}})
    for make in (language.batch_script, language.submit_command, language.start_estimate_command):
        with pytest.raises(InvalidRequest) as caught:
            make(submission(**changes))
        assert any(problem.where.startswith(field) for problem in caught.value.problems)


def readers(language: Scheduler) -> dict[str, Callable[[Answer], object]]:
    return {
        "version": language.read_version,
        "submit": language.read_submit,
        "find": lambda answer: language.read_find(answer, "hh-abcdefghijkl"),
        "load": language.read_load,
        "history": language.read_history,
        "usage": lambda answer: list(language.read_usage(answer)),
    }


@pytest.mark.parametrize("answer", GARBAGE)
@pytest.mark.parametrize("name", ["version", "submit", "find", "load", "history", "usage"])
def test_an_answer_that_makes_no_sense_is_unreadable_never_empty(
    language: Scheduler, name: str, answer: Answer
) -> None:
    with pytest.raises(Unreadable):
        readers(language)[name](answer)


@pytest.mark.parametrize("answer", GARBAGE)
def test_garbage_gives_no_start_estimate(language: Scheduler, answer: Answer) -> None:
    assert language.read_start_estimate(answer) is None


@pytest.mark.parametrize("name", ["version", "submit", "find", "load", "history", "usage"])
def test_a_program_that_is_not_there_is_trouble_not_an_empty_answer(language: Scheduler, name: str) -> None:
    missing = Answer(127, "", "sh: 1: exec: thing: not found")
    with pytest.raises((Unavailable, SubmissionRefused)):
        readers(language)[name](missing)


def test_asking_about_nothing_is_refused_not_taken_for_everything(language: Scheduler) -> None:
    makers: list[Callable[[], Command]] = [
        lambda: language.history_command([]),
        lambda: language.admit_nodes_command([]),
        lambda: language.drain_nodes_command([], "x"),
        lambda: language.retire_nodes_command([], "x"),
        lambda: language.give_up_nodes_command([]),
    ]
    for make in makers:
        with pytest.raises(Invalid):
            make()


def test_readers_are_pure(language: Scheduler) -> None:
    """The same answer read twice gives the same, and so does a second object of the class."""
    again = type(language)()
    for name, read in readers(language).items():
        with pytest.raises(Unreadable) as first:
            read(GARBAGE[1])
        with pytest.raises(Unreadable) as second:
            readers(again)[name](GARBAGE[1])
        assert str(first.value) == str(second.value)
