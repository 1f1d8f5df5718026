"""The lab in a container: it comes up, lets its network in, and hands Airflow's containers the way to it.

``python -m lab.container SHARE``, where SHARE is a folder that Airflow's containers see as `SEEN_AS`: the key
for the head nodes, the CA of the CycleCloud server, and the connections as an environment file go there.
AIRFLOW_UID is whose these files are. TERM ends the lab.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import cloud, ssh
from lab.errors import LabError
from lab.forwarding import forward
from lab.keys import write_private
from lab.lab import Lab
from lab.layout import PROJECT, Layout

FOLDER = PROJECT / ".lab" / "box"
HOST = "lab"  # the container's name in its network; the server's certificate has it
SEEN_AS = "/opt/airflow/keys/lab"
OUTER = {"onprem": 2201, "azure": 2202, cloud.NAME: 8443}  # the ports that others see


def main() -> int:
    """Bring the lab up and serve until TERM; gives the exit status."""
    lab = Lab(FOLDER)
    try:
        layout = lab.up(lambda step: print(step, flush=True))
        share(layout, lab.connections(), Path(sys.argv[1]), _owner())
        asyncio.run(_serve(doors(layout)))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    finally:
        lab.down()
    return 0


def doors(lab: Layout) -> dict[int, int]:
    """Give the port inside by the port that others see."""
    inner = {cluster.name: cluster.ssh_port for cluster in lab.clusters}
    inner[cloud.NAME] = lab.cyclecloud_port
    return {OUTER[name]: port for name, port in inner.items()}


def share(lab: Layout, connections: Mapping[str, dict[str, Any]], folder: Path, owner: int | None) -> None:
    """Write what Airflow's containers need into the folder, for ``owner`` alone (None: whoever we are)."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / "id_ed25519", (ssh.ssh_folder(lab) / "id_ed25519").read_text())
    write_private(folder / "ca.pem", cloud.ca_file(lab).read_text())
    lines = [
        f"AIRFLOW_CONN_{name.upper()}={json.dumps(outer(name, way))}" for name, way in connections.items()
    ]
    write_private(folder / "connections.env", "\n".join(lines) + "\n")
    for path in (folder, *folder.iterdir()):
        if owner is not None:
            shutil.chown(path, owner)


def outer(name: str, way: Mapping[str, Any]) -> dict[str, Any]:
    """Give a connection of the lab as it is from another container."""
    if way["conn_type"] == cloud.NAME:
        extra = {"ca_file": f"{SEEN_AS}/ca.pem"}
        return {**way, "host": f"https://{HOST}:{OUTER[cloud.NAME]}", "extra": extra}
    extra = {**way["extra"], "key_file": f"{SEEN_AS}/id_ed25519"}
    return {**way, "host": HOST, "port": OUTER[name.removeprefix("hpc_")], "extra": extra}


def _owner() -> int | None:
    return int(os.environ["AIRFLOW_UID"]) if "AIRFLOW_UID" in os.environ else None


async def _serve(ports: Mapping[int, int]) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    # every interface: only the networks that the container is in reach it
    servers = [await forward("0.0.0.0", port, inner) for port, inner in ports.items()]  # noqa: S104
    await ended.wait()
    for server in servers:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
