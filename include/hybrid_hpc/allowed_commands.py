"""The closed list of commands that `hybrid-hpc-as` runs on a head node as a person.

It is made of the schedulers' own commands, their values replaced by places, so that the two cannot drift:
``python -m hybrid_hpc.allowed_commands --write`` writes it anew where the wrapper lies.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from hybrid_hpc.commands import Command
from hybrid_hpc.request import read_request
from hybrid_hpc.schedulers import SCHEDULERS, scheduler
from hybrid_hpc.schedulers.base import Scheduler, Submission

FILE = Path(__file__).resolve().parents[1] / "head_node" / "commands.json"
_TOKEN, _ID, _FOLDER = "hh-aaaaaaaaaaaa", "4711471147", "/hh/storage"
_RUN_DIR = f"{_FOLDER}/{_TOKEN}"


def allowed_commands() -> list[list[str]]:
    """The argument lists of every scheduler, with ``{token}``, ``{id}``, ``{bytes}`` and ``{run_dir}``."""
    return [_with_places(command) for name in SCHEDULERS for command in _of_a_job(scheduler(name))]


def text() -> str:
    """The content of the file."""
    return json.dumps(allowed_commands(), indent=1) + "\n"


def _of_a_job(language: Scheduler) -> Iterator[Command]:
    """What is sent as the person: the rest is asked with the cluster's own connection."""
    request = read_request({"name": "any", "script": "true\n"})
    yield language.submit_command(Submission(_TOKEN, request, "any", _RUN_DIR))
    yield language.find_command(_TOKEN)
    yield language.release_command(_ID, _TOKEN)
    yield language.cancel_command(_ID, _TOKEN)
    yield language.withdraw_command(_ID, _TOKEN, _RUN_DIR)


def _with_places(command: Command) -> list[str]:
    size = str(len((command.stdin or "").encode()))
    whole = {size: "{bytes}"} if command.stdin else {}
    return [
        whole.get(word) or _filled(word, {_RUN_DIR: "{run_dir}", _TOKEN: "{token}", _ID: "{id}"})
        for word in command.argv
    ]


def _filled(word: str, places: Mapping[str, str]) -> str:
    for value, place in places.items():
        word = word.replace(value, place)
    return word


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(text())
    else:
        sys.stdout.write(text())
