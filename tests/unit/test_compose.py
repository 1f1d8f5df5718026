"""Promises about docker-compose.yaml that can be checked without a Docker engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import compose, compose_settings, container, make_env
from lab.airflow_settings import Place, environment
from lab.keys import load_or_make
from lab.layout import PROJECT
from lab.shapes import CENTRE, COMMANDS

AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
# What one side has for a reason of its own; anything else must be on both sides.
LAB_ONLY = {
    "AIRFLOW__API__HOST",
    "AIRFLOW__API__PORT",
    "AIRFLOW__API__WORKERS",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE",
    "AIRFLOW__CORE__MP_START_METHOD",
    "AIRFLOW__CORE__TEST_CONNECTION",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL",
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL",
    "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT",
    "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME",
}
COMPOSE_ONLY = {"AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK"}
# What is in another place there.
PLACES = {
    "AIRFLOW__API__BASE_URL",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW__CELERY__WORKER_CONCURRENCY",
    "AIRFLOW__CORE__DAGS_FOLDER",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__CORE__PARALLELISM",
    "AIRFLOW__CORE__PLUGINS_FOLDER",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",
    "AIRFLOW__FAB__CONFIG_FILE",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
    "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY",
}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(compose.FILE.read_text())["services"]
    return loaded


@pytest.fixture(scope="module")
def text() -> str:
    return compose.FILE.read_text()


def test_the_file_is_what_the_settings_give(text: str) -> None:
    assert text == compose.render()


def test_a_file_that_was_changed_by_hand_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compose, "FILE", tmp_path / "docker-compose.yaml")
    monkeypatch.setattr(sys, "argv", ["compose", "--check"])
    compose.FILE.write_text(f"{compose.render()}# mine\n")
    assert compose.main() == 1
    assert "run: python -m lab.compose" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["compose"])
    assert compose.main() == 0
    assert compose.FILE.read_text() == compose.render()


def test_it_is_valid_by_the_compose_specification(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*argv, str(compose.FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "docker-compose.yaml"
    wrong.write_text(compose.FILE.read_text().replace("    restart:", "    restarts:", 1))
    assert subprocess.run([*argv, str(wrong)], capture_output=True, check=False).returncode == 1


def test_its_options_are_those_of_the_labs_own_centre(tmp_path: Path) -> None:
    home, dags, plugins, include = (tmp_path / name for name in ("home", "dags", "plugins", "include"))
    place = Place(home, 26000, "db", dags, plugins, include, shape=CENTRE, broker_url="redis")
    ours = _options(environment(place, load_or_make(place.home, CENTRE.users), {}))
    theirs = _options(compose_settings.environment())
    assert ours.keys() - theirs.keys() == LAB_ONLY
    assert theirs.keys() - ours.keys() == COMPOSE_ONLY
    assert {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]} == PLACES


def _options(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith("AIRFLOW__")}


@pytest.mark.parametrize("service", [*AIRFLOW, "init"])
def test_every_airflow_service_has_the_code_and_one_configuration(
    services: dict[str, Any], service: str
) -> None:
    it = services[service]
    expected = compose_settings.environment() | (compose_settings.first_steps() if service == "init" else {})
    assert it["environment"] == expected
    mounted = {volume.split(":")[0] for volume in it["volumes"] if volume.startswith("./")}
    assert mounted == {"./dags", "./plugins", "./include"}
    assert {"logs:/opt/airflow/logs", "results:/opt/airflow/results"} <= {*it["volumes"]}
    assert it["environment"]["PYTHONPATH"].startswith("/opt/airflow/include")


def test_every_service_runs_what_the_labs_process_of_that_kind_runs(services: dict[str, Any]) -> None:
    assert {name: tuple(services[name]["command"]) for name in AIRFLOW} == dict(COMMANDS)
    replicas = {name: services[name]["deploy"]["replicas"] for name in AIRFLOW}
    counts = {name: int(re.sub(r"\D", "", str(count))) for name, count in replicas.items()}
    assert counts == dict(CENTRE.counts)


def test_every_service_has_a_health_check_limits_and_comes_back(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert service["logging"]["options"]["max-size"], name
        if name != "init":
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name
    assert services["init"]["restart"] == "no"
    assert services["worker"]["stop_grace_period"] == "5m"


def test_nothing_of_airflow_starts_before_the_tables_and_roles_are_made(services: dict[str, Any]) -> None:
    for name in AIRFLOW:
        assert services[name]["depends_on"]["init"] == {"condition": "service_completed_successfully"}
    (*_, steps) = services["init"]["command"]
    assert steps.split(" && ") == [
        "airflow db migrate",
        "python -m hybrid_hpc.ledger upgrade",
        "python -m hybrid_hpc_airflow.logins",
    ]


def test_the_image_is_of_the_airflow_that_is_pinned(services: dict[str, Any]) -> None:
    pinned = re.search(r"^apache-airflow==(\S+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned
    assert f"FROM apache/airflow:{pinned[1]}-python3" in (PROJECT / "Dockerfile").read_text()
    assert services["worker"]["image"] == f"hybrid-hpc:{pinned[1]}"
    others = [service["image"] for service in services.values() if "build" not in service]
    assert all(re.search(r":\d+\.\d+", image) for image in others)


def test_no_secret_has_a_default_and_each_is_asked_for(text: str) -> None:
    asked = set(re.findall(r"\$\{(\w+):\?run python3 lab/make_env\.py\}", text))
    assert asked == set(compose_settings.SECRETS) == set(make_env.SECRETS)
    assert not re.search(rf"\$\{{({'|'.join(asked)}):?-", text)


def test_every_variable_of_the_file_is_made_or_has_a_default(text: str) -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    defaults = set(re.findall(r"\$\{(\w+):-", text))
    assert used == defaults | set(make_env.SECRETS)
    assert set(make_env.SETTINGS) <= defaults


def test_connections_and_users_are_json_once_the_secrets_are_in(services: dict[str, Any]) -> None:
    environment = services["init"]["environment"]
    found = [value for value in environment.values() if value.startswith("{")]
    parsed = [json.loads(re.sub(r"\$\{\w+(:\?[^}]*)?\}", "secret", value)) for value in found]
    assert len(parsed) == 3
    assert {"admin": {"role": "Admin", "password": "secret"}}.items() <= parsed[-1].items()


def test_it_listens_on_this_machine_alone_unless_told_otherwise(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports == ["${LISTEN:-127.0.0.1:8080}:8080"]


def test_airflows_containers_gain_no_rights(services: dict[str, Any]) -> None:
    for name in (*AIRFLOW, "init"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
        assert services[name]["user"] == "${AIRFLOW_UID:-50000}:0"


def test_each_cluster_of_the_lab_has_a_network_without_a_way_out_which_only_tasks_and_waits_share(
    services: dict[str, Any],
) -> None:
    networks = yaml.safe_load(compose.FILE.read_text())["networks"]
    assert {name: (each or {}).get("internal", False) for name, each in networks.items()} == {
        "default": False,
        "onprem": True,
        "azure": True,
    }
    theirs = {name: service["networks"] for name, service in services.items() if "networks" in service}
    everywhere = ["default", "onprem", "azure"]
    assert theirs == {
        "onprem": ["onprem"],
        "azure": ["azure"],
        "triggerer": everywhere,
        "worker": everywhere,
    }


@pytest.mark.parametrize("cluster", ["onprem", "azure"])
def test_a_cluster_of_the_lab_is_told_which_it_is_and_sees_no_keys_but_its_own(
    services: dict[str, Any], cluster: str
) -> None:
    it = services[cluster]
    assert (it["profiles"], it["command"]) == (["lab"], ["run", cluster, "/keys"])
    assert it["volumes"] == [f"${{KEYS_FOLDER:-./keys}}/lab-{cluster}:/keys"]
    assert it["healthcheck"]["test"][-2:] == ["check", cluster]
    read = {"path": f"${{KEYS_FOLDER:-./keys}}/lab-{cluster}/connections.env", "required": False}
    assert all(read in services[name]["env_file"] for name in (*AIRFLOW, "init"))
    seen_as = container.SEEN_AS.format(cluster=cluster)
    assert seen_as.removesuffix(f"/lab-{cluster}") in services["worker"]["volumes"][-3]
