"""Who PostgreSQL runs as: it refuses to run as root, so root gives it a system user of its own."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import system_users
from lab.errors import LabError

NAME = "pgserver"
_REACH = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")


@dataclass(frozen=True, slots=True)
class PostgresUser:
    """``prefix`` makes a command run as that user; ``owner`` (uid, gid) is None when it is ourselves."""

    prefix: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None

    def make_dir(self, path: Path) -> None:
        """Make a folder that only this user may enter."""
        path.mkdir(mode=0o700)
        self._give(path)

    def write(self, path: Path, text: str) -> None:
        """Write a file that only this user may read, whole or not at all."""
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        self._give(fresh)
        fresh.rename(path)

    def _give(self, path: Path) -> None:
        if self.owner is not None:
            os.chown(path, *self.owner)


def postgres_user(folder: Path, program: Path, progress: Callable[[str], None]) -> PostgresUser:
    """Give ourselves, or as root the system user ``pgserver``, which is made when it is missing.

    ``folder`` and ``program`` must be within that user's reach; where folders above them are closed to
    others (``/root``), it gets the right to pass them: no folder's mode is changed.
    """
    if os.geteuid() != 0:
        return PostgresUser()
    account = _account(progress)
    owner = (account.pw_uid, account.pw_gid)
    for extra in ((), _REACH):
        prefix = ("setpriv", f"--reuid={owner[0]}", f"--regid={owner[1]}", "--clear-groups", *extra, "--")
        if _reaches(prefix, folder, program):
            return PostgresUser(prefix, owner)
    raise LabError(
        f"the system user {NAME} cannot reach {folder} and {program}. Clone the project into a folder that "
        "every user may enter, such as /srv, or run it as a plain user."
    )


def _account(progress: Callable[[str], None]) -> pwd.struct_passwd:
    if system_users.missing(NAME):
        progress(f"PostgreSQL does not run as root: making the system user {NAME} for it")
    return system_users.ensure(NAME, home="/nonexistent")


def _reaches(prefix: tuple[str, ...], folder: Path, program: Path) -> bool:
    script = 'test -x "$1" && test -x "$2"'
    argv = [*prefix, "sh", "-c", script, "sh", str(folder), str(program)]
    try:
        return subprocess.run(argv, check=False, capture_output=True, cwd="/").returncode == 0
    except OSError as error:
        raise LabError(f"{prefix[0]} is missing (Debian's util-linux): {error.strerror}.") from error
