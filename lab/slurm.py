"""One Slurm cluster of the lab: munged, slurmdbd, slurmctld, its accounts and its nodes.

How nodes come and go where Slurm has no power saving (``scaling: cyclecloud``), as measured:

* A node without a VM is DOWN. Jobs for it are taken and stay PENDING, with the reason ``Nodes required for
  job are DOWN, ...`` or ``ReqNodeNotAvail, UnavailableNodes:...``; ``sbatch --test-only`` fails, so it says
  nothing about such a cluster.
* When its slurmd registers, the node is IDLE by itself (ReturnToService=2); the job runs 0.2 to 0.5 s later.
* To let a node go: ``state=drain``; when it is IDLE+DRAIN, have CycleCloud terminate it; then ``state=down``
  and ``state=undrain`` (down alone keeps DRAIN). The next VM of that name is IDLE by itself. ``state=resume``
  instead makes it IDLE without a VM, and a job may be sent there.
* A VM that vanishes is noticed after SlurmdTimeout to twice that; its job is NODE_FAIL and pends again.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import database, processes, vm
from lab.errors import LabError
from lab.keys import write_private
from lab.layout import PROJECT, ClusterLayout

ACCOUNTS = ("proj-alpha", "proj-beta")
DEVICES = ("null", "zero", "full", "random")


def configure(cluster: ClusterLayout) -> None:
    """Write the cluster's configuration and make the folders that its daemons want."""
    for part in ("state", "pid", "dev", "munge"):
        (cluster.folder / part).mkdir(parents=True, exist_ok=True)
    (cluster.lab.folder / "spool").mkdir(exist_ok=True)
    cluster.write("slurm.conf", "slurm.conf", ports=cluster.node_ports())
    cluster.write("slurmdbd.conf", "slurmdbd.conf", mode=0o600, password=database.password(cluster.lab))
    cluster.write("gres.conf", "gres.conf")
    cluster.write("cgroup.conf", "cgroup.conf")
    for number, device in enumerate(DEVICES):
        _link(cluster.folder / "dev" / f"nvidia{number}", Path("/dev") / device)
    if cluster.powers_nodes:
        _write_power_programs(cluster)


def start_munge(cluster: ClusterLayout) -> None:
    """Start the cluster's munged; all its nodes share it. Does not wait."""
    folder, name = cluster.folder / "munge", f"{cluster.name}-munged"
    if processes.alive(cluster.lab.folder, name):
        return
    if not (folder / "key").is_file():
        write_private(folder / "key", secrets.token_hex(64))
    for stale in folder.glob("socket*"):
        stale.unlink()
    argv = [
        cluster.lab.program("munged"),
        "--foreground",
        "--num-threads=4",
        f"--socket={cluster.munge_socket}",
    ]
    argv += [f"--key-file={folder}/key", f"--pid-file={folder}/pid", f"--seed-file={folder}/seed"]
    # --force: a home folder of mode 700 above the socket is no obstacle where all run as one user
    argv += ["--force", f"--log-file={cluster.lab.folder}/log/{name}.munge.log"]
    processes.start(cluster.lab.folder, name, argv, env=cluster.lab.daemon_environment())


def wait_for_munge(cluster: ClusterLayout) -> None:
    """Wait until munged answers."""
    argv = [cluster.lab.program("munge"), f"--socket={cluster.munge_socket}", "--no-input"]
    log = cluster.lab.folder / "log" / f"{cluster.name}-munged.munge.log"
    processes.wait_until(
        lambda: subprocess.run(argv, capture_output=True, check=False).returncode == 0,
        deadline_s=10,
        what=f"{cluster.name}'s munged",
        log=log,
    )


def forget_nodes(cluster: ClusterLayout) -> None:
    """Have slurmctld start with the nodes as slurm.conf has them, for a cluster none of whose nodes runs.

    Else it would go on counting on them, and on the jobs that ran there; so it requeues these jobs at once.
    """
    processes.stop(cluster.lab.folder, f"{cluster.name}-slurmctld")
    for file in (cluster.folder / "state").glob("node_state*"):
        file.unlink()


def start_daemon(cluster: ClusterLayout, program: str, port: int) -> None:
    """Start ``slurmdbd`` or ``slurmctld`` on the head node. Does not wait."""
    name = f"{cluster.name}-{program}"
    if processes.alive(cluster.lab.folder, name):
        return
    processes.require_free_port(port)
    argv = cluster.on_machine(cluster.parts.head, cluster.lab.program(program), "-D")
    processes.start(cluster.lab.folder, name, argv, env=cluster.daemon_environment())


