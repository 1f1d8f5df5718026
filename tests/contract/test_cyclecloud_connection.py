"""Promises about Airflow's connection type ``cyclecloud``: its form, and what its test button says."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hybrid_hpc.cyclecloud import CycleCloudClient
from lab import certificates
from tests.contract.test_cyclecloud_process import PROJECT, Server
from tests.cyclecloud_world import PASSWORD, USER

os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "True")
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
CONN_ID = "transient"  # Airflow tests a connection under an id of no meaning


class Said(NamedTuple):
    """What the button says."""

    well: bool
    sentence: str


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's, set before its first import; whose it is does not matter."""
    folder = tmp_path_factory.mktemp("airflow")
    os.environ.setdefault("AIRFLOW_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    ca_file, pem, key = home / "ca.pem", home / "server.pem", home / "server.key"
    certificates.make(ca_file, pem, key)
    running = Server(home / "run", tls={"certificate_file": str(pem), "key_file": str(key)})
    yield running
    assert running.clean_up() == []


@pytest.fixture
def press(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Presses the button as Airflow's API does, after changes to a form that was filled in well."""
    from airflow.models.connection import Connection  # noqa: PLC0415  after the environment is set

    from hybrid_hpc_airflow import hook  # noqa: PLC0415

    monkeypatch.setattr(hook, "_refused", {})

    def press(extra: dict[str, Any] | None = None, **changes: Any) -> Said:
        filled = {"host": server.url, "login": USER, "password": PASSWORD, **changes}
        more = {"ca_file": str(home / "ca.pem"), "cluster": "azure", **(extra or {})}
        conn = Connection(conn_id=CONN_ID, conn_type="cyclecloud", extra=more, **filled)
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", conn.get_uri())
        said = Said(*conn.test_connection())  # type: ignore[no-untyped-call]
        assert PASSWORD not in said.sentence
        assert "\n" not in said.sentence
        return said

    return press


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each question that goes to CycleCloud."""
    asked: list[str] = []
    ask = CycleCloudClient.status

    async def status(self: CycleCloudClient, *, nodes: bool = True) -> Any:
        asked.append(self.cluster)
        return await ask(self, nodes=nodes)

    monkeypatch.setattr(CycleCloudClient, "status", status)
    return asked


def test_airflow_offers_the_type_with_the_fields_that_mean_something(home: Path) -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService  # noqa: PLC0415

    (it,) = [each for each in HookMetaService.hook_meta_data() if each.connection_type == "cyclecloud"]
    form = it.model_dump()
    fields = form["standard_fields"]
    assert form["hook_name"] == "Azure CycleCloud"
    assert fields["host"]["title"] == "URL"
    assert fields["host"]["placeholder"].startswith("https://")
    assert fields["login"]["title"] == "User"
    assert fields["url_schema"]["hidden"]
    assert not fields["port"]["hidden"]  # Airflow 3.3 tests no stored connection without one
    assert set(form["extra_fields"]) == {"ca_file", "cluster"}


def test_the_hook_is_the_one_that_airflow_finds(home: Path) -> None:
    from airflow.providers_manager import ProvidersManager  # noqa: PLC0415

    found = ProvidersManager().hooks["cyclecloud"]  # type: ignore[no-untyped-call]
    assert found
    assert found.connection_testable
    assert found.hook_class_name == "hybrid_hpc_airflow.hook.CycleCloudHook"


def test_the_provider_has_the_projects_version() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert distribution(project["name"]).version == project["version"]


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("cc.test", None, "https://cc.test"),
        ("cc.test", 8443, "https://cc.test:8443"),
        ("https://cc.test:8443", None, "https://cc.test:8443"),
        ("https://cc.test:8443", 443, "https://cc.test:8443"),
        ("https://cc.test/cycle", 8443, "https://cc.test:8443/cycle"),
        ("http://[::1]", 80, "http://[::1]:80"),
    ],
)
def test_the_port_may_be_in_the_url_or_beside_it(home: Path, host: str, port: int | None, url: str) -> None:
    from airflow.sdk import Connection  # noqa: PLC0415

    from hybrid_hpc_airflow.hook import base_url  # noqa: PLC0415

    assert base_url(Connection(conn_id=CONN_ID, conn_type="cyclecloud", host=host, port=port)) == url


def test_a_good_connection_tells_what_it_has_seen(press: Callable[..., Said]) -> None:
    said = press()
    assert said.well
    assert (
        "lets cc_admin in. Cluster azure is Started, with the nodearrays hpc (0 of 4 nodes)" in said.sentence
    )


def test_without_a_cluster_those_of_the_sites_file_are_asked_for(
    press: Callable[..., Said], logins: list[str]
) -> None:
    assert press({"cluster": None}).well
    assert logins == ["azure"]


def test_a_cluster_that_is_not_there_is_told_from_a_login_that_is_refused(press: Callable[..., Said]) -> None:
    said = press({"cluster": "azur"})
    assert not said.well
    assert said.sentence.endswith("lets cc_admin in, but has no cluster azur. Correct its name.")


def test_a_wrong_password_is_tried_once_however_often_the_button_is_pressed(
    press: Callable[..., Said], logins: list[str]
) -> None:
    first = press(password="wrong-one")
    assert not first.well
    assert "401" in first.sentence
    assert "five wrong logins lock an account" in first.sentence
    again = [press(password="wrong-one") for _ in range(5)]
    assert all("Not tried again for" in said.sentence and "401" in said.sentence for said in again)
    assert len(logins) == 1
    assert press().well  # neither locked, nor kept from another try


@pytest.mark.parametrize(
    ("changes", "extra", "words"),
    [
        ({"host": ""}, {}, "URL: is empty"),
        ({"login": ""}, {}, "User: is empty"),
        ({"password": None}, {}, "Password: is empty"),
        ({"host": "http://cyclecloud.example.org"}, {}, "use https"),
        ({"host": "https://127.0.0.1:9"}, {}, "https://127.0.0.1:9: "),
        ({}, {"ca_file": None}, "its certificate is not trusted"),
        ({}, {"ca_file": "/nowhere/ca.pem"}, "/nowhere/ca.pem cannot be used: No such file"),
    ],
)
def test_what_is_wrong_with_a_connection_is_a_sentence(
    press: Callable[..., Said], changes: dict[str, Any], extra: dict[str, Any], words: str
) -> None:
    said = press(extra, **changes)
    assert not said.well
    assert words in said.sentence


def test_a_ca_that_is_put_right_is_tried_at_once(
    press: Callable[..., Said], tmp_path: Path, home: Path
) -> None:
    other = tmp_path / "ca.pem"
    certificates.make(other, tmp_path / "server.pem", tmp_path / "server.key")
    assert "not trusted" in press({"ca_file": str(other)}).sentence
    other.write_bytes((home / "ca.pem").read_bytes())
    assert press({"ca_file": str(other)}).well
