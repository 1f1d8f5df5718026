"""A head node as a person: each command and file goes through `hybrid-hpc-as`, which sudo runs as them.

It knows the wrapper's words (include/head_node/hybrid_hpc_as.py) and what its refusals mean. The connection
is the cluster's own; so are its breaker and its time-outs.
"""

from __future__ import annotations

import base64
import binascii
import json
import posixpath
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import asyncssh

from hybrid_hpc import remote_files
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.errors import AccessDenied, Refused, Unreadable
from hybrid_hpc.identity import connection_of, person_in, project_in
from hybrid_hpc.listed_files import ListedFiles, NotListedError
from hybrid_hpc.people import WRAPPER
from hybrid_hpc.remote_files import RemoteFile
from hybrid_hpc.ways import JobNode, WayAs

_REFUSED, _NO_FILE = 77, 66
_BLOCK = 4 * 1024**2  # each is a sudo and a Python of its own
_OURS = "hybrid-hpc-as: "
# Only what sudo says before it has run anything: after these words nothing was done.
_NOT_RUN = re.compile(
    r"^sudo: (a password is required|a terminal is required|unknown user|\S+: command not found)"
    r"|^sudo: (.* must be owned by|account validation failure|PAM account management error)"
    r"|^\S+ is not (in the sudoers file|allowed to run sudo)"
    r"|^Sorry, user \S+ (is not allowed to|may not)",
    re.MULTILINE,
)
_REMEDY = (
    "An administrator must look at the sudo rule, the files and the folders of hybrid-hpc-as there"
    " (docs/security.md)"
)


def ways(cluster: Cluster, open_project: Callable[[str, str], JobNode]) -> WayAs:
    """How a cluster's head node is used as any identity (`hybrid_hpc.identity`).

    ``open_project`` gives the way of an SSH connection; it is told the project, too.
    """

    def way_as(node: JobNode, identity: str) -> JobNode:
        if account := person_in(identity):
            wrapper = cluster.people.wrapper if cluster.people else WRAPPER
            return PersonNode(node, cluster.name, account, wrapper)
        project = project_in(identity)
        return open_project(connection_of(cluster, project), project)

    return way_as