def wait_for_daemon(cluster: ClusterLayout, program: str, port: int) -> None:
    """Wait until it listens; raises LabError with the end of its log when it ends before."""
    processes.wait_for_port(cluster.lab.folder, f"{cluster.name}-{program}", port)


def add_accounts(cluster: ClusterLayout) -> None:
    """Make the accounts and give them to the user; without them a job's account is empty in sacct."""
    user = cluster.lab.user
    if set(_accounts_of(cluster, user)) >= set(ACCOUNTS):
        return
    where = f"Cluster={cluster.name}"
    _sacctmgr(cluster, "add", "account", *ACCOUNTS, where, "Organization=lab", "Description=lab")
    accounts = f"Account={','.join(ACCOUNTS)}"
    _sacctmgr(cluster, "add", "user", user, accounts, f"DefaultAccount={ACCOUNTS[0]}", where)
    processes.wait_until(
        lambda: set(_accounts_of(cluster, user)) >= set(ACCOUNTS), deadline_s=10, what="Slurm's accounts"
    )


def has_nodes(cluster: ClusterLayout) -> bool:
    """Say whether any node of a cluster runs whose nodes are always there."""
    names = [f"{cluster.name}-{name}" for name in cluster.parts.node_names]
    return any(processes.alive(cluster.lab.folder, name) for name in names)


def start_nodes(cluster: ClusterLayout) -> None:
    """Start the nodes of a cluster whose nodes are always there. Does not wait.

    Each is a VM too, without a boot: job steps leave slurmd's family, and would outlive their node.
    """
    for name in cluster.parts.node_names:
        argv = [sys.executable, "-S", vm.__file__, name, "0", "--"]
        argv += cluster.on_machine(name, *slurmd(cluster, name))
        env = cluster.daemon_environment()
        processes.start(cluster.lab.folder, f"{cluster.name}-{name}", argv, env=env)


def wait_for_nodes(cluster: ClusterLayout) -> None:
    """Wait until every node of the cluster has registered."""
    wanted = len(cluster.parts.node_names)
    log = cluster.lab.folder / "log" / f"{cluster.name}-slurmctld.log"
    processes.wait_until(
        lambda: len(_nodes_in_service(cluster)) >= wanted,
        deadline_s=30,
        what=f"the {wanted} nodes of {cluster.name}",
        log=log,
    )


def slurmd(cluster: ClusterLayout, name: str) -> list[str]:
    """Give slurmd's command line; the path of slurmstepd must be told, it is not where it was built for.

    ``-b`` says that the node has booted, not only slurmd: a job that ran there before is lost, and a node
    that was asked for has come.
    """
    lab = cluster.lab
    return [lab.program("slurmd"), "-b", "-D", "-N", name, "-d", lab.program("slurmstepd")]


def ask(cluster: ClusterLayout, *command: str) -> str:
    """Give what one of Slurm's own commands writes, asked without ssh. Raises LabError with its words."""
    argv = [cluster.lab.program(command[0]), *command[1:]]
    answer = subprocess.run(
        argv, env=cluster.daemon_environment(), capture_output=True, text=True, check=False, timeout=60
    )
    if answer.returncode != 0:
        words = answer.stderr.strip() or answer.stdout.strip()
        raise LabError(f"{' '.join(command)} failed on {cluster.name}: {words}")
    return answer.stdout


def _write_power_programs(cluster: ClusterLayout) -> None:
    values = {
        "python": sys.executable,
        "program": PROJECT / "lab" / "power.py",
        "cloud_config": cluster.lab.cyclecloud / "config.json",
    }
    for name, verb in (("resume", "resume"), ("suspend", "suspend"), ("resume_fail", "suspend")):
        cluster.write(name, "power", mode=0o755, verb=verb, **values)
    cluster.write("prolog", "prolog", mode=0o755, **values)


def _link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _accounts_of(cluster: ClusterLayout, user: str) -> Sequence[str]:
    show = ("show", "associations", f"user={user}", f"cluster={cluster.name}", "format=account")
    return ask(cluster, "sacctmgr", "-n", "-P", *show).split()


def _sacctmgr(cluster: ClusterLayout, *words: str) -> None:
    try:
        ask(cluster, "sacctmgr", "-i", "-Q", *words)
    except LabError as error:
        if "Nothing new added" not in str(error):  # a first start that was interrupted had added it
            raise


def _nodes_in_service(cluster: ClusterLayout) -> set[str]:
    try:
        return set(ask(cluster, "sinfo", "-h", "-N", "-t", "idle,alloc,mix", "-o", "%N").split())
    except LabError:
        return set()
