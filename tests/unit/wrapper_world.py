"""`hybrid-hpc-as` without sudo: a head node on which it runs as whoever runs the tests."""

from __future__ import annotations

import io
import json
import os
import pwd
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest

from head_node import hybrid_hpc_as as wrapper
from hybrid_hpc.allowed_commands import FILE
from hybrid_hpc.commands import Answer, Command, shell_text
from hybrid_hpc.impersonation import PersonNode

TOKEN = "hh-abcdefghijkl"
OTHER = "hh-zzzzzzzzzzzz"
ADA = ("sudo", "-n", "-u", "ada", "--", "/opt/hh/as")
Become = Callable[[str, tuple[str, ...], dict[str, str]], None]


class Wrapped:
    """Runs the wrapper's own code for what would go through sudo; ``became`` are the commands it became.

    ``asked`` are the verbs that it was sent.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.storage = folder / "ada"
        self.became: list[tuple[tuple[str, ...], dict[str, str]]] = []
        self.asked: list[str] = []
        self.says: Answer | None = None  # instead of the wrapper, as sudo would
        settings = {
            "path": "/usr/bin:/bin",
            "slurm_conf": "/etc/slurm.conf",
            "storage": f"{folder}/{{account}}",
        }
        # As whom it runs is another test's; here the account is called ada, whoever it is.
        user = pwd.struct_passwd(("ada", "x", os.getuid(), os.getgid(), "", str(folder), "/bin/bash"))
        self.account = wrapper.Account(user, settings, json.loads(FILE.read_text()))
        self._monkeypatch = monkeypatch

    async def run(self, command: Command, *, timeout_s: float | None = None) -> Answer:  # noqa: ARG002
        assert command.argv[: len(ADA)] == ADA
        shell_text(command.argv)  # as on its way there
        self.asked.append(command.argv[len(ADA)])
        return self.says or self.ask(*command.argv[len(ADA) :], stdin=(command.stdin or "").encode())

    def ask(self, *argv: str, stdin: bytes = b"") -> Answer:
        """What the wrapper answers to these words."""
        out, err = io.StringIO(), io.StringIO()
        with self._monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(wrapper, "account_in", lambda _: self.account)
            patch.setattr(os, "execvpe", lambda _, argv, env: self.became.append((argv, env)))
            patch.setattr(os, "chdir", lambda _: None)
            patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
            status = _status(argv)
        return Answer(status, out.getvalue(), err.getvalue())

    @property
    def node(self) -> PersonNode:
        """Our side of it."""
        return PersonNode(self, "onprem", "ada", "/opt/hh/as")  # type: ignore[arg-type]  # it is only run


def _status(argv: tuple[str, ...]) -> int:
    try:
        wrapper.main(argv)
    except SystemExit as end:
        return int(end.code or 0)
    return 0
