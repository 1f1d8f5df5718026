"""The head nodes' doors: one sshd each, with keys, known hosts and a configuration for the ssh client."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab import processes, system_users
from lab.errors import LabError
from lab.layout import ClusterLayout, Layout
from lab.packages import Progress
from lab.proc import MARK

PRIVILEGE_SEPARATION = Path("/run/sshd")


def configure(lab: Layout, progress: Progress) -> None:
    """Make the keys and write the configuration of both sides. Raises LabError when ssh-keygen is missing."""
    folder = ssh_folder(lab)
    folder.mkdir(exist_ok=True)
    for name in ("id_ed25519", *(f"host_{cluster.name}" for cluster in lab.clusters)):
        _make_key(folder / name)
    # What a key may do is said where it is accepted: commands and files, from here, and no forwarding.
    public_key = (folder / "id_ed25519.pub").read_text()
    (folder / "authorized_keys").write_text(f'from="127.0.0.1",restrict {public_key}')
    lines = [f"[127.0.0.1]:{cluster.ssh_port} {host_key(cluster)}\n" for cluster in lab.clusters]
    (folder / "known_hosts").write_text("".join(lines))
    lab.write(folder / "config", "ssh_config", ssh=folder)
    for cluster in lab.clusters:
        cluster.write("sshd.conf", "sshd.conf", ssh=folder, mark=MARK)
    if os.geteuid() == 0:
        _satisfy_sshd_as_root(progress)


def start(cluster: ClusterLayout) -> None:
    """Start the sshd of a cluster's head node. Does not wait."""
    lab, name = cluster.lab, f"{cluster.name}-sshd"
    if processes.alive(lab.folder, name):
        return
    processes.require_free_port(cluster.ssh_port)
    argv = [lab.program("sshd"), "-D", "-e", "-f", str(cluster.folder / "sshd.conf")]
    env = lab.daemon_environment()
    processes.start(lab.folder, name, cluster.on_machine(cluster.parts.head, *argv), env=env)


def wait(cluster: ClusterLayout) -> None:
    """Wait until sshd listens; raises LabError with the end of its log."""
    processes.wait_for_port(cluster.lab.folder, f"{cluster.name}-sshd", cluster.ssh_port)


def ssh_folder(lab: Layout) -> Path:
    """Give the folder with the keys, ``known_hosts`` and ``config``, which ``ssh -F`` takes."""
    return lab.folder / "ssh"


def host_key(cluster: ClusterLayout) -> str:
    """Give the public host key of a head node: type and key, as known_hosts has them."""
    text = (ssh_folder(cluster.lab) / f"host_{cluster.name}.pub").read_text()
    return " ".join(text.split()[:2])


def _make_key(path: Path) -> None:
    if path.is_file():
        return
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        raise LabError("ssh-keygen is missing; install Debian's package openssh-client.")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True)


def _satisfy_sshd_as_root(progress: Progress) -> None:
    """Make what sshd insists on when it runs as root: a user of its own and a folder in /run."""
    if _shadow_password("root").startswith("!"):
        raise LabError("sshd refuses root, whose password is locked; run the lab as a plain user instead.")
    if system_users.missing("sshd"):
        progress("making the system user 'sshd', which sshd wants when it is run as root")
    system_users.ensure("sshd", home=str(PRIVILEGE_SEPARATION), group="nogroup")
    if not PRIVILEGE_SEPARATION.is_dir():
        progress(f"making {PRIVILEGE_SEPARATION}, which sshd wants when it is run as root")
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)


def _shadow_password(user: str) -> str:
    lines = Path("/etc/shadow").read_text().splitlines()
    return next((line.split(":")[1] for line in lines if line.startswith(f"{user}:")), "")
