"""The networks of docker-compose.yaml without an engine, of what the kernel has and an engine uses, too.

Each service is a world of its own (network, processes, host name, mounts), each network a bridge. Who shares
a network knows the other's name and reaches it; there is no other way, and none out. Nothing of it has a
name or an address outside, and all of it ends with its processes, which end with this one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any

WORLD = ("unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
BEGIN = 'hostname "$1" && ip link set lo up && mount --bind "$2" /etc/hosts && echo up && read -r _ && '
# What an engine leaves to root in a container by itself.
CAPABILITIES = (
    "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,"
    "+sys_chroot,+mknod,+audit_write,+setfcap"
)
AS_IN_A_CONTAINER = ("setpriv", "--inh-caps=-all", f"--bounding-set={CAPABILITIES}")


def why_not() -> str | None:
    """Say in a sentence what this machine lacks for it; None when nothing."""
    if os.geteuid() != 0:
        return "network namespaces with addresses of their own are made by root only"
    if missing := [tool for tool in ("ip", "unshare", "nsenter", "setpriv") if shutil.which(tool) is None]:
        return f"missing: {', '.join(missing)} (Debian's packages iproute2 and util-linux)"
    bridge = [*WORLD, "ip", "link", "add", "probe", "type", "bridge"]
    probe = subprocess.run(bridge, capture_output=True, text=True, check=False)
    return f"no namespaces with a bridge: {probe.stderr.strip()}" if probe.returncode else None


@dataclass(frozen=True)
class Container:
    """One service's world, and the program that runs there."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def first(self) -> int:
        """The pid of its first process, as it is outside."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command there, as ``docker compose exec`` does."""
        argv = ["nsenter", f"--target={self.first}", "--net", "--uts", "--mount", "--pid", *command]
        return subprocess.run(
            argv, env=os.environ | env, capture_output=True, text=True, timeout=60, check=False
        )

    def stop(self) -> int:
        """Tell it to end, as ``docker stop`` does; gives its exit status."""
        os.kill(self.first, SIGTERM)
        return self.process.wait(60)


@dataclass(frozen=True)
class Networks:
    """Which of the services are in which network, by docker-compose.yaml."""

    members: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, file: Mapping[str, Any], services: Sequence[str]) -> Networks:
        """Read them from the file's content, for these services."""
        theirs = {name: file["services"][name].get("networks", ["default"]) for name in services}
        return cls({name: [each for each in services if name in theirs[each]] for name in file["networks"]})

    def address(self, network: str, service: str) -> str:
        """Give a service's address in a network."""
        number = list(self.members).index(network)
        return f"10.77.{number}.{self.members[network].index(service) + 2}"

    def addresses(self, service: str) -> list[str]:
        """Give all addresses of a service."""
        return [self.address(name, service) for name, members in self.members.items() if service in members]

    def hosts(self, service: str) -> str:
        """Give the names that a service knows, its own too, as /etc/hosts has them."""
        near = [name for name, members in self.members.items() if service in members]
        known = [(self.address(name, each), each) for name in near for each in self.members[name]]
        return "".join(f"{address} {name}\n" for address, name in [("127.0.0.1", "localhost"), *known])


@contextmanager
def running(
    networks: Networks, programs: Mapping[str, Sequence[str]], folder: Path, **env: str
) -> Iterator[dict[str, Container]]:
    """Give the services' containers, each of which has begun its program; at the end all are gone."""
    with ExitStack() as stack:
        switch = stack.enter_context(_container("switch", "", ["sleep", "infinity"], folder, env))
        containers = {
            name: stack.enter_context(_container(name, networks.hosts(name), program, folder, env))
            for name, program in programs.items()
        }
        for number, (network, members) in enumerate(networks.members.items()):
            bridge = f"network{number}"
            _ip(switch, "link", "add", bridge, "type", "bridge")
            _ip(switch, "link", "set", bridge, "up")
            for member in members:
                _plug_in(switch, bridge, containers[member], networks.address(network, member))
        for container in (switch, *containers.values()):
            print(file=container.process.stdin, flush=True)
        yield containers


@contextmanager
def _container(
    name: str, hosts: str, program: Sequence[str], folder: Path, env: Mapping[str, str]
) -> Iterator[Container]:
    hosts_file, log = folder / f"{name}.hosts", folder / f"{name}.log"
    hosts_file.write_text(hosts)
    script = f'{BEGIN} shift 2 && exec "$@" >"$LOG" 2>&1'
    # should these tests be killed, it is killed, too
    argv = ["setpriv", "--pdeathsig=KILL", *WORLD, "sh", "-c", script, "sh", name, str(hosts_file)]
    process = subprocess.Popen(
        [*argv, *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | env | {"LOG": str(log)},
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        yield Container(process, log)
    finally:
        process.kill()
        process.communicate()


def _plug_in(switch: Container, bridge: str, container: Container, address: str) -> None:
    port = f"port{address.replace('.', '')}"
    other_end = ("peer", "name", bridge, "netns", str(container.first))
    _ip(switch, "link", "add", port, "type", "veth", *other_end)
    _ip(switch, "link", "set", port, "master", bridge, "up")
    _ip(container, "address", "add", f"{address}/24", "dev", bridge)
    _ip(container, "link", "set", bridge, "up")


def _ip(container: Container, *words: str) -> None:
    argv = ["nsenter", f"--target={container.first}", "--net", "ip", *words]
    subprocess.run(argv, check=True, capture_output=True, text=True)
