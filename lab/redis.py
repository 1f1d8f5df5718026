"""Debian's Redis in a folder: on loopback only, with a password. It carries the messages of Celery.

It keeps nothing on disk. What was in it when it ended is lost, and Airflow sends it again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from lab import packages, processes
from lab.keys import write_private

Progress = Callable[[str], None]

HOST = "127.0.0.1"
NAME = "redis"  # of the process
CONFIG = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
save ""
appendonly no
daemonize no
# else Redis writes its title over the environment by which a left-over is found
set-proc-title no
"""


class Redis:
    """The server of one folder, made of the packages in ``<packages>/root``.

    Its password is in its configuration, of mode 600. Everything may be called again at any time.
    """

    def __init__(self, folder: Path, port: int, *, packages: Path) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.packages = packages

    def up(self, progress: Progress = lambda _: None) -> None:
        """Start the server, and wait until it listens; when it runs on another port, it moves.

        Raises LabError with the end of its log, and what to do.
        """
        file = self.folder / "redis.conf"
        if not file.is_file() or file.read_text() != self._config:
            self.down()
            write_private(file, self._config)
        if not self.running:
            processes.require_free_port(self.port)
            server = packages.unpacked(self.packages, progress) / "usr/bin/redis-server"
            processes.start(self.folder, NAME, [str(server), str(file)], cwd=self.folder)
        processes.wait_for_port(self.folder, NAME, self.port)

    def down(self) -> None:
        """End the server; harmless when it does not run."""
        processes.stop(self.folder, NAME)

    @property
    def running(self) -> bool:
        """Say whether the server of this folder runs, whoever started it."""
        return processes.alive(self.folder, NAME)

    @property
    def url(self) -> str:
        """The address with the password, as Celery takes it."""
        return f"redis://:{self._password}@{HOST}:{self.port}/0"

    @property
    def _config(self) -> str:
        return CONFIG.format(host=HOST, port=self.port, folder=self.folder, password=self._password)

    @property
    def _password(self) -> str:
        path = self.folder / "password"
        if not path.is_file():
            write_private(path, secrets.token_hex(16))
        return path.read_text()
