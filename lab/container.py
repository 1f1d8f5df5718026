"""One of the lab's clusters in a container: it comes up, lets its network in, and hands over the way to it.

``python -m lab.container run CLUSTER SHARE``, where SHARE is a folder of this cluster alone, which Airflow's
containers see as `SEEN_AS`: the key for the head node, the CA of the CycleCloud server, and the connections
as an environment file go there. AIRFLOW_UID is whose these files are. TERM ends the cluster.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from lab import cloud, processes, ssh
from lab.errors import LabError
from lab.forwarding import forward
from lab.keys import write_private
from lab.lab import Lab
from lab.layout import PROJECT, Layout
from lab.owner import interruptible, undisturbed
from lab.settings import ClusterName, LabSettings

SEEN_AS = "/opt/airflow/keys/lab-{cluster}"
SSH_PORT, HTTPS_PORT = 22, 443  # that others see

app = typer.Typer(
    help="One of the lab's clusters in a container.", no_args_is_help=True, add_completion=False
)

Cluster = Annotated[ClusterName, typer.Argument(help="onprem, or azure with its CycleCloud server")]
Folder = Annotated[Path, typer.Option(help="Where the running cluster keeps what it writes.")]
HERE = PROJECT / ".lab" / "box"


@app.command()
def run(
    cluster: Cluster,
    into: Annotated[Path, typer.Argument(metavar="SHARE", help="Where the way to it is written.")],
    folder: Folder = HERE,
) -> None:
    """Bring the cluster up, hand over the way to it, and serve until TERM."""
    lab = _lab(cluster, folder)
    with interruptible(), suppress(KeyboardInterrupt):
        try:
            layout = lab.up(lambda step: print(step, flush=True))
            share(layout, lab.connections(), into, _owner())
            asyncio.run(_serve(doors(layout)))
        except LabError as error:
            print(f"lab: {error}", file=sys.stderr)
            raise typer.Exit(1) from error
        finally:
            with undisturbed():
                lab.down()


@app.command()
def check(cluster: Cluster, folder: Folder = HERE) -> None:
    """Say by the exit status whether the cluster is well: all of it runs, and its doors are open.

    They open last: whoever waits for this finds the way to the cluster handed over.
    """
    lab = _lab(cluster, folder)
    well = lab.is_up() and all(map(processes.listens, doors(lab.layout)))
    raise typer.Exit(0 if well else 1)


def doors(lab: Layout) -> dict[int, int]:
    """Give the port inside by the port that others see."""
    (cluster,) = lab.clusters
    return {SSH_PORT: cluster.ssh_port} | ({HTTPS_PORT: lab.cyclecloud_port} if lab.elastic else {})


def share(lab: Layout, connections: Mapping[str, dict[str, Any]], folder: Path, owner: int | None) -> None:
    """Write what Airflow's containers need into the folder, for ``owner`` alone (None: whoever we are)."""
    (cluster,) = lab.clusters
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # an engine makes a folder that it mounts for everybody to read
    write_private(folder / "id_ed25519", (ssh.ssh_folder(lab) / "id_ed25519").read_text())
    if lab.elastic:
        write_private(folder / "ca.pem", cloud.ca_file(lab).read_text())
    ways = {name: json.dumps(outer(cluster.name, way)) for name, way in connections.items()}
    lines = [f"AIRFLOW_CONN_{name.upper()}={way}\n" for name, way in ways.items()]
    write_private(folder / "connections.env", "".join(lines))
    for path in (folder, *folder.iterdir()):
        if owner is not None:
            shutil.chown(path, owner)


def outer(cluster: str, way: Mapping[str, Any]) -> dict[str, Any]:
    """Give a connection of a cluster as it is from another container, where its name is the cluster's."""
    seen_as = SEEN_AS.format(cluster=cluster)
    if way["conn_type"] == cloud.NAME:
        return {**way, "host": f"https://{cluster}:{HTTPS_PORT}", "extra": {"ca_file": f"{seen_as}/ca.pem"}}
    extra = {**way["extra"], "key_file": f"{seen_as}/id_ed25519"}
    return {**way, "host": cluster, "port": SSH_PORT, "extra": extra}


def _lab(cluster: ClusterName, folder: Path) -> Lab:
    return Lab(folder, LabSettings(only=cluster))


def _owner() -> int | None:
    return int(os.environ["AIRFLOW_UID"]) if "AIRFLOW_UID" in os.environ else None


async def _serve(ports: Mapping[int, int]) -> None:
    # every interface: only the networks that the container is in reach it
    for port, inner in ports.items():
        await forward("0.0.0.0", port, inner)  # noqa: S104
    await asyncio.Event().wait()


if __name__ == "__main__":
    app()
