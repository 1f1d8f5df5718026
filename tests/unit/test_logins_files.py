"""Promises about FAB's own settings: who has no role gets none, and no secret stands in a file."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from hybrid_hpc_airflow.roles import ROLES
from lab.layout import PROJECT

LOGINS = PROJECT / "include" / "logins"
GIVEN = {
    "ENTRA_TENANT_ID": "tenant",
    "ENTRA_CLIENT_ID": "client",
    "ENTRA_CLIENT_SECRET": "canary",
    "OIDC_ISSUER": "https://id.example.org/realms/lab/",
    "OIDC_CLIENT_ID": "client",
    "OIDC_CLIENT_SECRET": "canary",
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)


def settings(name: str) -> dict[str, Any]:
    return runpy.run_path(str(LOGINS / f"{name}.py"))


@pytest.mark.parametrize("name", ["entra", "oidc"])
def test_roles_come_from_the_provider_at_every_login_and_nobody_has_one_without_it(
    given: None, name: str
) -> None:
    found = settings(name)
    assert found["AUTH_ROLES_SYNC_AT_LOGIN"]
    assert found["AUTH_USER_REGISTRATION_ROLE"] == "Public"
    given_roles = {role for roles in found["AUTH_ROLES_MAPPING"].values() for role in roles}
    assert given_roles == {*ROLES, "Admin"} - {"Service"}
    (provider,) = found["OAUTH_PROVIDERS"]
    assert provider["remote_app"]["client_secret"] == "canary"
    assert provider["remote_app"]["server_metadata_url"].startswith("https://")
    assert "//." not in provider["remote_app"]["server_metadata_url"]
    assert "verify_signature" not in provider["remote_app"]["client_kwargs"]


@pytest.mark.parametrize("name", ["database", "entra", "oidc"])
def test_forms_are_guarded_against_other_sites(given: None, name: str) -> None:
    assert settings(name)["WTF_CSRF_ENABLED"]


def test_the_default_lets_nobody_register() -> None:
    assert settings("database")["AUTH_USER_REGISTRATION"] is False
