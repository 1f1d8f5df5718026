"""A request is read from a form, an API call or a script, and says in words what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.errors import InvalidRequest, Problem
from hybrid_hpc.request import EXAMPLE_SCRIPT, JobRequest, read_request
from hybrid_hpc.units import MAX_WALLTIME_S, format_memory, format_walltime

SCRIPT = "#!/bin/bash\nsrun ./program\n"


def request(**values: object) -> JobRequest:
    return read_request({"name": "relax", "script": SCRIPT, **values})


def problems(**values: object) -> dict[str, Problem]:
    with pytest.raises(InvalidRequest) as caught:
        request(**values)
    return {problem.where: problem for problem in caught.value.problems}


def test_a_name_and_a_script_are_enough() -> None:
    found = request()
    assert (found.nodes, found.cores, found.gpus, found.walltime_s) == (1, 1, 0, 3600)
    assert (found.memory_per_node_mib, found.array_tasks, found.array_limit) == (None, 1, None)
    assert (found.cluster, found.rerunnable, found.notes) == ("auto", False, ())


def test_numbers_are_those_of_the_whole_job() -> None:
    found = request(
        nodes=2, tasks_per_node=4, cpus_per_task=8, gpus_per_node=2, memory_per_node="4G", array="0-9%4"
    )
    assert (found.cores_per_node, found.cores, found.gpus, found.memory_per_node_mib) == (32, 64, 4, 4096)
    assert (found.array_tasks, found.array_limit) == (10, 4)


@pytest.mark.parametrize("nothing", [None, "", "  ", [], {}])
def test_a_field_left_empty_is_the_same_as_no_field(nothing: object) -> None:
    fields = set(JobRequest.model_fields) - {"name", "script"}
    assert request(**dict.fromkeys(fields, nothing)) == request()


def test_the_scripts_lines_count_for_empty_fields_only() -> None:
    script = "#!/bin/bash\n#SBATCH -N 2 -n 32 -t 90 --mem=8G -J pasted -A proj-alpha --gres=gpu:a100:1\n./x\n"
    found = read_request({"name": None, "script": script, "walltime": "10", "project": ""})
    assert (found.name, found.nodes, found.tasks_per_node, found.walltime_s) == ("pasted", 2, 16, 600)
    assert (found.memory_per_node, found.project, found.gpu_type) == ("8G", "proj-alpha", "a100")


def test_a_wrong_value_in_the_script_names_its_field_and_its_line() -> None:
    problem = problems(script="#!/bin/bash\n\n#SBATCH --time=1d\n./x\n")["walltime"]
    assert problem.what == "'1d' is not a walltime (line 3 of the script)"


def test_a_line_that_cannot_be_honoured_refuses_the_request() -> None:
    assert "line 1: --dependency=afterok:1" in problems(script="#SBATCH -d afterok:1\n./x\n")["script"].what


def test_a_wrong_line_that_a_field_overrules_does_no_harm() -> None:
    assert request(script="#SBATCH --time=1d\n./x\n", walltime="90").walltime_s == 5400


def test_notes_tell_what_was_left_out() -> None:
    assert request(script="#SBATCH -p compute\n./x\n").notes[0].startswith("line 1: --partition=compute")


def test_the_example_script_of_the_form_is_a_good_request() -> None:
    assert request(script=EXAMPLE_SCRIPT).cores == 2


def test_every_wrong_field_is_told_at_once_each_with_a_remedy() -> None:
    found = problems(
        name="a b", nodes=0, memory_per_node="lots", walltime="1d", array="9-0", gpu_type="a100", nods=1
    )
    assert set(found) == {"name", "nodes", "memory_per_node", "walltime", "array", "gpu_type", "nods"}
    assert all(problem.what and problem.remedy for problem in found.values())


def test_a_missing_name_and_script_are_told() -> None:
    with pytest.raises(InvalidRequest, match=r"name: is missing\. .*\nscript: is missing"):
        read_request({})


@pytest.mark.parametrize(
    ("key", "says"), [("nods", "Did you mean nodes?"), ("core", "Known are: "), ("a\nb", "Known are: ")]
)
def test_an_unknown_field_is_refused_with_the_nearest_one(key: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_request({"name": "x", "script": SCRIPT, key: 1})
    (problem,) = caught.value.problems
    assert says in problem.remedy
    assert problem.where.isprintable()


def test_an_unknown_field_is_refused_even_when_it_is_empty() -> None:
    assert set(problems(nods=None)) == {"nods"}


@pytest.mark.parametrize("values", [None, [], "name", 3])
def test_what_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(InvalidRequest, match="request: needs fields with values"):
        read_request(values)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("nodes", 0, "must be at least 1"),
        ("nodes", 10_001, "must be at most 10000"),
        ("nodes", "two", "whole number, not 'two'"),
        ("nodes", 1.5, "whole number, not 1.5"),
        ("nodes", True, "whole number, not True"),
        ("tasks_per_node", -1, "must be at least 1"),
        ("cpus_per_task", 10**30, "must be at most 4096"),
        ("cpus_per_task", "9" * 5000, "is far too large"),
        ("gpus_per_node", -1, "must be at least 0"),
        ("walltime", True, "needs text, not True"),
        ("max_cost_usd", 0, "must be more than 0"),
        ("max_cost_usd", float("nan"), "finite number, not nan"),
        ("max_cost_usd", float("inf"), "finite number, not inf"),
        ("max_cost_usd", "cheap", "number, not 'cheap'"),
        ("rerunnable", "maybe", "yes or no"),
        ("spot", "always", "must be 'never' or 'allowed'"),
        ("gpu_type", "a100", "no GPU is asked for"),
        ("modules", "gcc/12", "needs a list"),
        ("modules", ["gcc/12", 3], "entry 2: needs text"),
        ("outputs", ["x"] * 201, "has 201 entries"),
        ("environment", "A=1", "names with values"),
        ("environment", {"A": None}, "entry 'A': needs text"),
        ("environment", {"A": True}, "entry 'A': needs text"),
        ("environment", {f"A{n}": "" for n in range(201)}, "has 201 entries"),
        ("environment", {"A": "x" * 40_000}, "too long"),
        ("deadline", "2030-05-31T18:00:00", "has no time zone"),
        ("deadline", "tomorrow", "tomorrow"),
        ("deadline", 1_900_000_000, "no date"),
        ("deadline", "0001-01-01T00:00:00+14:00", "the year 1"),
        ("deadline", "9999-12-31T23:59:59-14:00", "the year 9999"),
        ("script", 3, "needs text"),
        ("script", "x" * (1024**2 + 1), "larger than 1 MiB"),
        ("script", "ls\0", "no text"),
        ("script", "ls \ud800", "no text"),
    ],
)
def test_a_value_out_of_bounds_is_refused_at_its_field(field: str, value: object, says: str) -> None:
    found = problems(**{field: value})
    assert list(found) == [field]
    assert says in found[field].what


@pytest.mark.parametrize("script", [" ", "\n\n", "\ufeff\r\n"])
def test_a_script_without_a_word_in_it_is_refused(script: str) -> None:
    assert set(problems(script=script)) == {"script"}


def test_a_script_from_windows_is_put_right() -> None:
    assert request(script="\ufeff\r\n#!/bin/bash\r\n#SBATCH -N 2\r\necho\r\n").script == (
        "#!/bin/bash\n#SBATCH -N 2\necho\n"
    )


def test_numbers_are_taken_where_a_person_would_write_them() -> None:
    found = request(walltime=90, memory_per_node=2048, array=3, nodes="2", environment={"N": 4, "X": 0.5})
    assert (found.walltime_s, found.memory_per_node_mib, found.array_tasks, found.nodes) == (5400, 2048, 1, 2)
    assert found.environment == {"N": "4", "X": "0.5"}


def test_blank_lines_of_the_form_are_no_entries() -> None:
    found = request(modules=["gcc/12", "", "  "], outputs=["", "results/*.csv", " plots/a b.png "])
    assert (found.modules, found.outputs) == (["gcc/12"], ["results/*.csv", "plots/a b.png"])


def test_a_deadline_is_kept_in_utc() -> None:
    moment = datetime(2030, 5, 31, 18, tzinfo=timezone(timedelta(hours=2)))
    for value in (moment, "2030-05-31T18:00:00+02:00", "2030-05-31T16:00:00.000Z"):
        assert request(deadline=value).deadline == datetime(2030, 5, 31, 16, tzinfo=UTC)


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        request().nodes = 4  # type: ignore[misc]


REQUESTS = st.fixed_dictionaries(
    {
        "nodes": st.integers(1, 100),
        "gpus_per_node": st.integers(1, 8),
        "gpu_type": st.none() | st.just("a100"),
        "walltime": st.integers(1, MAX_WALLTIME_S).map(format_walltime),
        "memory_per_node": st.none() | st.integers(1, 10**7).map(format_memory),
        "array": st.none() | st.sampled_from(["0-9", "1,3,5-7%2"]),
        "deadline": st.none() | st.integers(10**9, 4 * 10**9).map(lambda s: datetime.fromtimestamp(s, UTC)),
        "max_cost_usd": st.none() | st.floats(0.01, 1e6),
        "environment": st.dictionaries(st.from_regex(r"\AV_[A-Z]{1,9}\Z"), st.text("abc $'\"\\", max_size=9)),
        "outputs": st.lists(st.from_regex(r"\A[a-z]{1,9}/\*\.csv\Z"), max_size=3),
    }
)


@settings(deadline=None)
@given(REQUESTS)
def test_a_request_goes_through_json_unchanged(values: dict[str, object]) -> None:
    there = request(**values, script="#SBATCH -p x -N 3\n./x\n")
    plain = there.model_dump(mode="json")
    assert JobRequest.model_validate(plain) == there
    assert read_request(plain) == there
    assert JobRequest.model_validate_json(there.model_dump_json()) == there


def test_an_array_is_not_resubmitted_as_a_whole_and_the_remedy_is_named() -> None:
    found = problems(array="0-3", on_node_failure="resubmit")
    assert str(found["on_node_failure"]) == (
        "on_node_failure: cannot be resubmit for an array: tasks that have ended well would run again. "
        "Set rerunnable instead: the cluster starts lost tasks over."
    )


def test_an_array_may_be_evicted_only_when_its_tasks_may_be_run_again() -> None:
    assert str(problems(array="0-3", spot="allowed")["spot"]) == (
        "spot: cannot be allowed for an array whose tasks may not be run again. "
        "Set rerunnable, too: the cluster starts evicted tasks over."
    )
    assert request(array="0-3", spot="allowed", rerunnable=True).allows_spot
    assert request(array="0-3", spot="allowed", script="#SBATCH --requeue\n./x\n").allows_spot
    assert not request().allows_spot
