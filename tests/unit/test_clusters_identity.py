"""clusters.yaml says who runs a cluster's jobs, and says it whole: a table that is not used is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_hpc.clusters import Clusters, load_clusters
from hybrid_hpc.errors import InvalidClusters
from hybrid_hpc.identity import connection_of, kept_tables

GOOD = """\
clusters:
  onprem:
    scheduler: slurm
    ssh_connection: hpc_onprem
    storage_root: /scratch/hh
    {lines}
    partitions:
      batch: {{nodes: 4, cores: 16, memory: 64000M, walltime: 12:00:00, prices: {{core_hour_usd: 0.02}}}}
"""
ONPREM = "clusters.onprem."


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clusters.yaml"


def loaded(file: Path, *lines: str) -> Clusters:
    file.write_text(GOOD.format(lines="\n    ".join(lines) or "title: x"))
    return load_clusters(file)


def test_left_out_all_jobs_run_as_one_account(file: Path) -> None:
    onprem = loaded(file).cluster("onprem")
    assert (onprem.runs_as, onprem.ssh_connections, onprem.people) == ("service", {}, None)


def test_the_projects_that_have_a_connection_are_those_that_may_use_the_cluster(file: Path) -> None:
    onprem = loaded(file, "runs_as: project", "ssh_connections: {alpha: hpc_a, beta: hpc_b}").cluster(
        "onprem"
    )
    assert onprem.ssh_connections == {"alpha": "hpc_a", "beta": "hpc_b"}
    assert onprem.projects == ("alpha", "beta")


def test_people_have_accounts_by_name_or_by_a_rule(file: Path) -> None:
    people = r"people: {accounts: {Grace H: ghopper}, rule: '([a-z]+)@example\.org', wrapper: /opt/hh/as}"
    found = loaded(file, "runs_as: person", people).cluster("onprem").people
    assert found
    assert [found.account_of(name) for name in ("Grace H", "ada@example.org", "ada")] == [
        "ghopper",
        "ada",
        None,
    ]
    assert found.wrapper == "/opt/hh/as"


@pytest.mark.parametrize("runs_as", ["service", "project", "person"])
def test_beside_a_runs_as_that_is_written_a_table_is_kept_for_jobs_that_were_sent_by_it(
    file: Path, runs_as: str
) -> None:
    tables = ("ssh_connections: {alpha: hpc_a}", "people: {accounts: {ada: ada}, wrapper: /opt/hh/as}")
    onprem = loaded(file, f"runs_as: {runs_as}", *tables).cluster("onprem")
    assert connection_of(onprem, "alpha") == "hpc_a"
    assert onprem.people
    assert onprem.people.wrapper == "/opt/hh/as"
    assert (onprem.projects is None) == (runs_as != "project"), (
        "what is kept lets nobody in and keeps nobody out"
    )
    kept = {"project": "ssh_connections", "person": "people"}
    assert set(kept_tables(onprem)) == {name for mode, name in kept.items() if mode != runs_as}


def test_an_empty_list_of_projects_does_not_let_in_those_without_a_connection(file: Path) -> None:
    lines = ("runs_as: project", "ssh_connections: {alpha: hpc_a}", "projects:")
    assert loaded(file, *lines).cluster("onprem").projects == ("alpha",)


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        (["runs_as: root"], "runs_as", "must be 'service', 'project' or 'person', not 'root'"),
        (["runs_as: project"], "ssh_connections", "is missing: runs_as is project"),
        (["runs_as: person"], "people", "is missing: runs_as is person"),
        (["ssh_connections: {alpha: a}"], "ssh_connections", "is not used: runs_as is 'service'"),
        (["people: {accounts: {ada: ada}}"], "people", "is not used: runs_as is 'service'"),
        (
            ["runs_as: project", "ssh_connections: {alpha: a}", "projects: [alpha, beta]"],
            "projects",
            "'beta' is not in ssh_connections",
        ),
        (
            ["runs_as: person", "people: {accounts: {ada: root}}"],
            "people.accounts.ada",
            "root is an account of the system",
        ),
        (
            ["runs_as: person", "people: {accounts: {ada: 'ada;id'}}"],
            "people.accounts.ada",
            "'ada;id' cannot be taken",
        ),
        (["runs_as: person", "people: {wrapper: /opt/as}"], "people", "lets nobody in"),
        (["runs_as: person", "people: {rule: '.*'}"], "people.rule", "'.*' has 0 groups, not one"),
        (["runs_as: person", "people: {rule: '(a'}"], "people.rule", "'(a' is no pattern"),
        (
            ["runs_as: person", "people: {rule: '(a)', shell: sh}"],
            "people.shell",
            "is no key that is known here",
        ),
        (
            ["runs_as: person", "people: {rule: '(a)', wrapper: 'as -x'}"],
            "people.wrapper",
            "'as -x' cannot be taken",
        ),
        (["runs_as: project", "ssh_connections: {alpha: 'a b'}"], "ssh_connections.alpha", "'a b' cannot be"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(file: Path, lines: list[str], where: str, what: str) -> None:
    with pytest.raises(InvalidClusters) as caught:
        loaded(file, *lines)
    problems = [
        (problem.where.split()[-1], problem.what, problem.remedy) for problem in caught.value.problems
    ]
    (told,) = [problem for problem in problems if problem[0] == f"{ONPREM}{where}"]
    assert what in told[1]
    assert told[2]
