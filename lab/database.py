"""MariaDB, which both clusters keep their accounting in."""

from __future__ import annotations

import secrets
import subprocess

from lab import processes
from lab.errors import LabError, tail
from lab.keys import write_private
from lab.layout import Layout

NAME = "mariadb"


def start(lab: Layout) -> None:
    """Start MariaDB and make what it needs; one that runs is left alone. Does not wait for it."""
    if processes.alive(lab.folder, NAME):
        return
    folder = lab.folder / "db"
    (folder / "tmp").mkdir(mode=0o700, parents=True, exist_ok=True)
    lab.write(folder / "my.cnf", "my.cnf", folder=folder)
    lab.write(folder / "init.sql", "init.sql", mode=0o600, password=password(lab))
    if not (folder / "data" / "mysql").is_dir():
        _make_data_folder(lab)
    processes.require_free_port(lab.database_port)
    argv = [lab.program("mariadbd"), f"--defaults-file={folder}/my.cnf"]
    processes.start(lab.folder, NAME, argv, env=lab.daemon_environment())


def wait(lab: Layout) -> None:
    """Wait until MariaDB accepts connections; raises LabError with the end of its log."""
    log = lab.folder / "log" / f"{NAME}.log"
    processes.wait_for_port(lab.folder, NAME, lab.database_port, log=log)


def password(lab: Layout) -> str:
    """Give the password of slurmdbd's user; made at the first call."""
    path = lab.folder / "db" / "password"
    if not path.is_file():
        write_private(path, secrets.token_hex(12))
    return path.read_text()


def _make_data_folder(lab: Layout) -> None:
    folder, log = lab.folder / "db", lab.folder / "log" / "mariadb-install-db.log"
    log.parent.mkdir(exist_ok=True)
    argv = [
        *("/bin/sh", lab.program("mariadb-install-db"), f"--defaults-file={folder}/my.cnf"),
        *(f"--basedir={lab.root}/usr", "--auth-root-authentication-method=normal"),
        *("--skip-test-db", "--skip-name-resolve"),
        "--force",  # else it ends where the machine's own name does not resolve
    ]
    with log.open("w") as output:
        answer = subprocess.run(argv, stdout=output, stderr=output, env=lab.daemon_environment(), check=False)
    if answer.returncode != 0:
        raise LabError(f"MariaDB's data folder could not be made; the end of {log}:\n{tail(log)}")
