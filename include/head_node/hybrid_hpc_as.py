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
    list TOKEN below|here           every file of a run directory, or those in no folder of it, as JSON
    read TOKEN PATH FROM BYTES      a part of a file, as JSON with base64; a negative FROM counts from the end

Exit status 77: refused; 66: there is no such file; 65: there are too many; 73: a folder cannot be made or
entered; 74: not all of it came. Python 3.9 or newer, nothing else.

Whoever can exchange a folder above a run directory can exchange the job's script, which runs as the person.
So the way there is gone step by step from /, and all that lies on it must be root's or the person's.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pwd
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

FOLDER = Path("/etc/hybrid-hpc")
FIRST_PERSON = 1000  # the accounts of the system have lower numbers
MOST_FILES = 100_000
MOST_SECONDS = 20.0  # who asks waits 30
MOST_BYTES = 8 * 1024**2
REFUSED, NO_FILE, TOO_MANY, CUT, NO_FOLDER = 77, 66, 65, 74, 73
PASS = os.O_PATH | os.O_NOFOLLOW  # what must not be read is passed through all the same

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
    own_folder(account, account.storage, make=True)
    sys.stdout.write(f"hh-storage {account.storage}\n")


def make(account: Account, token: str) -> None:
    """Makes a run directory; harmless when it is there."""
    own_folder(account, account.run_dir(token), make=True)


def own_folder(account: Account, path: Path, *, make: bool = False) -> int:
    """A folder that nobody else can exchange or write in."""
    try:
        folder = opened(account, path, make=make)
    except OSError as error:
        leave(NO_FOLDER, f"{path} cannot be made or entered: {error.strerror} ({error.filename})")
    found = os.fstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        leave(NO_FOLDER, f"{path} is no folder")
    if found.st_uid != account.user.pw_uid or found.st_mode & 0o022:
        refuse(f"{path} must belong to {account.user.pw_name} and be writable for nobody else: chmod go-w")
    return folder


def opened(account: Account, path: Path, *, make: bool = False) -> int:
    """A folder at the end of a way that is `safe`; what is missing on it is made with mode 700 if ``make``.

    It is gone by descriptors: what was looked at is what is entered, whatever is renamed meanwhile.
    """
    if path == path.parent:
        return safe(account, os.open("/", PASS))
    above = opened(account, path.parent, make=make)
    folder = safe(account, entered(above, path.name, make=make))
    os.close(above)
    if not stat.S_ISLNK(os.fstat(folder).st_mode):
        return folder
    target = os.readlink("", dir_fd=folder)
    os.close(folder)
    return opened(account, path.parent / target, make=make)


def entered(above: int, name: str, *, make: bool) -> int:
    """What has that name in a folder; a link itself."""
    try:
        return os.open(name, PASS | os.O_DIRECTORY, dir_fd=above)  # it is mounted only when asked for as one
    except NotADirectoryError:
        return os.open(name, PASS, dir_fd=above)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    return entered(above, name, make=False)


def safe(account: Account, place: int) -> int:
    """A folder or link in which, or instead of which, nobody else can put anything; all others are refused.

    In a sticky folder everybody may make something, and nobody may rename or remove what is another's.
    """
    found, person = os.fstat(place), account.user
    name = str(Path(f"/proc/self/fd/{place}").readlink())[-120:]
    danger = f"who could have other code run as {person.pw_name}"
    if found.st_uid not in (0, person.pw_uid):
        refuse(f"{name} belongs to {owner_of(found)}, {danger}: remove it, or give it to root")
    shared = not stat.S_ISLNK(found.st_mode) and found.st_mode & 0o022
    if shared and not found.st_mode & stat.S_ISVTX:
        mode = f"{stat.S_IMODE(found.st_mode):o}"
        refuse(f"{name} is writable for others (mode {mode}), {danger}: chmod go-w it, or chmod +t")
    return place


def owner_of(found: os.stat_result) -> str:
    """The name of an owner; the number when it has none."""
    try:
        return pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        return f"uid {found.st_uid}"


def write(account: Account, token: str, name: str, mode: str, size: str) -> None:
    """Writes what comes on stdin beside the file and renames it, if all of it came."""
    if name not in NAMES or mode not in ("600", "700") or not re.fullmatch(r"[0-9]{1,8}", size):
        refuse(f"{name[:40]!r} is not written with mode {mode[:10]!r}")
    folder, part = own_folder(account, account.run_dir(token)), f".{name}.{os.getpid()}.part"
    text = sys.stdin.buffer.read(int(size) + 1)
    if len(text) != int(size):
        leave(CUT, f"{name} did not arrive whole")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(part, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(text)
        os.fchmod(file.fileno(), int(mode, 8))
    os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)


def looked_into(account: Account, token: str) -> Path:
    """A run directory that is read; its storage may be gone, but not be somebody else's."""
    try:
        os.close(opened(account, account.storage))
    except FileNotFoundError:
        leave(NO_FILE, f"{account.storage} is not there")
    return account.run_dir(token).resolve()


def list_files(account: Account, token: str, depth: str) -> None:
    """Prints ``[path, mode, size, target]`` of everything there; ``target``: where a link leads, inside."""
    if depth not in ("below", "here"):
        refuse(f"{depth[:10]!r} is neither below nor here")
    root, until, found = looked_into(account, token), time.monotonic() + MOST_SECONDS, []
    for path in everything(root) if depth == "below" else here(root):
        found.append(described(path, root))
        if len(found) > MOST_FILES:
            leave(TOO_MANY, f"there are more than {MOST_FILES} files in {token}")
        if time.monotonic() > until:
            leave(TOO_MANY, f"there are too many files in {token} to look through in {MOST_SECONDS:.0f} s")
    json.dump(found, sys.stdout)


def here(root: Path) -> Iterator[Path]:
    """What is in a folder, and where its links lead: those are asked for, too."""
    for path in root.iterdir() if root.is_dir() else ():
        yield path
        real = real_path(path) if path.is_symlink() else path
        if root in real.parents and real.parent != root and real.exists():
            yield real


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
    root = looked_into(account, token)
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
    words = {"run": range(1, 50), "storage": [0], "make": [1], "write": [4], "list": [2], "read": [4]}
    if verb is None or len(argv) - 1 not in words[argv[0]]:
        refuse("it takes run, storage, make, write, list or read, with their words")
    verb(account_in(folder), *argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
