"""Promises about a centre whose jobs run as the people who ask, from the login to the cluster's accounting.

An administrator says ``runs_as: person`` while the centre runs; afterwards all is as it was.
"""

from __future__ import annotations

import json
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from hybrid_hpc.jobs import JobKey, JobState, token
from hybrid_hpc.ledger import JobRow
from lab import people
from lab.people import People
from lab.stack import Stack
from lab.testing import on_head_node
from tests.centre.logins import Person, logged_in
from tests.chaos.airflow_world import CLUSTER, AirflowWorld
from tests.e2e.house import House, until
from tests.e2e.scientist import Run, Scientist

pytestmark = pytest.mark.skipif(bool(people.why_not()), reason=people.why_not() or "it can be shown here")

CONNECTION = "hpc_onprem_people"
WHO = "#!/bin/bash\nid -un\nid -un > who.txt\n"
TERMS = {"name": "whose", "script": WHO, "cluster": CLUSTER, "walltime": "10", "outputs": ["*.txt"]}
# What a run might try to be sent by, or as.
OTHERS = {
    "person": "bob",
    "user": "bob",
    "submitted_by": "bob",
    "account": "bob",
    "runs_as": "person:bob",
    "ssh_connection": "hpc_onprem",
    "ssh_connections": {"proj-alpha": "hpc_onprem"},
    "people": {"accounts": {"ada": "root"}},
}


@dataclass(frozen=True)
class Site:
    """The centre with the cluster as docs/security.md has it: who has which account there, their logins."""

    house: House
    accounts: Mapping[str, str]
    logins: Mapping[str, Scientist]
    runs: Mapping[str, Run]  # of each a job that has ended; one that sleeps; two that are refused

    def told(self, command: str, *, user: str = "") -> str:
        """What a command on the head node prints; its errors, too."""
        answer = on_head_node(self.house.stack.lab, CLUSTER, command, user=user)
        return (answer.stdout + answer.stderr).strip()

    def record(self, row: JobRow, fields: str) -> str:
        """The cluster's own accounting of a job."""
        return self.told(f"sacct -nXP --jobs={row.native_id} --format={fields}")


@pytest.fixture(scope="module")
def site(world: AirflowWorld, accounts: People, admin: Person) -> Iterator[Site]:
    """``runs_as: person``: two scientists have an account, the third, who is the house's own, has none."""
    house, stack = world.house, world.house.stack
    if stack.lab.layout.namespaces != 2:
        pytest.skip("no overlay mounts here: sudo is not where it was built for")
    names = {"ada": accounts.ada, "bob": accounts.bob}
    mapping = {"accounts": names, "wrapper": people.WRAPPER}
    with (
        a_connection(stack, admin, accounts.service),
        edited(stack, ssh_connection=CONNECTION, runs_as="person", people=mapping),
        logged_in(stack, admin, {name: ["Scientist"] for name in names}) as logins,
    ):
        runs = {
            "ada": logins["ada"].start(**TERMS),
            "bob": logins["bob"].start(**TERMS),
            "sleeps": logins["ada"].start(**TERMS | {"script": "#!/bin/bash\nsleep 600\n"}),
            "names others": logins["ada"].start(**TERMS, **OTHERS),
            "no account": house.scientist.start(**TERMS),
        }
        assert house.ended(runs["ada"], runs["bob"]) == ["success"] * 2, house.seen(runs["ada"])
        yield Site(house, names, logins, runs)


@contextmanager
def a_connection(stack: Stack, admin: Person, login: str) -> Iterator[None]:
    """The cluster's own, as an administrator makes it: its account may do nothing but ask for others."""
    known = stack.lab.connections()[f"hpc_{CLUSTER}"]
    made = known | {"connection_id": CONNECTION, "login": login, "extra": json.dumps(known["extra"])}
    assert admin.tries("POST", "/api/v2/connections", **made) == 201
    try:
        yield
    finally:
        assert admin.tries("DELETE", f"/api/v2/connections/{CONNECTION}") == 204


