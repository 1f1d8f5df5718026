"""Who a job runs as is said by clusters.yaml alone; who has no account is refused before anything is sent."""

from __future__ import annotations

import pytest

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.errors import InvalidRequest, Refused
from hybrid_hpc.identity import (
    connection_of,
    identity_of,
    named_identities,
    person_in,
    project_in,
    stranger,
)
from hybrid_hpc.people import SYSTEM_ACCOUNTS, People
from hybrid_hpc.site import Site, survey
from tests.unit.placement_world import onprem, request

PROJECTS = onprem(runs_as="project", ssh_connections={"alpha": "hpc_alpha", "beta": "hpc_beta"})
PEOPLE = onprem(
    runs_as="person",
    people=People(accounts={"grace@example.org": "ghopper"}, rule=r"([a-z]+)@example\.org"),
)


def test_by_itself_every_job_runs_as_the_clusters_own_account() -> None:
    assert identity_of(onprem(), project="alpha", person="ada") == ""
    assert stranger(onprem(), "anybody") == ""


def test_a_projects_job_runs_as_its_project() -> None:
    identity = identity_of(PROJECTS, project="beta", person="ada")
    assert (project_in(identity), person_in(identity)) == ("beta", "")
    assert connection_of(PROJECTS, "beta") == "hpc_beta"


@pytest.mark.parametrize("project", [None, "gamma", "alpha\n", "hpc_alpha"])
def test_a_job_of_no_connected_project_is_refused_by_the_fields_name(project: str | None) -> None:
    with pytest.raises(InvalidRequest, match=r"^project: .*(has no connection|none is named)"):
        identity_of(PROJECTS, project=project, person="ada")


@pytest.mark.parametrize(
    ("person", "account"), [("grace@example.org", "ghopper"), ("ada@example.org", "ada")]
)
def test_the_table_goes_before_the_rule(person: str, account: str) -> None:
    identity = identity_of(PEOPLE, project=None, person=person)
    assert (person_in(identity), project_in(identity)) == (account, "")


@pytest.mark.parametrize(
    "person",
    [
        "",
        "ada",
        "ada@example.com",
        "ada@example.org.evil.com",
        "ada@example.org\n",
        "x ada@example.org",
        "../ada@example.org",
        "$(id)@example.org",
        "-u@example.org",
        "a" * 40 + "@example.org",
        *(f"{name}@example.org" for name in sorted(SYSTEM_ACCOUNTS) if name.isalpha()),
    ],
)
def test_whom_neither_knows_is_refused_with_the_field_and_the_remedy(person: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        identity_of(PEOPLE, project=None, person=person)
    (problem,) = caught.value.problems
    assert problem.where == "cluster"
    assert "has no account there" in problem.what
    assert "`people`" in problem.remedy
    assert str(problem).isprintable()


async def test_a_cluster_that_knows_no_account_for_the_person_is_not_even_looked_at() -> None:
    async def open_site(cluster: Cluster) -> Site:
        raise AssertionError(f"{cluster.name} was opened")

    (view,) = await survey([PEOPLE], request(), open_site, "mallory")
    assert view.closed == "runs each job as the person who asked, and 'mallory' has no account there"


def test_a_connection_that_was_taken_out_is_asked_back_by_name() -> None:
    with pytest.raises(Refused, match=r"project 'gamma'.*put it back into ssh_connections"):
        connection_of(PROJECTS, "gamma")


def test_the_identities_that_a_doctor_can_try_are_those_that_are_named() -> None:
    assert named_identities(PROJECTS) == ("project:alpha", "project:beta")
    assert named_identities(PEOPLE) == ("person:ghopper",)
