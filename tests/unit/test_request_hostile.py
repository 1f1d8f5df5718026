"""Nothing that could run as a command, leave its folder or break a line gets through a request."""

from __future__ import annotations

import posixpath
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.errors import InvalidRequest
from hybrid_hpc.request import JobRequest, read_request

SINGLE_LINE = (
    "name", "cluster", "memory_per_node", "gpu_type", "walltime", "array", "project", "working_directory"
)  # fmt: skip
SHELL = re.compile(r"[\s;&|<>$`'\"\\(){}*?!#~]")
INJECTIONS = [
    "x\ntouch /tmp/owned #",
    "x\r#SBATCH --uid=0",
    "x\u2028y",
    "x\x00y",
    "x\x1b[2J",
    "x\x7f",
    "x\ud800",
    "$(id)",
    "`id`",
    "${IFS}id",
    "x;id",
    "x|id",
    "x&id",
    "x>y",
    "x y",
    "'x'",
    '"x"',
    "x\\y",
    "-x",
    "--uid=0",
    "{{ var.value.x }}",
    "{% x %}",
    "~root",
    "x" * 300,
]


def request(**values: object) -> JobRequest:
    return read_request({"name": "relax", "script": "srun ./program\n", "gpus_per_node": 1, **values})


def refused(**values: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(**values)
    assert {problem.where for problem in caught.value.problems} == set(values)
    assert all(str(problem).isprintable() for problem in caught.value.problems)


@pytest.mark.parametrize("hostile", INJECTIONS)
@pytest.mark.parametrize("field", SINGLE_LINE)
def test_a_hostile_text_is_refused_with_the_fields_name(field: str, hostile: str) -> None:
    refused(**{field: hostile})


@pytest.mark.parametrize("hostile", INJECTIONS)
def test_a_hostile_module_is_refused(hostile: str) -> None:
    refused(modules=["gcc/12", hostile])


@pytest.mark.parametrize(
    "hostile",
    [
        "../x", "a/../../x", "..", "a/..", "/etc/passwd", "~/x", "-rf", "a\\b", "a\nb", "a\x00b", "a\x1bb",
        "a\ud800", "x" * 501,
    ],
)  # fmt: skip
def test_an_output_outside_the_run_directory_is_refused(hostile: str) -> None:
    refused(outputs=["good.csv", hostile])


@pytest.mark.parametrize("hostile", ["../x", "a/../..", "/data/../etc", "..", "$HOME", "~", "a b", "-x"])
def test_a_working_directory_that_leads_elsewhere_is_refused(hostile: str) -> None:
    refused(working_directory=hostile)


@pytest.mark.parametrize("good", ["work", "work/run.1", "./work", "/data/proj-alpha/x", "a..b"])
def test_an_honest_working_directory_is_taken(good: str) -> None:
    assert request(working_directory=good).working_directory == good


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "BASH_ENV", "ENV", "IFS", "SHELLOPTS", "BASHOPTS", "PS4",
        "PROMPT_COMMAND", "SLURM_JOB_ID", "SBATCH_PARTITION", "PYTHONPATH", "PYTHONSTARTUP", "HH_TOKEN",
        "BASH_FUNC_module", "BASH_FUNC_x%%", "1A", "A B", "A=B", "A\nB", "", "A-B", "É", "A" * 101,
    ],
)  # fmt: skip
def test_a_variable_that_could_take_over_the_job_is_refused(name: str) -> None:
    refused(environment={"GOOD": "1", name: "x"})


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b", "a\x1bb", "a\u2028b", "a\ud800"])
def test_a_variables_value_with_a_control_character_is_refused(value: str) -> None:
    refused(environment={"GOOD": value})


@pytest.mark.parametrize("value", ["", "a b", "$HOME; `id` $(id) 'x' \"y\" \\", "naïve ✓"])
def test_a_variables_value_may_hold_anything_that_is_printable(value: str) -> None:
    assert request(environment={"GOOD": value}).environment == {"GOOD": value}


def taken(field: str, value: object) -> object:
    """What the request holds, or None when it was refused with nothing but that field's name."""
    try:
        return getattr(request(**{field: value}), field)
    except InvalidRequest as refusal:
        assert {problem.where for problem in refusal.problems} == {field}
        return None


@settings(deadline=None)
@given(st.sampled_from(SINGLE_LINE), st.text(max_size=60) | st.from_regex(r"[a-z0-9./:%-]{1,20}\s?"))
def test_whatever_passes_a_single_line_field_means_nothing_to_a_shell(field: str, text: str) -> None:
    value = taken(field, text)
    if isinstance(value, str):
        assert value.isascii()
        assert not SHELL.search(value.replace(" ", "") if field == "memory_per_node" else value)
        assert not value.startswith("-")


@settings(deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"\A[a./*-]{1,12}\Z"))
def test_whatever_passes_as_an_output_stays_inside_the_run_directory(text: str) -> None:
    for glob in taken("outputs", [text]) or []:  # type: ignore[attr-defined]
        inside = posixpath.normpath(posixpath.join("/run", glob))
        assert inside == "/run" or inside.startswith("/run/")
        assert glob.isprintable()


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=3))
def test_whatever_passes_as_environment_has_names_of_variables_and_printable_values(
    variables: dict[str, str],
) -> None:
    for name, value in (taken("environment", variables) or {}).items():  # type: ignore[attr-defined]
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
        assert value.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*JobRequest.model_fields, "nods"]), JSON, max_size=6))
def test_any_json_is_read_or_refused_as_invalid_and_nothing_else(values: dict[str, object]) -> None:
    try:
        read_request(values)
    except InvalidRequest as refusal:
        assert refusal.problems


@pytest.mark.parametrize(
    "key", ["ssh_connection", "ssh_connections", "connection", "runs_as", "people", "account", "user", "uid"]
)
def test_a_request_cannot_say_by_which_connection_or_as_whom_it_runs(key: str) -> None:
    refused(**{key: "hpc_admin"})
