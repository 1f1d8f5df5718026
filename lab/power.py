"""ResumeProgram, SuspendProgram and ResumeFailProgram of a Slurm that powers its own nodes, as azslurm does.

usage: python -S -E lab/power.py resume|suspend|info CONFIG HOSTLIST

Standard library only, for a fast start. CONFIG is the CycleCloud server's own configuration. What was asked
and answered is a line of JSON in ``power.log`` of its folder; the exit status is 0 when CycleCloud accepted.
``info`` writes what the first node is, as CycleCloud's prolog leaves it in a job's AdminComment.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ITEM = re.compile(r"(?:[^,\[]|\[[^\]]*\])+")
RANGE = re.compile(r"([^\[]*)\[([^\]]*)\](.*)")


def expand(hostlist: str) -> list[str]:
    """Give the names of a Slurm hostlist: ``a-[1-2],b-7`` is a-1, a-2, b-7."""
    return [name for item in ITEM.findall(hostlist) for name in _expand_item(item)]


def _expand_item(item: str) -> list[str]:
    match = RANGE.fullmatch(item)
    if match is None:
        return [item]
    prefix, ranges, suffix = match.groups()
    return [f"{prefix}{number}{suffix}" for part in ranges.split(",") for number in _numbers(part)]


def _numbers(part: str) -> list[str]:
    first, _, last = part.partition("-")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last or first) + 1)]


@dataclass(frozen=True)
class Server:
    """The CycleCloud server, asked over HTTPS with basic authentication."""

    config: Mapping[str, Any]

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Give status and text of the answer to one request about the cluster."""
        trust = ssl.create_default_context(cafile=self.config["tls"]["ca_file"])
        port = self.config["port"]
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=trust)
        text = None if body is None else json.dumps(body)
        connection.request(method, f"/clusters/{self.config['cluster']}/{path}", text, self._headers())
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")

    def nodes(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Give CycleCloud's records of those nodes that it has."""
        nodes: list[dict[str, Any]] = json.loads(self.ask("GET", "nodes")[1])["nodes"]
        return [node for node in nodes if node["Name"] in names]

    def _headers(self) -> dict[str, str]:
        password = Path(self.config["password_file"]).read_text().strip()
        token = base64.b64encode(f"{self.config['username']}:{password}".encode()).decode()
        return {"Authorization": f"Basic {token}", "Content-Type": "application/json"}


def resume(server: Server, names: Sequence[str]) -> tuple[int, str]:
    """Ask for nodes of exactly these names: one set each and no request id, as azslurm does."""
    _wait_until_gone(server, names)
    return server.ask("POST", "nodes/create", {"sets": [_node_set(server.config, name) for name in names]})


def suspend(server: Server, names: Sequence[str]) -> tuple[int, str]:
    """Shut the nodes down by their ids; those that CycleCloud does not have are done already."""
    ids = [node["NodeId"] for node in server.nodes(names)]
    return server.ask("POST", "nodes/shutdown", {"ids": ids}) if ids else (200, "nothing to shut down")


def info(server: Server, names: Sequence[str]) -> str:
    """Give what the first of the nodes is, as JSON."""
    arrays = {array["name"]: array for array in server.config["nodearrays"]}
    found = [_description(node, arrays, server.config["region"]) for node in server.nodes(names)[:1]]
    return json.dumps(found)


def _wait_until_gone(server: Server, names: Sequence[str], deadline_s: float = 30) -> None:
    """Wait for nodes of that name that are still on their way out: a name can be had once."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end and any(n["TargetState"] != "Started" for n in server.nodes(names)):
        time.sleep(0.5)


def _node_set(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    array = next(a for a in config["nodearrays"] if re.fullmatch(a["node_name"].replace("%d", r"\d+"), name))
    definition = {"machineType": array["vm_size"]}
    return {"count": 1, "nodearray": array["name"], "definition": definition, "nameFormat": name}


def _description(node: Mapping[str, Any], arrays: Mapping[str, Any], region: str) -> dict[str, Any]:
    array = arrays[node["Template"]]
    return {
        "name": node["Name"],
        "location": region,
        "vm_size": node["MachineType"],
        "spot": bool(node.get("Interruptible")),
        "nodearray": array["name"],
        "pcpu_count": array["pcpus"],
        "vcpu_count": array["vcpus"],
        "gpu_count": array["gpus"],
        "memgb": array["memory_gib"],
    }


def main(verb: str, config_file: str, hostlist: str) -> int:
    """Do what slurmctld asks for; gives the exit status."""
    config = json.loads(Path(config_file).read_text())
    server, names = Server(config), expand(hostlist)
    if verb == "info":
        print(info(server, names))
        return 0
    try:
        status, answer = (resume if verb == "resume" else suspend)(server, names)
    except (OSError, http.client.HTTPException) as error:
        status, answer = 0, repr(error)
    _log(config, {"verb": verb, "nodes": hostlist, "http": status, "answer": answer[:300]})
    return 0 if 200 <= status < 300 and not _falls_short(answer, names) else 1


def _falls_short(answer: str, names: Sequence[str]) -> bool:
    """Say whether fewer nodes were added than asked for: that too is answered with 202."""
    sets = json.loads(answer).get("sets") if answer.startswith("{") else None
    return sets is not None and sum(each["added"] for each in sets) < len(names)


def _log(config: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    with (Path(config["folder"]) / "power.log").open("a") as log:
        log.write(json.dumps({"time": round(time.time(), 3), **entry}) + "\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
