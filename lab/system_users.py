"""System users that servers insist on when they are run as root."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab.errors import LabError

PATIENCE_S = 20.0
AGAIN_S = 0.2
REMEDY = "Make it, or run as a plain user."


def ensure(name: str, *, home: str, group: str | None = None) -> pwd.struct_passwd:
    """Give the system user of that name, made when it is missing; without a shell or a password.

    Raises `LabError` with the reason when it cannot be made.
    """
    with _one_at_a_time():
        end = time.monotonic() + PATIENCE_S
        while missing(name):
            said = _make(name, home, group)  # another program may have the password file locked
            if said and time.monotonic() > end:
                raise LabError(f"the system user {name} could not be made: {said}. {REMEDY}")
            time.sleep(AGAIN_S if said else 0)
    return pwd.getpwnam(name)


def missing(name: str) -> bool:
    """Say whether there is no user of that name."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return True
    return False


def _make(name: str, home: str, group: str | None) -> str:
    """Why it could not be made; '' when it was."""
    useradd = shutil.which("useradd") or "/usr/sbin/useradd"
    argv = [useradd, "--system", "--no-create-home", "--home-dir", home, "--shell", "/usr/sbin/nologin"]
    argv += ["--gid", group] if group else []
    try:
        made = subprocess.run([*argv, name], check=False, capture_output=True, text=True)
    except OSError as error:
        raise LabError(f"the system user {name} could not be made: {error}. {REMEDY}") from error
    return made.stderr.strip() or f"useradd ended with {made.returncode}" if made.returncode else ""


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two labs that start together would else make one user twice, with two ids: useradd does not see it."""
    place = os.open("/etc", os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)
