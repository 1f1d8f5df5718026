"""The machines of the lab: private worlds for processes, as far as the kernel lets us make them.

Kinds, best first; the lab falls back by itself:

* 2: own host name, /etc/hosts and /srv, and the unpacked packages laid over /usr and /etc (overlay);
* 1: own host name, /etc/hosts and /srv;
* 0: nothing: all nodes share this machine's name and files. Jobs run all the same.
"""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.layout import Layout


def with_machines(lab: Layout) -> Layout:
    """Write the script ``machine`` and give the layout with the best kind of machine that works here."""
    _make_folders(lab)
    for kind in range(lab.settings.namespaces, 0, -1):
        candidate = replace(lab, namespaces=kind, loopback=True)
        _write_scripts(candidate)
        if _works(candidate):
            return candidate
    plain = replace(lab, namespaces=0, loopback=_resolves_to_loopback(lab.host))
    _write_scripts(plain)
    return plain


def shortcomings(lab: Layout) -> str | None:
    """Say in a sentence what the machines lack; None when they lack nothing."""
    if lab.namespaces == 2:
        return None
    if lab.namespaces == 1:
        return "no overlay mounts here: login shells in jobs (bash -l) do not find Slurm's commands."
    sentence = "no namespaces can be made here: all nodes have this machine's host name and files."
    if not lab.loopback:
        sentence += f" {lab.host} is not 127.0.0.1, so Slurm's daemons listen on every interface."
    return sentence


def _make_folders(lab: Layout) -> None:
    for cluster in lab.clusters:
        for part in ("home", "scratch", "projects"):
            (cluster.files / part).mkdir(parents=True, exist_ok=True)
            for folder in (cluster.files, cluster.files / part):
                folder.chmod(0o755)  # with a umask of 002 they would be no place for run directories
        _write_etc(lab, cluster.folder)


def _write_etc(lab: Layout, cluster_folder: Path) -> None:
    node_names = [cluster.parts.node_names for cluster in lab.clusters]
    heads = [cluster.parts.head for cluster in lab.clusters]
    etc = cluster_folder / "etc"
    lab.write(etc / "hosts", "hosts", host=lab.host, cluster_heads=heads, node_names=node_names)
    (etc / "slurm").mkdir(exist_ok=True)
    for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
        link = etc / "slurm" / name
        link.unlink(missing_ok=True)
        link.symlink_to(cluster_folder / name)


def _write_scripts(lab: Layout) -> None:
    inside = lab.folder / "inside"
    values: dict[str, Any] = {
        "namespaces": lab.namespaces,
        "root": os.geteuid() == 0,
        "lab_folder": lab.folder,
    }
    lab.write(lab.machine, "machine", mode=0o755, inside=inside, **values)
    lab.write(inside, "inside", packages=lab.root, **values)


def _works(lab: Layout) -> bool:
    """Try it: a project folder below /srv or /usr, for instance, would vanish behind the mounts."""
    cluster = lab.clusters[0]
    host = cluster.parts.node_names[0]
    own = 'test "$(hostname)" = "$1" && test -d /srv/scratch && getent hosts "$1"'
    argv = cluster.on_machine(host, "sh", "-c", f'{own} && test -x "$2" && test -x "$3"')
    argv += ["sh", host, str(lab.machine), lab.program("slurmd")]
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.startswith("127.0.0.1")


def _resolves_to_loopback(host: str) -> bool:
    try:
        return socket.gethostbyname(host) == "127.0.0.1"
    except OSError:
        return False
