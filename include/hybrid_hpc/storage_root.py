"""The folder of all run directories on a head node: made, and refused when others could exchange it."""

from __future__ import annotations

import posixpath
import re
import shlex
import stat
from collections.abc import Sequence

from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.errors import Refused

_ROOT = re.compile(r"(?:(~)|\$([A-Za-z_]\w*)|\$\{([A-Za-z_]\w*)\})?((?:/.*)?)", re.ASCII)
# Sites set variables like SCRATCH in a login profile, which a command over SSH does not read by itself.
# Every folder and link on the way is told with its owner: who can exchange one can exchange a job's script.
_STORAGE = (
    'on_way() { [ -z "${1%/*}" ] || on_way "${1%/*}"; stat -c "hh-way %u %f %n" -- "$1" || exit; '
    '[ ! -L "$1" ] || behind "$1" "$(readlink -- "$1")"; }; '
    'behind() { case $2 in /*) on_way "$2";; *) on_way "${1%/*}/$2";; esac; }; '
    'umask 077; base=; [ -z "$1" ] || base=$(printenv "$1") || '
    'base=$(bash -l -c \'printenv "$0"\' "$1" | tail -n 1); '
    '[ -z "$1" ] || [ -n "$base" ] || { echo "hh-unset"; exit 0; }; '
    'mkdir -p -- "$base$2" && cd -- "$base$2" && '
    '{ case $base$2 in /*) on_way / && on_way "$base$2";; esac; } && '
    'printf "hh-storage %s %s %s\\n" "$(id -u)" "$(stat -c "%u %a" .)" "$base$2"'
)


def storage_command(root: str) -> Command:
    """Makes the folder and tells of it. Raises `Refused` for what is no absolute path."""
    found = _ROOT.fullmatch(root)
    if found is None:
        raise Refused(f"storage_root {root!r} is not absolute; start it with /, ~ or $NAME in clusters.yaml")
    home, name, braced, rest = found.groups()
    variable = "HOME" if home else name or braced or ""
    return Command(("sh", "-c", _STORAGE, "hh", variable, rest), label="storage")


def read_storage(name: str, root: str, answer: Answer) -> str:
    """The absolute path. Raises `Refused`, with the remedy, when it is not ours or others can exchange it."""
    lines = answer.stdout.splitlines()
    if "hh-unset" in lines:
        raise Refused(f"{name}: storage_root {root!r} has a variable that is not set there; write the path")
    told = [line.split(" ", 4) for line in lines if line.startswith("hh-storage ")]
    way = [line.split(" ", 3)[1:] for line in lines if line.startswith("hh-way ")]
    if not told or not answer.ok:
        why = answer.stderr.strip()[-300:] or f"exit status {answer.exit_status}"
        raise Refused(f"{name}: storage_root {root!r} cannot be made or entered: {why}")
    _, user, owner, mode, path = told[-1]
    path = posixpath.normpath(path)
    if not path.startswith("/"):
        raise Refused(f"{name}: storage_root {root!r} becomes {path!r} there, which is not absolute")
    if user != owner:
        raise Refused(f"{name}: {path} belongs to somebody else (uid {owner}); choose another storage_root")
    if int(mode, 8) & 0o022:
        remedy = f"run `chmod 700 {shlex.quote(path)}` on the head node"
        raise Refused(f"{name}: {path} can be written by others (mode {mode}); {remedy}")
    if why := _unsafe(way, user):
        raise Refused(f"{name}: {path} is not safe: {why}; or choose another storage_root")
    return path


def _unsafe(way: Sequence[Sequence[str]], user: str) -> str:
    """Why somebody else can exchange a folder or link on the way: ``[uid, mode in hex, path]`` from / on.

    In a sticky folder everybody may make something, and nobody may rename or remove what is another's.
    """
    if not way:
        return "the head node does not tell who owns the folders above it"
    trusted = {user, "0", way[0][0]}  # whoever owns / is root, under whatever number a container sees it
    for owner, digits, place in way:
        mode = int(digits, 16)
        if owner not in trusted:
            return f"{place} belongs to uid {owner}, who can exchange what is in it; give it to root"
        if not stat.S_ISLNK(mode) and mode & 0o022 and not mode & stat.S_ISVTX:
            told = f"{place} is writable for others (mode {mode & 0o7777:o})"
            return f"{told}; run `chmod go-w {shlex.quote(place)}`, or `chmod +t` where they must write"
    return ""