class PersonNode:
    """``node`` is the cluster's own way to its head node, ``account`` the person's there."""

    def __init__(self, node: JobNode, cluster: str, account: str, wrapper: str) -> None:
        self._node = node
        self._cluster = cluster
        self._account = account
        self._prefix = ("sudo", "-n", "-u", account, "--", wrapper)

    def acting_as(self, identity: str) -> JobNode:
        """Another identity on the same head node."""
        return self._node.acting_as(identity)

    async def close(self) -> None:
        """Nothing: the connection is the cluster's."""

    async def run(self, command: Command, *, timeout_s: float | None = None) -> Answer:
        """Runs a command of the closed list.

        Raises what `HeadNode.run` raises, and `AccessDenied` when sudo or the wrapper has refused: nothing
        was done then.
        """
        argv = (*self._prefix, "run", *command.argv)
        label = command.label or command.argv[0]
        return self._allowed(await self._node.run(Command(argv, command.stdin, label), timeout_s=timeout_s))

    async def storage(self) -> str:
        """The absolute folder of the person's run directories, as the head node's settings say."""
        answer = self._well("find the storage", await self._ask("storage"))
        found = re.search(r"^hh-storage (/.*)$", answer.stdout, re.MULTILINE)
        if not found:
            raise Unreadable(f"{self._cluster}: hybrid-hpc-as names no folder for {self._account}")
        return posixpath.normpath(found[1])

    async def make_dir(self, path: str) -> None:
        """Makes a run directory; harmless when it exists."""
        self._well(f"make {path}", await self._ask("make", posixpath.basename(path)))

    async def write(self, path: str, text: str, *, mode: int = 0o600) -> None:
        """Writes a whole file of a run directory or nothing."""
        words = (*_token_and_name(path), f"{mode:o}", str(len(text.encode())))
        self._well(f"write {path}", await self._ask("write", *words, stdin=text))

    async def tail(self, path: str, limit: int = 65536) -> str | None:
        """The last ``limit`` bytes of a file; None when there is no such file."""
        part = await self._part(path, -limit, limit)
        return None if part is None else part.decode(errors="replace")

    async def read_small(self, path: str, limit: int) -> str | None:
        """The first ``limit`` bytes of a file; None when there is no such file."""
        part = await self._part(path, 0, limit)
        return None if part is None else part.decode(errors="replace")

    async def find(self, root: str, patterns: Sequence[str]) -> list[RemoteFile]:
        """The regular files below a run directory that match; see `remote_files.find`.

        What lies in its folders, which may be more than can be looked through, is listed only when a pattern
        leads there.
        """
        try:
            return await self._found(root, patterns, below=False)
        except NotListedError:
            return await self._found(root, patterns, below=True)

    async def fetch(self, root: str, file: RemoteFile, target: Path) -> None:
        """Copies a file that `find` found to ``target``, whole or not at all; see `remote_files.fetch`."""
        listed = ListedFiles(root, (), self._part)
        await remote_files.fetch(self._sftp(listed), root, file, target, _nothing, block=_BLOCK)

    def _sftp(self, listed: ListedFiles) -> asyncssh.SFTPClient:
        """What `remote_files` asks of an SFTP session is all that `ListedFiles` answers."""
        return cast("asyncssh.SFTPClient", listed)

    async def _found(self, root: str, patterns: Sequence[str], *, below: bool) -> list[RemoteFile]:
        answer = await self._ask("list", posixpath.basename(root), "below" if below else "here")
        if answer.exit_status == _NO_FILE:
            return []
        entries = self._json(self._well(f"look through {root}", answer))
        listed = ListedFiles(root, entries, self._part, below=below)
        return await remote_files.find(self._sftp(listed), root, patterns, _nothing)

    async def _part(self, path: str, start: int, size: int) -> bytes | None:
        token, name = _token_and_name(path)
        answer = await self._ask("read", token, name, str(start), str(size))
        if answer.exit_status == _NO_FILE:
            return None
        try:
            return base64.b64decode(self._json(self._well(f"read {path}", answer))["data"], validate=True)
        except (KeyError, TypeError, binascii.Error) as error:
            raise Unreadable(f"{self._cluster}: {path} cannot be read: {error}") from error

    async def _ask(self, verb: str, *words: str, stdin: str | None = None) -> Answer:
        argv = (*self._prefix, verb, *words)
        return self._allowed(await self._node.run(Command(argv, stdin, f"{verb} as {self._account}")))

    def _allowed(self, answer: Answer) -> Answer:
        lines = answer.stderr.strip().splitlines()
        ours = answer.exit_status == _REFUSED and bool(lines) and lines[-1].startswith(_OURS)
        if ours or (not answer.ok and _NOT_RUN.search(answer.stderr)):
            why = lines[-1].removeprefix(_OURS)[:300]
            raise AccessDenied(f"{self._cluster}: cannot act as {self._account}: {why}. {_REMEDY}")
        return answer

    def _well(self, what: str, answer: Answer) -> Answer:
        if not answer.ok:
            why = answer.stderr.strip()[-300:] or f"exit status {answer.exit_status}"
            raise Refused(f"{self._cluster}: cannot {what} as {self._account}: {why}")
        return answer

    def _json(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.stdout)
        except ValueError as error:
            raise Unreadable(f"{self._cluster}: hybrid-hpc-as answers {answer.stdout[:60]!r}") from error


def _token_and_name(path: str) -> tuple[str, str]:
    """``(hh-…, name)`` of a path in a run directory: the wrapper knows where that lies."""
    folders = path.split("/")
    token = next(
        (place for place, name in enumerate(folders) if re.fullmatch(r"hh-[a-z2-7]{12}", name)), None
    )
    if token is None:
        raise Refused(f"{path} is in no run directory")
    return folders[token], "/".join(folders[token + 1 :])


def _nothing() -> None:
    """No time-out is to begin anew: each call has its own."""
