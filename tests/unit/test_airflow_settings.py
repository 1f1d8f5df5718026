"""Promises about the lab's Airflow as it is configured: loopback only, secrets private, nothing inherited."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from lab.airflow_settings import Place, api_connection, environment
from lab.keys import load_or_make
from lab.shapes import CENTRE, COMMANDS, ONE_MACHINE

USERS = ONE_MACHINE.users


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(
        home=tmp_path / "airflow",
        port=26000,
        database_url="postgresql+psycopg://a:b@127.0.0.1:1/airflow",
        dags=tmp_path / "dags",
        plugins=tmp_path / "plugins",
        include=tmp_path / "include",
        connections={"hpc_onprem": '{"conn_type": "ssh"}'},
        extra={"HYBRID_HPC_RESULTS": "/r"},
    )


def test_keys_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    keys = load_or_make(tmp_path, USERS)
    assert load_or_make(tmp_path, USERS) == keys
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["keys.json", "passwords.json"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "passwords.json").read_text()) == keys.passwords


def test_two_labs_have_different_keys_that_are_long_enough(tmp_path: Path) -> None:
    one, two = load_or_make(tmp_path / "one", USERS), load_or_make(tmp_path / "two", USERS)
    assert one.jwt_secret != two.jwt_secret
    assert one.passwords["admin"] != two.passwords["admin"]
    assert len(one.jwt_secret.encode()) >= 64
    assert set(one.passwords) == {*USERS}


def test_a_crash_while_keys_are_made_leaves_no_half_file(tmp_path: Path) -> None:
    (tmp_path / "keys.json.new").write_text("{")
    assert load_or_make(tmp_path, USERS) == load_or_make(tmp_path, USERS)


def test_everything_stays_on_loopback_and_in_its_folder(place: Place, tmp_path: Path) -> None:
    settings = environment(place, load_or_make(place.home, USERS), {})
    assert settings["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:26000/execution/"
    assert not any(value.startswith("0.0.0") or "/tmp/airflow" in value for value in settings.values())
    for name in (
        "AIRFLOW_HOME",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH",
    ):
        assert Path(settings[name]).is_relative_to(tmp_path)
    for name in ("scheduler", "triggerer", "worker"):
        assert "--skip-serve-logs" in COMMANDS[name]


def test_another_airflow_in_the_users_shell_has_no_say(place: Place) -> None:
    shell = {
        "AIRFLOW_HOME": "/theirs",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "True",
        "AIRFLOW_CONN_THEIRS": "x",
        "PYTHONPATH": "/theirs",
        "PATH": "/bin",
        "LANG": "C.UTF-8",
    }
    settings = environment(place, load_or_make(place.home, USERS), shell)
    assert settings["AIRFLOW_HOME"] == str(place.home)
    assert settings["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert settings["PYTHONPATH"] == str(place.include)
    assert "AIRFLOW_CONN_THEIRS" not in settings
    assert settings["LANG"] == "C.UTF-8"


def test_connections_and_more_variables_are_handed_on(place: Place) -> None:
    settings = environment(place, load_or_make(place.home, USERS), {})
    assert settings["AIRFLOW_CONN_HPC_ONPREM"] == '{"conn_type": "ssh"}'
    assert settings["HYBRID_HPC_RESULTS"] == "/r"


def test_the_way_to_the_own_api_is_the_user_of_our_own_tasks(tmp_path: Path) -> None:
    keys = load_or_make(tmp_path, CENTRE.users)
    connection = json.loads(api_connection("127.0.0.1", 26000, CENTRE.api_user, keys))
    assert (connection["host"], connection["port"]) == ("127.0.0.1", 26000)
    assert (connection["login"], connection["password"]) == ("service", keys.passwords["service"])


def test_a_centre_has_the_options_of_one_machine_and_more(place: Place) -> None:
    """But for the executor and who looks after the logins."""
    keys = load_or_make(place.home, CENTRE.users)
    one = environment(place, keys, {})
    centre = environment(replace(place, shape=CENTRE, broker_url="redis://:x@127.0.0.1:1/0"), keys, {})
    other = {name for name in one if centre.get(name) != one[name]}
    assert other == {
        "AIRFLOW__CORE__EXECUTOR",
        "AIRFLOW__CORE__AUTH_MANAGER",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
    }
    assert centre["AIRFLOW__CELERY__BROKER_URL"] == "redis://:x@127.0.0.1:1/0"
    assert centre["AIRFLOW__CELERY__RESULT_BACKEND"] == f"db+{place.database_url}"


def test_every_process_of_a_shape_has_a_name_of_its_own() -> None:
    assert list(ONE_MACHINE.components) == ["api-server", "scheduler", "triggerer", "dag-processor"]
    assert CENTRE.components["worker-2"] == "worker"
    assert len(CENTRE.components) == sum(CENTRE.counts.values()) == 8
    assert set(CENTRE.components.values()) == set(COMMANDS)
