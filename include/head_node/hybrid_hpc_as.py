#!/usr/bin/python3 -IS
"""Does for hybrid-hpc, as the person who asked for a job, what that needs on the head node, no more.

Installed as /usr/local/libexec/hybrid-hpc-as, owned by root, and run as that person by a sudo rule that
names it alone (docs/security.md). It reads two files that only root may write: ``settings.json`` is the
site's, ``commands.json`` comes with hybrid-hpc and is the closed list of commands. What it is told is refused
unless it matches: it runs no other command, and touches no file outside the run directories of that person.

::

    run ARGV...                     a command of the list, with its values checked
    storage                         the folder of the run directories, made with mode 700
    make TOKEN                      a run directory
    write TOKEN NAME MODE BYTES     the job's script or its owner mark, from stdin, whole or not at all
    list TOKEN                      every file of a run directory, as JSON
    read TOKEN PATH FROM BYTES      a part of a file, as JSON with base64; a negative FROM counts from the end

Exit status 77: refused; 66: there is no such file. Python 3.9 or newer, nothing else.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

FOLDER = Path("/etc/hybrid-hpc")
FIRST_PERSON = 1000  # the accounts of the system have lower numbers
MOST_FILES = 100_000
MOST_BYTES = 8 * 1024**2
REFUSED, NO_FILE, CUT = 77, 66, 74

JOB = r"hh-[a-z2-7]{12}"  # the name of a job of hybrid-hpc
PATTERNS = {"{token}": JOB, "{id}": r"[0-9]{1,10}", "{bytes}": r"[0-9]{1,8}"}
NAMES = {"script", "ledger"}


class Account:
    """The person as whom this runs, and the site's settings."""

    def __init__(self, user: pwd.struct_passwd, settings: Mapping[str, Any], commands: Any) -> None:
        self.user = user
        self.path = str(settings["path"])
        self.slurm_conf = str(settings.get("slurm_conf", ""))
        self.storage = Path(str(settings["storage"]).replace("{account}", user.pw_name))
        self.commands = commands

    def environment(self) -> dict[str, str]:
        """All that a command gets; nothing of the caller's."""
        user = self.user
        known = {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "SHELL": user.pw_shell}
        conf = {"SLURM_CONF": self.slurm_conf} if self.slurm_conf else {}
        return {**known, **conf, "PATH": self.path}

    def run_dir(self, token: str) -> Path:
        """The run directory of a job."""
        if not re.fullmatch(JOB, token):
            refuse(f"{token[:40]!r} is no job's name")
        return self.storage / token


def account_in(folder: Path) -> Account:
    """The account as whom this runs, unless it is none of a person's."""
    if os.getuid() == 0 or os.getuid() != os.geteuid():
        refuse("it runs as the person, never as root")
    user, settings = pwd.getpwuid(os.getuid()), trusted_json(folder / "settings.json")
    if user.pw_uid < int(settings.get("first_uid", FIRST_PERSON)):
        refuse(f"{user.pw_name} is an account of the system")
    return Account(user, settings, trusted_json(folder / "commands.json"))


def refuse(why: str) -> NoReturn:
    """Ends, having done nothing."""
    leave(REFUSED, why)


def leave(status: int, why: str) -> NoReturn:
    """Ends with that status and a line on stderr."""
    sys.stderr.write(f"hybrid-hpc-as: {why}\n")
    sys.exit(status)


def trusted_json(path: Path) -> Any:
    """The content of a file that root alone may write."""
    for place in (path.parent, path):
        found = place.stat()
        if found.st_uid != 0 or found.st_mode & 0o022:
            refuse(f"{place} must belong to root and be writable for nobody else")
    return json.loads(path.read_text())


def run(account: Account, *argv: str) -> None:
    """Becomes a command of the list; what comes on stdin is its own."""
    if not any(fits(listed, argv, account) for listed in account.commands):
        refuse("this command is not on the list: install the head node's files of this version of hybrid-hpc")
    os.chdir(account.user.pw_dir if os.access(account.user.pw_dir, os.X_OK) else "/")
    os.execvpe(argv[0], argv, account.environment())  # noqa: S606  it is on the list, and no shell


def fits(listed: Sequence[str], argv: Sequence[str], account: Account) -> bool:
    """Whether every word is the list's own, with values where it has a place for them."""
    same_length = len(listed) == len(argv)
    return same_length and all(word_fits(*words, account) for words in zip(listed, argv))  # noqa: B905  3.9