@contextmanager
def edited(stack: Stack, **terms: object) -> Iterator[None]:
    """The cluster's entry in clusters.yaml with these terms."""
    file = stack.lab.folder / "clusters.yaml"
    before = file.read_text()
    content: Any = yaml.safe_load(before)
    content["clusters"][CLUSTER] |= terms
    _exchange(file, yaml.safe_dump(content, sort_keys=False))
    try:
        yield
    finally:
        _exchange(file, before)


def _exchange(file: Path, text: str) -> None:
    """At once: others read it."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.rename(file)


@pytest.mark.parametrize("name", ["ada", "bob"])
def test_a_job_runs_as_the_account_of_who_triggered_it_and_their_name_stands_in_ledger_and_comment(
    site: Site, name: str
) -> None:
    run, account = site.runs[name], site.accounts[name]
    row = site.house.job(run)
    assert (row.submitted_by, row.runs_as) == (name, f"person:{account}")
    assert row.run_dir == f"/srv/scratch/{account}/hybrid-hpc/{row.token}"
    assert site.record(row, "user,state,comment") == f"{account}|COMPLETED|whose,by={name}"
    assert site.told(f"stat -c '%U %a' {row.run_dir}") == f"{account} 700"
    assert account in site.house.scientist.told(run, "collect").split()
    assert (site.house.stack.results / row.token / "who.txt").read_text().strip() == account


def test_the_other_account_reads_nothing_of_it_on_the_cluster(site: Site) -> None:
    row, ada, bob = site.house.job(site.runs["ada"]), site.accounts["ada"], site.accounts["bob"]
    files = " ".join(f"{row.run_dir}/{file}" for file in ("output.log", "script", "who.txt"))
    assert len(site.told(f"grep -l . {files}", user=ada).splitlines()) == 3
    assert site.told(f"grep -l . {files}", user=bob).count("Permission denied") == 3
    assert "Permission denied" in site.told(f"ls {row.run_dir}", user=bob)


def test_who_fails_their_run_ends_its_job_as_its_person_and_the_other_account_cannot(
    site: Site, centre: Stack
) -> None:
    row = site.house.until_running(site.runs["sleeps"])
    assert "denied" in site.told(f"scancel {row.native_id}", user=site.accounts["bob"])
    site.logins["ada"].fail(*site.runs["sleeps"])
    by = pwd.getpwnam(site.accounts["ada"]).pw_uid
    until(lambda: site.record(row, "state%40") == f"CANCELLED by {by}", f"the end of {row.native_id}")
    operator = Scientist(centre.airflow.url, "operator", centre.airflow.keys.passwords["operator"])
    settled = replace(site.house, scientist=operator).settled(row.token)
    operator.close()
    assert (settled.outcome, settled.runs_as) == (JobState.CANCELLED, f"person:{site.accounts['ada']}")


def test_who_has_no_account_is_refused_with_the_remedy_and_nothing_is_sent(site: Site) -> None:
    run = site.runs["no account"]
    assert site.house.ended(run) == ["failed"]
    told = site.house.scientist.told(run, "choose_cluster")
    assert "runs each job as the person who asked, and 'scientist' has no account there" in told
    assert "Have an administrator add you to `people` in clusters.yaml" in told
    _nothing_was_sent(site, run)


def test_a_run_that_names_another_person_account_or_connection_is_refused_by_each_of_the_names(
    site: Site,
) -> None:
    run = site.runs["names others"]
    assert site.house.ended(run) == ["failed"]
    told = site.house.scientist.told(run, "choose_cluster")
    assert [name for name in OTHERS if f"{name}: " not in told] == []
    _nothing_was_sent(site, run)


def test_airflow_takes_no_other_name_for_who_triggers(site: Site) -> None:
    terms = {"logical_date": None, "conf": TERMS, "triggering_user_name": "bob"}
    answer = site.logins["ada"]._send("POST", "/dags/hpc_job/dagRuns", json=terms)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY


def _nothing_was_sent(site: Site, run: Run) -> None:
    assert site.house.ledger.latest_job(*run, "") is None
    assert site.house.accounting(CLUSTER, token(JobKey(*run))) == {}
