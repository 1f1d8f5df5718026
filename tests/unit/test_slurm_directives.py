"""The directives of the batch script: all that was asked for, and nothing that a value smuggles in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hybrid_hpc.errors import InvalidRequest
from hybrid_hpc.schedulers.base import Submission
from hybrid_hpc.schedulers.slurm_script import batch_script
from tests.unit.batch_job import request


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("name", {"name": "x\ntouch canary"}),
        ("project", {"project": "alpha --uid=0"}),
        ("array", {"array": "1-2\n#SBATCH --uid=0"}),
        ("gpu_type", {"gpu_type": "a100\n", "gpus_per_node": 1}),
        ("environment", {"environment": {"A=b; touch canary; C": "x"}}),
        ("working_directory", {"working_directory": "a\nb"}),
    ],
)
def test_a_hostile_value_is_refused_by_name(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        batch_script(Submission("hh-token", request(**fields), "batch", "/scratch/hh-token"))
    assert [problem.where for problem in caught.value.problems] == [field]


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("token", {"token": "hh-longer-than-15"}),
        ("token", {"token": "-x"}),
        ("partition", {"partition": "batch\n#SBATCH --uid=0"}),
        ("partition", {"partition": "--uid=0"}),
        ("run_dir", {"run_dir": "/scratch/with space"}),
        ("run_dir", {"run_dir": "/scratch/%j"}),
        ("run_dir", {"run_dir": "scratch"}),
        ("directives.qos", {"directives": {"qos": "high\ntouch canary"}}),
        ("directives", {"directives": {"qos x": "high"}}),
        ("directives.job-name", {"directives": {"job-name": "mine"}}),
    ],
)
def test_a_hostile_place_or_directive_is_refused_by_name(field: str, given: dict[str, Any]) -> None:
    values: dict[str, Any] = {
        "token": "hh-token",
        "request": request(),
        "partition": "batch",
        "run_dir": "/scratch/hh-token",
        **given,
    }
    with pytest.raises(InvalidRequest) as caught:
        batch_script(Submission(**values))
    assert field in {problem.where for problem in caught.value.problems}


def test_all_that_was_asked_for_stands_in_the_directives() -> None:
    asked = request(
        name="relax",
        nodes=3,
        tasks_per_node=4,
        cpus_per_task=2,
        memory_per_node="3G",
        gpus_per_node=2,
        gpu_type="a100",
        walltime="1-12:00:00",
        array="0-9%4",
        project="alpha",
        rerunnable=True,
    )
    script = batch_script(
        Submission("hh-token", asked, "gpu", "/scratch/hh-token", {"qos": "high", "exclusive": ""})
    )
    assert script.split("\n\n")[0].splitlines()[1:] == [
        "#SBATCH --job-name=hh-token",
        "#SBATCH --comment=relax",
        "#SBATCH --partition=gpu",
        "#SBATCH --account=alpha",
        "#SBATCH --nodes=3",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --mem=3072M",
        "#SBATCH --gres=gpu:a100:2",
        "#SBATCH --time=1-12:00:00",
        "#SBATCH --array=0-9%4",
        "#SBATCH --chdir=/scratch/hh-token",
        "#SBATCH --output=/scratch/hh-token/output.%a.log",
        "#SBATCH --open-mode=append",
        "#SBATCH --export=ALL",
        "#SBATCH --requeue",
        "#SBATCH --qos=high",
        "#SBATCH --exclusive",
    ]


@pytest.mark.parametrize(
    ("asked_by", "comment"),
    [
        ("ada@example.org", "relax,by=ada@example.org"),
        ("", "relax"),
        ("x\n#SBATCH --uid=0", "relax,by=x__SBATCH_--uid_0"),
        ("$(id);`id` 'x'", "relax,by=__id___id___x_"),
        ("Ü" * 300, "relax,by=" + "_" * 100),
    ],
)
def test_the_comment_says_who_asked_and_nothing_that_could_be_a_line_or_a_command(
    asked_by: str, comment: str
) -> None:
    nobodys = Submission("hh-token", request(name="relax"), "batch", "/scratch/hh-token")
    expected = batch_script(nobodys).replace("#SBATCH --comment=relax\n", f"#SBATCH --comment={comment}\n")
    assert batch_script(replace(nobodys, asked_by=asked_by)) == expected


def test_a_job_is_not_run_again_unless_it_may_be() -> None:
    script = batch_script(Submission("hh-token", request(), "batch", "/scratch/hh-token"))
    assert "#SBATCH --no-requeue\n" in script
    assert "#SBATCH --requeue\n" not in script


@pytest.mark.parametrize(
    ("fields", "evictable", "flag"),
    [
        ({}, True, "--no-requeue"),
        ({}, False, "--requeue"),
        ({"array": "0-3"}, True, "--requeue"),
    ],
    ids=["one job: sent anew by policy", "on nodes that stay", "tasks: by the scheduler alone"],
)
def test_on_spot_nodes_the_scheduler_itself_starts_only_the_tasks_of_an_array_over(
    fields: dict[str, Any], evictable: bool, flag: str
) -> None:
    asked = request(rerunnable=True, spot="allowed", **fields)
    script = batch_script(Submission("hh-token", asked, "spot", "/scratch/hh-token", evictable=evictable))
    assert [line for line in script.splitlines() if "requeue" in line and "#SBATCH" in line] == [
        f"#SBATCH {flag}"
    ]
