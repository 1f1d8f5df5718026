"""A command for a head node, and its answer: the words that schedulers and head nodes share.

Schedulers make commands and read answers; a head node runs them. Neither knows the other.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from hybrid_hpc.errors import Refused


@dataclass(frozen=True, slots=True)
class Command:
    """An argument tuple, and what it reads on stdin. Quoting happens in `shell_text`, nowhere else.

    ``label`` is the name under which it is counted and told of in messages; '' for the first argument.
    """

    argv: tuple[str, ...]
    stdin: str | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command that ran to its end left behind."""

    exit_status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """True when the exit status is 0. Slurm sometimes says 0 and puts the error on stderr."""
        return self.exit_status == 0


def shell_text(argv: tuple[str, ...]) -> str:
    """The one string that a remote shell splits back into exactly ``argv`` (SSH carries no argv).

    Raises `Refused` when it cannot be sent: the name of a file there may hold bytes that are no text.
    """
    text = shlex.join(argv)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(f"{text[-200:]!a} cannot be sent: it is not UTF-8") from None
    return text
