"""Run the server alone: ``python -m lab.cyclecloud --config FILE``; docs/cyclecloud-server.md says how.

``--openapi`` prints its OpenAPI document instead, which docs/cyclecloud-openapi.json is.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from lab import certificates, processes
from lab.cyclecloud.app import create_app, described_app
from lab.cyclecloud.auth import Account
from lab.cyclecloud.cloud import Cloud
from lab.cyclecloud.config import Config, load_config, read_password
from lab.cyclecloud.machines import Processes
from lab.cyclecloud.store import Store
from lab.errors import LabError

HOST = "127.0.0.1"
PROCESS = "cyclecloud"  # its pid file's name, so that whoever ends the lab finds it


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; gives 2 and a sentence when something it needs is wrong."""
    parser = argparse.ArgumentParser(prog="python -m lab.cyclecloud", description=__doc__)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--config", type=Path, help="the server's JSON file")
    wanted.add_argument("--openapi", action="store_true", help="print the OpenAPI document and end")
    told = parser.parse_args(arguments)
    try:
        if told.openapi:
            print(json.dumps(described_app().openapi(), indent=1))
        else:
            serve(load_config(told.config))
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def serve(config: Config) -> None:
    """Serve in this thread until told to stop. Raises LabError."""
    password = read_password(config.password_file)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    with _only_one(config.folder), _listener(config.port) as listener, _registered(config.folder):
        cloud = Cloud(
            config,
            Processes(config.folder, config.vm_command),
            store=Store(config.folder / "cyclecloud-state.json"),
        )
        app = create_app(cloud, Account(config.username, password))
        settings = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=2, lifespan="on", **_tls(config)
        )
        print(f"CycleCloud listens on {_url(config, listener)}", flush=True)
        uvicorn.Server(settings).run(sockets=[listener])


def _tls(config: Config) -> dict[str, Any]:
    tls = config.tls
    if tls is None:
        return {}
    if tls.ca_file:
        certificates.make(tls.ca_file, tls.certificate_file, tls.key_file)
    for path in (tls.certificate_file, tls.key_file):
        if not path.is_file():
            raise LabError(f"the TLS file {path} is missing; name a ca_file to have all of them made.")
    return {"ssl_certfile": tls.certificate_file, "ssl_keyfile": tls.key_file}


def _url(config: Config, listener: socket.socket) -> str:
    return f"{'https' if config.tls else 'http'}://{HOST}:{listener.getsockname()[1]}"


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise LabError(f"port {port} cannot be had: {error.strerror}; choose another one.") from error


def _leave(*_: object) -> None:
    """Exit with 0: uvicorn raises the signal once more when it has shut down."""
    sys.exit(0)


@contextmanager
def _registered(folder: Path) -> Iterator[None]:
    processes.adopt(folder, PROCESS, os.getpid())
    try:
        yield
    finally:
        (folder / "pid" / f"{PROCESS}.pid").unlink(missing_ok=True)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder: two servers would take each other's VMs for orphans and end them."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cyclecloud.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LabError(f"another CycleCloud server uses {folder} already; stop it first.") from error
        yield


if __name__ == "__main__":
    sys.exit(main())
