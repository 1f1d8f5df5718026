"""Promises about the connection type ``cyclecloud`` in the Airflow that runs: its form and its test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from lab import cloud
from tests.e2e.house import House


@pytest.fixture(scope="module")
def admin(house: House) -> Iterator[httpx.Client]:
    with logged_in(house, "admin") as client:
        yield client


@contextmanager
def logged_in(house: House, user: str) -> Iterator[httpx.Client]:
    airflow = house.stack.airflow
    login = {"username": user, "password": airflow.keys.passwords[user]}
    with httpx.Client(base_url=airflow.url, trust_env=False, timeout=60) as client:
        token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def press(client: httpx.Client, **form: Any) -> tuple[bool, str]:
    body = {"conn_type": "cyclecloud", **form}
    answer = client.post("/api/v2/connections/test", json=body).raise_for_status().json()
    return answer["status"], answer["message"]


def test_the_form_of_the_type_is_airflows_to_show(admin: httpx.Client) -> None:
    shown = admin.get("/ui/connections/hook_meta").raise_for_status().json()
    (form,) = [each for each in shown if each["connection_type"] == "cyclecloud"]
    assert form["hook_name"] == "Azure CycleCloud"
    assert form["standard_fields"]["host"]["title"] == "URL"
    assert list(form["extra_fields"]) == ["ca_file", "cluster"]


def test_the_labs_own_connection_is_well_and_says_what_was_seen(admin: httpx.Client) -> None:
    well, sentence = press(admin, connection_id="cyclecloud")
    assert well, sentence
    assert f"lets {cloud.USER} in. Cluster azure is Started" in sentence
    assert "htc (" in sentence


def test_a_new_connection_is_tested_before_it_is_saved(house: House, admin: httpx.Client) -> None:
    lab = house.stack.lab.layout
    url = f"https://127.0.0.1:{lab.cyclecloud_port}"
    form = {"connection_id": "new", "host": url, "login": cloud.USER}
    trust = {"ca_file": str(cloud.ca_file(lab))}
    well, sentence = press(admin, **form, password="not-the-password", extra=json.dumps(trust))
    assert not well
    assert "401" in sentence
    assert "not-the-password" not in sentence
    well, sentence = press(
        admin, **form, password=cloud.password(lab), extra=json.dumps({"cluster": "azur", **trust})
    )
    assert not well
    assert "has no cluster azur" in sentence
    assert cloud.password(lab) not in sentence


def test_the_button_of_a_saved_connection_works_although_it_does_not_know_the_password(
    house: House, admin: httpx.Client
) -> None:
    lab = house.stack.lab.layout
    saved = {"connection_id": "saved", "host": "https://127.0.0.1", "port": lab.cyclecloud_port}
    extra = {"cluster": "azure", "ca_file": str(cloud.ca_file(lab))}
    saved |= {"conn_type": "cyclecloud", "login": cloud.USER, "extra": json.dumps(extra)}
    body = {**saved, "password": cloud.password(lab)}
    admin.post("/api/v2/connections", json=body).raise_for_status()
    listed = admin.get("/api/v2/connections/saved").raise_for_status().json()
    assert listed["password"] != body["password"]
    try:
        well, sentence = press(admin, **saved, password=listed["password"], schema="", description="")
    finally:
        admin.delete("/api/v2/connections/saved").raise_for_status()
    assert well, sentence
    assert "Cluster azure is Started" in sentence


def test_a_scientist_may_test_no_connection(house: House) -> None:
    with logged_in(house, "scientist") as client:
        answer = client.post(
            "/api/v2/connections/test", json={"connection_id": "cyclecloud", "conn_type": "cyclecloud"}
        )
    assert answer.status_code == 403
