"""Promises about bad input: it is refused at once, in words, and nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.house import House
from tests.e2e.scientist import Run

GOOD = {"name": "good", "script": "#!/bin/bash\ntrue\n"}
# What Airflow's own check of the form lets pass: the wrong values, the field to blame and the remedy.
WRONG: dict[str, tuple[dict[str, object], str, str]] = {
    "unknown field": ({"core": 8}, "core: is no field of a job request", "cpus_per_task"),
    "a connection": ({"ssh_connection": "hpc_azure"}, "ssh_connection: is no field of a job request", ""),
    "an account": ({"runs_as": "root"}, "runs_as: is no field of a job request", ""),
    "bad units in the script": (
        {"script": "#!/bin/bash\n#SBATCH --mem=lots\ntrue\n"},
        "memory_per_node: 'lots' is not an amount of memory (line 2 of the script)",
        "such as 500M or 4G",
    ),
    "bad walltime": ({"walltime": "0"}, "walltime: '0' is not between", "HH:MM:SS"),
    "newline in the name": ({"name": "good\n"}, "name: 'good\\n' has a line break", "Take it out"),
    "path outside": ({"outputs": ["../../secret"]}, "outputs: entry 1", "without `..`"),
    "folder outside": ({"working_directory": "../x"}, "working_directory: '../x'", "without `..`"),
    "shell in a module": ({"modules": ["gcc; reboot"]}, "modules: entry 1: 'gcc; reboot'", "openmpi/4.1.5"),
    "loader variable": ({"environment": {"LD_PRELOAD": "x"}}, "environment: LD_PRELOAD", "in the script"),
    "several at once": ({"core": 8, "walltime": "0"}, "core: is no field", "walltime: '0'"),
}
# What Airflow itself answers with 400.
REFUSED: dict[str, dict[str, object]] = {
    "cluster": {"cluster": "nowhere"},
    "memory_per_node": {"memory_per_node": "lots"},
    "nodes": {"nodes": 0},
    "name": {"name": "x\n#SBATCH --uid=0"},
    "project": {"project": "not-ours"},
}
TOO_LARGE: dict[str, object] = {"nodes": 2, "tasks_per_node": 500, "memory_per_node": "1T"}


@pytest.fixture(scope="module")
def runs(house: House) -> Iterator[dict[str, Run]]:
    """One run for each wrong request, and one for a job that fits nowhere, all ended."""
    wrong = {**{what: conf for what, (conf, _, _) in WRONG.items()}, "fits nowhere": TOO_LARGE}
    runs = {what: house.scientist.start(**{**GOOD, **conf}) for what, conf in wrong.items()}
    house.ended(*runs.values())
    yield runs


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_request_fails_at_once_with_the_fields_name_and_the_remedy(
    house: House, runs: dict[str, Run], what: str
) -> None:
    _, blamed, remedy = WRONG[what]
    _failed_at_once(house, runs[what])
    log = house.scientist.told(runs[what], "choose_cluster")
    assert blamed in log
    assert remedy in log


@pytest.mark.parametrize("what", [*WRONG, "fits nowhere"])
def test_nothing_is_decided_or_submitted_for_it(house: House, runs: dict[str, Run], what: str) -> None:
    run = runs[what]
    assert house.ledger.latest_job(*run, "") is None
    states = house.scientist.states(run)
    assert {states[f"{cluster}.submit"] for cluster in ("onprem", "azure")} == {"upstream_failed"}


def test_a_job_that_fits_nowhere_fails_at_once_and_says_why_for_each_cluster(
    house: House, runs: dict[str, Run]
) -> None:
    run = runs["fits nowhere"]
    _failed_at_once(house, run)
    log = house.scientist.told(run, "choose_cluster")
    for cluster in ("onprem", "azure"):
        assert f"\n{cluster}: " in log
    assert "the job needs 500" in log


@pytest.mark.parametrize("field", REFUSED)
def test_what_the_form_excludes_is_refused_by_airflow_itself(house: House, field: str) -> None:
    with pytest.raises(httpx.HTTPStatusError, match=rf"400(.|\n)*{field}"):
        house.scientist.start(**{**GOOD, **REFUSED[field]})


def test_a_request_without_a_name_is_refused_by_airflow_itself(house: House) -> None:
    with pytest.raises(httpx.HTTPStatusError, match=r"400(.|\n)*name"):
        house.scientist.start(script=GOOD["script"])


def _failed_at_once(house: House, run: Run) -> None:
    assert house.scientist.state(run) == "failed"
    assert house.scientist.states(run)["choose_cluster"] == "failed"
    assert house.scientist.tries(run, "choose_cluster") == 1