def word_fits(known: str, word: str, account: Account) -> bool:
    """Whether a word is ``known``; a place in it is ``{token}``, ``{id}``, ``{bytes}`` or ``{run_dir}``."""
    pattern = re.escape(known)
    places = {**PATTERNS, "{run_dir}": re.escape(f"{account.storage}/") + JOB}
    for place, values in places.items():
        pattern = pattern.replace(re.escape(place), values)
    return re.fullmatch(pattern, word) is not None


def storage(account: Account) -> None:
    """Prints the folder of the run directories, which is the person's and writable for nobody else."""
    account.storage.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = account.storage.stat()
    if found.st_uid != account.user.pw_uid or found.st_mode & 0o022:
        refuse(f"{account.storage} must belong to {account.user.pw_name} and be writable for nobody else")
    sys.stdout.write(f"hh-storage {account.storage}\n")


def make(account: Account, token: str) -> None:
    """Makes a run directory; harmless when it is there."""
    account.run_dir(token).mkdir(mode=0o700, exist_ok=True)


def write(account: Account, token: str, name: str, mode: str, size: str) -> None:
    """Writes what comes on stdin beside the file and renames it, if all of it came."""
    if name not in NAMES or mode not in ("600", "700") or not re.fullmatch(r"[0-9]{1,8}", size):
        refuse(f"{name[:40]!r} is not written with mode {mode[:10]!r}")
    text = sys.stdin.buffer.read(int(size) + 1)
    if len(text) != int(size):
        leave(CUT, f"{name} did not arrive whole")
    target = account.run_dir(token) / name
    part = target.with_name(f".{name}.{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(text)
    part.chmod(int(mode, 8))
    part.replace(target)


def list_files(account: Account, token: str) -> None:
    """Prints ``[path, mode, size, target]`` of everything there; ``target``: where a link leads, inside."""
    root = account.run_dir(token).resolve()
    found = []
    for path in everything(root):
        found.append(described(path, root))
        if len(found) > MOST_FILES:
            refuse(f"there are more than {MOST_FILES} files in {token}")
    json.dump(found, sys.stdout)


def everything(root: Path) -> Iterator[Path]:
    """All below a folder; symbolic links are not followed."""
    for folder, folders, files in os.walk(root):
        yield from (Path(folder) / name for name in (*folders, *files))


def described(path: Path, root: Path) -> tuple[str, int, int, str | None]:
    """One entry; a link that leads out, or nowhere, has the size and mode of the link itself."""
    found, target = path.lstat(), None
    if stat.S_ISLNK(found.st_mode):
        real = real_path(path)
        if root in real.parents and real.exists():
            target = str(real.relative_to(root))
    return str(path.relative_to(root)), found.st_mode, found.st_size, target


def real_path(path: Path) -> Path:
    """Where a path leads; `Path.resolve` would raise for a link that leads to itself."""
    return Path(os.path.realpath(path))


def read(account: Account, token: str, path: str, start: str, size: str) -> None:
    """Prints the size of a regular file and a part of it."""
    if not re.fullmatch(r"-?[0-9]{1,15}", start) or not re.fullmatch(r"[0-9]{1,8}", size):
        refuse("these are no numbers")
    root = account.run_dir(token).resolve()
    real = real_path(root / path)
    if root not in real.parents or not real.is_file():
        leave(NO_FILE, f"{path[:200]!r} is no file in the run directory")
    with real.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        file.seek(max(length + int(start), 0) if int(start) < 0 else int(start))
        data = file.read(min(int(size), MOST_BYTES))
    json.dump({"size": length, "data": base64.b64encode(data).decode()}, sys.stdout)


VERBS: dict[str, Callable[..., None]] = {
    "run": run,
    "storage": storage,
    "make": make,
    "write": write,
    "list": list_files,
    "read": read,
}


def main(argv: Sequence[str], folder: Path = FOLDER) -> None:
    """Does what the first word says with the others."""
    verb = VERBS.get(argv[0]) if argv else None
    words = {"run": range(1, 50), "storage": [0], "make": [1], "write": [4], "list": [1], "read": [4]}
    if verb is None or len(argv) - 1 not in words[argv[0]]:
        refuse("it takes run, storage, make, write, list or read, with their words")
    verb(account_in(folder), *argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
