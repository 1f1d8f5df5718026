"""Real users of one lab: the account that Airflow logs in to, and two people as whom their jobs run.

Only for a lab that is run by root, on a machine whose namespaces have the unpacked sudo in /usr
(lab/machines.py, kind 2). The users exist for as long as the context of `made` lasts.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.layout import PROJECT

HEAD_NODE = PROJECT / "include" / "head_node"
WRAPPER = "/etc/hybrid-hpc/hybrid-hpc-as"  # /usr is laid over; /etc is each cluster's own
PAM = "auth required pam_deny.so\naccount required pam_permit.so\nsession required pam_permit.so\n"


@dataclass(frozen=True, slots=True)
class People:
    """The names of the users and of the group whose members `hybrid-hpc-as` may be run as."""

    service: str
    ada: str
    bob: str
    group: str

    @property
    def storage(self) -> str:
        """Where each account's run directories are, as the machines see it."""
        return "/srv/scratch/{account}/hybrid-hpc"


def why_not() -> str:
    """Why this machine cannot have them, in words; '' when it can."""
    if os.geteuid() != 0:
        return "only root can make users, and run jobs as them"
    if not Path("/usr/bin/python3").exists():
        return "hybrid-hpc-as needs /usr/bin/python3"
    closed = [str(folder) for folder in PROJECT.parents if not folder.stat().st_mode & 0o001]
    return f"other users cannot enter {closed[0]}" if closed else ""


@contextmanager
def made() -> Iterator[People]:
    """Make the users and the group; remove them in the end. Raises LabError when they cannot be made."""
    _remove_those_of_the_dead()
    mark = os.getpid()
    people = People(f"hhs{mark}", f"hha{mark}", f"hhb{mark}", f"hhg{mark}")
    try:
        _run("groupadd", people.group)
        _add(people.service)
        for name in (people.ada, people.bob):
            _add(name, "--groups", people.group)
        yield people
    finally:
        for name in (people.service, people.ada, people.bob):
            _run("userdel", name, check=False)
        _run("groupdel", people.group, check=False)


def _remove_those_of_the_dead() -> None:
    """Test runs that were killed: the pid in the names is nobody's any more."""
    users = [user.pw_name for user in pwd.getpwall() if re.fullmatch(r"hh[sab][0-9]+", user.pw_name)]
    groups = [group.gr_name for group in grp.getgrall() if re.fullmatch(r"hhg[0-9]+", group.gr_name)]
    for program, names in (("userdel", users), ("groupdel", groups)):
        for name in names:
            if not Path(f"/proc/{name[3:]}").exists():
                _run(program, name, check=False)


def install(people: People, folder: Path, cluster: str) -> None:
    """Put into a cluster of the lab in ``folder`` what an administrator does; before the lab comes up."""
    etc = folder / cluster / "etc"
    files = {
        "hybrid-hpc/settings.json": (HEAD_NODE / "settings.json").read_text(),
        "hybrid-hpc/commands.json": (HEAD_NODE / "commands.json").read_text(),
        "hybrid-hpc/hybrid-hpc-as": (HEAD_NODE / "hybrid_hpc_as.py").read_text(),
        "pam.d/sudo": PAM,
        "sudoers": _sudoers(people),
    }
    files["hybrid-hpc/settings.json"] = files["hybrid-hpc/settings.json"].replace(
        "/scratch/", "/srv/scratch/"
    )
    for name, text in files.items():
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        (etc / name).write_text(text)
    (etc / "hybrid-hpc/hybrid-hpc-as").chmod(0o755)
    (etc / "sudoers").chmod(0o440)
    for name in (people.service, people.ada, people.bob):
        _make_scratch(folder / cluster / "srv" / "scratch" / name, name)


def _sudoers(people: People) -> str:
    """The rule that is shipped, with the names of this lab; syslog is somebody else's here."""
    rule = (HEAD_NODE / "sudoers").read_text().replace("%hpc-people", f"%{people.group}")
    rule = rule.replace("/usr/local/libexec/hybrid-hpc-as", WRAPPER)
    return "Defaults !syslog\n" + rule.replace("hybrid-hpc ALL", f"{people.service} ALL").replace(
        "Defaults:hybrid-hpc ", f"Defaults:{people.service} "
    )


def _make_scratch(path: Path, owner: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    user = pwd.getpwnam(owner)
    os.chown(path, user.pw_uid, user.pw_gid)
    path.chmod(0o755)


def _add(name: str, *options: str) -> None:
    """A password that nobody can type; with '!' sshd would take the account for a locked one."""
    _run(
        "useradd",
        "--no-create-home",
        "--home-dir",
        "/",
        "--shell",
        "/bin/bash",
        "--password",
        "*",
        *options,
        name,
    )


def _run(program: str, *arguments: str, check: bool = True) -> None:
    argv = [shutil.which(program) or f"/usr/sbin/{program}", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise LabError(f"{program} failed: {done.stderr.strip()}")
