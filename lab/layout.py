"""Where everything of one running lab is: folders, ports, names. No I/O."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lab.nodes import CLUSTERS, ClusterParts
from lab.settings import LabSettings

PROJECT = Path(__file__).resolve().parent.parent
_templates = Environment(
    loader=PackageLoader("lab"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 - configuration files and shell scripts, no HTML
)
_templates.filters["quote"] = lambda value: shlex.quote(str(value))


@dataclass(frozen=True)
class Layout:
    """One lab: its folder, the unpacked packages, its ports, its user, and what kind of machines it has.

    ``namespaces`` is 2, 1 or 0 as in lab/machines.py; ``host`` is the real machine's own short name and
    ``loopback`` says whether the daemons can keep to 127.0.0.1.
    """

    folder: Path
    root: Path
    settings: LabSettings
    base_port: int
    user: str
    host: str
    namespaces: int
    loopback: bool

    @property
    def database_port(self) -> int:
        """The port of MariaDB."""
        return self.base_port

    @property
    def cyclecloud_port(self) -> int:
        """The port of the CycleCloud server."""
        return self.base_port + 1

    @property
    def cyclecloud(self) -> Path:
        """The folder of the CycleCloud server."""
        return self.folder / "cyclecloud"

    @property
    def machine(self) -> Path:
        """The script that runs a command on a machine of the lab: ``machine CLUSTER HOSTNAME COMMAND...``."""
        return self.folder / "machine"

    @property
    def path(self) -> str:
        """PATH on every machine of the lab."""
        bin_folders = [self.root / "usr/bin", self.root / "usr/sbin"]
        return ":".join([*map(str, bin_folders), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"])

    @property
    def plugins(self) -> Path:
        """Slurm's plugins."""
        return next((self.root / "usr/lib").glob("*/slurm-wlm"))

    @property
    def elastic(self) -> ClusterLayout | None:
        """The cluster whose nodes are VMs of CycleCloud; without it there is no CycleCloud."""
        return next((cluster for cluster in self.clusters if cluster.parts.elastic), None)

    @property
    def clusters(self) -> list[ClusterLayout]:
        """The clusters that the settings want: both, or the only one."""
        wanted = [parts for parts in CLUSTERS if self.settings.only in (None, parts.name)]
        return [ClusterLayout(self, parts) for parts in wanted]

    def program(self, name: str) -> str:
        """Give the path of an unpacked program."""
        found = [self.root / "usr/sbin" / name, self.root / "usr/bin" / name]
        return str(next((path for path in found if path.exists()), name))

    def daemon_environment(self) -> dict[str, str]:
        """Give the environment of the lab's daemons: nothing of the caller's leaks into jobs."""
        return {"PATH": self.path, "LANG": "C.UTF-8", "USER": self.user, "LOGNAME": self.user}

    def write(self, path: Path, template: str, *, mode: int = 0o644, **values: Any) -> None:
        """Write ``template``.j2, filled with ``values`` and ``lab`` (this layout), to ``path``."""
        text = _templates.get_template(f"{template}.j2").render(lab=self, **values)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=mode)
        path.chmod(mode)
        path.write_text(text)


@dataclass(frozen=True)
class ClusterLayout:
    """One cluster of a lab: its folder, its ports, its host names."""

    lab: Layout
    parts: ClusterParts

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.parts.name

    @property
    def folder(self) -> Path:
        """Where its daemons keep what they write."""
        return self.lab.folder / self.name

    @property
    def slurm_conf(self) -> Path:
        """Its slurm.conf; slurmdbd.conf and gres.conf lie beside it."""
        return self.folder / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        """The socket of its munged."""
        return self.folder / "munge" / "socket"

    @property
    def head(self) -> str:
        """The host name of its head node, as that machine sees it."""
        return self.parts.head if self.lab.namespaces else self.lab.host

    @property
    def database_host(self) -> str:
        """The name that slurmdbd's machine has."""
        return self.parts.head if self.lab.namespaces else "localhost"

    @property
    def files(self) -> Path:
        """The cluster's own shared file system: /srv on its machines, where they are machines."""
        return self.folder / "srv"

    @property
    def scratch(self) -> str:
        """The scratch folder, as a job sees it."""
        return "/srv/scratch" if self.lab.namespaces else str(self.files / "scratch")

    @property
    def home(self) -> str:
        """The home folder of whoever logs in, as the head node sees it."""
        return "/srv/home" if self.lab.namespaces else str(self.files / "home")

    @property
    def controller_port(self) -> int:
        """The port of slurmctld."""
        return self.lab.base_port + self.parts.daemon_port

    @property
    def accounting_port(self) -> int:
        """The port of slurmdbd."""
        return self.controller_port + 1

    @property
    def ssh_port(self) -> int:
        """The port of the head node's sshd."""
        return self.controller_port + 2

    @property
    def powers_nodes(self) -> bool:
        """Whether Slurm's own power saving makes the nodes."""
        return self.parts.elastic and self.lab.settings.scaling == "scheduler"

    def node_ports(self) -> list[str]:
        """Give the ports of each group of nodes as slurm.conf writes them: ``[26010-26013]`` or ``26014``."""
        ports, first = list[str](), self.lab.base_port + self.parts.node_port
        for nodes in self.parts.nodes:
            last = first + nodes.count - 1
            ports.append(str(first) if first == last else f"[{first}-{last}]")
            first = last + 1
        return ports

    def daemon_environment(self) -> dict[str, str]:
        """Give the environment of this cluster's daemons and of the lab's own calls to its commands."""
        return self.lab.daemon_environment() | {"SLURM_CONF": str(self.slurm_conf)}

    def on_machine(self, host: str, *command: str) -> list[str]:
        """Give the command line that runs ``command`` on one of the cluster's machines."""
        return [str(self.lab.machine), self.name, host, *command]

    def write(self, name: str, template: str, *, mode: int = 0o644, **values: Any) -> None:
        """Write ``template``.j2 to ``name`` in the cluster's folder, with ``cluster`` as a value too."""
        self.lab.write(self.folder / name, template, mode=mode, cluster=self, **values)
