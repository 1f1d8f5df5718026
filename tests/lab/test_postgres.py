"""The lab's PostgreSQL outlives who started it, keeps its data and lets nobody in without a password."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lab import postgres_user, system_users
from lab.errors import LabError
from lab.postgres import Postgres
from lab.processes import free_base_port, wait_until


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Made once, below a folder that nobody else may enter; `server` has it running for each test."""
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o700)
    server = Postgres(closed / "lab" / "postgres", free_base_port(1))
    yield server
    server.down()
    assert processes_of(server) == []
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700, "no folder above was opened"


@pytest.fixture
def server(made: Postgres) -> Postgres:
    made.up()
    return made


def processes_of(server: Postgres) -> list[int]:
    """Every process that works in the data folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cwd").readlink() == server.data:
                found.append(int(path.name))
        except OSError:
            continue
    return found


def connect(
    server: Postgres, user: str = "ledger", password: str | None = None, database: str = ""
) -> psycopg.Connection:
    known = (server.folder / f"{user}.password").read_text()
    where = f"host=127.0.0.1 port={server.port} connect_timeout=5 user={user} dbname={database or user}"
    return psycopg.connect(where, password=known if password is None else password)


def shown(server: Postgres, setting: str) -> str:
    with connect(server, "postgres") as connection:
        (value,) = connection.execute("SELECT current_setting(%s)", [setting]).fetchone() or ("",)
    return str(value)


def test_it_lives_on_after_the_command_that_started_it(made: Postgres) -> None:
    made.down()
    program = (
        "from pathlib import Path; from lab.postgres import Postgres; "
        f"Postgres(Path({str(made.folder)!r}), {made.port}).up(print)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, stdout=subprocess.DEVNULL)
    assert made.running
    with psycopg.connect(made.url("ledger").replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("ledger",)


def test_a_second_start_changes_nothing(server: Postgres) -> None:
    before = server.pid, server.url("airflow"), server.url("ledger")
    told: list[str] = []
    server.up(told.append)
    assert (server.pid, server.url("airflow"), server.url("ledger")) == before
    assert told == []


def test_every_password_is_another_one_in_a_file_for_its_owner_only(
    server: Postgres,
) -> None:
    files = sorted(server.folder.glob("*.password"))
    assert [file.stem for file in files] == ["airflow", "ledger", "postgres"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len({file.read_text() for file in files}) == 3
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "wrong", [{"password": "guessed"}, {"password": ""}, {"database": "airflow"}], ids=str
)
def test_nobody_gets_in_with_a_wrong_password_or_into_another_database(
    server: Postgres, wrong: dict[str, str]
) -> None:
    with pytest.raises(psycopg.OperationalError):
        connect(server, **wrong)


def test_it_listens_on_loopback_only_and_has_room_for_airflow(server: Postgres) -> None:
    assert shown(server, "listen_addresses") == "127.0.0.1"
    assert shown(server, "unix_socket_directories") == ""
    assert shown(server, "max_connections") == "200"
    assert shown(server, "fsync") == "off"
    assert shown(server, "timezone") == "UTC"


def test_it_does_not_run_as_root(server: Postgres) -> None:
    owner = Path(f"/proc/{server.pid}").stat().st_uid
    assert owner != 0
    assert owner == (pwd.getpwnam("pgserver").pw_uid if os.geteuid() == 0 else os.geteuid())


def test_what_was_written_survives_a_kill(server: Postgres) -> None:
    with connect(server) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (42)")
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.running, deadline_s=10, what="the killed server's end")
    server.up()
    with connect(server) as connection:
        assert connection.execute("SELECT max(value) FROM kept").fetchone() == (42,)


def test_ending_it_cuts_off_who_is_connected_and_is_harmless_twice(server: Postgres) -> None:
    connection = connect(server)
    server.down()
    server.down()
    assert not server.running
    assert processes_of(server) == []
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


def test_it_moves_to_another_port(server: Postgres) -> None:
    moved = Postgres(server.folder, free_base_port(1))
    moved.up()
    try:
        assert shown(moved, "port") == str(moved.port)
        with pytest.raises(psycopg.OperationalError):
            connect(server)
    finally:
        server.up()


def test_a_pid_file_whose_pid_is_another_program_by_now_is_no_obstacle(server: Postgres) -> None:
    server.down()
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n0\n{server.port}\n\n\n")
    assert not server.running
    server.up()
    assert server.running


def test_a_data_folder_whose_making_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("18\n")
    server = Postgres(tmp_path, free_base_port(1), databases=("ledger",))
    server.up()
    try:
        assert shown(server, "port") == str(server.port)
    finally:
        server.down()


def test_a_taken_port_is_named(made: Postgres) -> None:
    made.down()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", made.port))
        taken.listen()
        with pytest.raises(LabError, match=f"port {made.port} is taken"):
            made.up()


def test_a_server_that_does_not_start_shows_the_end_of_its_log(
    made: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.down()
    monkeypatch.setattr(
        "lab.postgres.CONFIG", "port = {port}\nlisten_addresses = '{host}'\nno_such_setting = 1\n"
    )
    with pytest.raises(LabError, match="no_such_setting"):
        made.up()


def test_root_is_told_that_a_system_user_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[pwd.struct_passwd] = []
    told: list[str] = []

    def find(name: str) -> pwd.struct_passwd:
        if not known:
            raise KeyError(name)
        return known[0]

    def make(*_: object) -> str:
        known.append(pwd.getpwuid(os.getuid()))
        return ""

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", find)
    monkeypatch.setattr(system_users, "_make", make)
    monkeypatch.setattr(postgres_user, "_reaches", lambda *_: True)
    user = postgres_user.postgres_user(tmp_path, tmp_path, told.append)
    assert told == ["PostgreSQL does not run as root: making the system user pgserver for it"]
    assert user.prefix[0] == "setpriv"


def test_a_folder_out_of_reach_is_told_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", lambda _: pwd.getpwuid(os.getuid()))
    monkeypatch.setattr(postgres_user, "_reaches", lambda *_: False)
    with pytest.raises(LabError, match="Clone the project into a folder that every user may enter"):
        postgres_user.postgres_user(tmp_path, tmp_path, print)
