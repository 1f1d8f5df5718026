"""Promises about docker-compose.yaml that can be checked without a Docker engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", "tables")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
    return loaded


@pytest.mark.parametrize("service", AIRFLOW)
def test_every_airflow_service_has_the_code_and_one_configuration(
    compose: dict[str, Any], service: str
) -> None:
    it = compose["services"][service]
    assert it["environment"] == compose["services"]["scheduler"]["environment"]
    mounted = {volume.split(":")[0] for volume in it["volumes"] if volume.startswith("./")}
    assert mounted == {"./dags", "./plugins", "./include"}
    assert it["environment"]["PYTHONPATH"] == "/opt/airflow/include"


def test_the_image_is_of_the_airflow_that_is_pinned(compose: dict[str, Any]) -> None:
    pinned = re.search(r"^apache-airflow==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned
    assert f"apache/airflow:{pinned[1]}-" in compose["x-airflow"]["build"]["dockerfile_inline"]


def test_no_secret_has_a_default_and_each_is_explained(compose: dict[str, Any]) -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yaml").read_text()))
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert asked == {"POSTGRES_PASSWORD", "FERNET_KEY", "API_SECRET_KEY", "JWT_SECRET"}
    assert {name: example[name] for name in asked} == dict.fromkeys(asked, "")


def test_it_listens_on_this_machine_alone_unless_told_otherwise(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports == ["${LISTEN:-127.0.0.1:8080}:8080"]
