"""Who logs in at the centre: what they try through Airflow's REST API, and how they are made."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from lab.airflow import Airflow
from lab.stack import Stack
from tests.e2e.scientist import Scientist


class Person:
    """Somebody who is logged in; gives the status of what they try."""

    def __init__(self, airflow: Airflow, name: str, password: str) -> None:
        self.name = name
        self._http = httpx.Client(base_url=airflow.url, timeout=60)
        answer = self._http.post("/auth/token", json={"username": name, "password": password})
        self._http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"

    def tries(self, method: str, path: str, **body: Any) -> int:
        return self._http.request(method, path, json=body or None).status_code

    def sees(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()

    def triggers(self, dag_id: str, **conf: object) -> int:
        run_id = f"{self.name}-{uuid.uuid4().hex[:8]}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        return self.tries("POST", f"/api/v2/dags/{dag_id}/dagRuns", **body)

    def close(self) -> None:
        self._http.close()


def make_user(airflow: Airflow, admin: Person, name: str, *roles: str) -> str:
    """A user of FAB's with these roles, made by an administrator; gives the password."""
    password = f"of-{name}"
    user = {"username": name, "first_name": name, "last_name": name, "password": password}
    named = [{"name": role} for role in roles]
    made = admin.tries("POST", "/auth/fab/v1/users", **user, email=f"{name}@localhost", roles=named)
    assert made in {200, 201}, made
    return password


@contextmanager
def logged_in(
    centre: Stack, admin: Person, users: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Scientist]]:
    """The users with these roles, by name, each with their own login."""
    airflow = centre.airflow
    made = {
        name: Scientist(airflow.url, name, make_user(airflow, admin, name, *roles))
        for name, roles in users.items()
    }
    try:
        yield made
    finally:
        for login in made.values():
            login.close()
