"""The #SBATCH lines of a pasted script become defaults; what cannot be honoured is said, never dropped."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.directives import read_directives, script_notes
from hybrid_hpc.request import JobRequest
from hybrid_hpc.sbatch_options import BY_LETTER, OPTIONS, options_for


def script(*lines: str) -> str:
    head = "".join(f"#SBATCH {line}\n" for line in lines)
    return f"#!/bin/bash\n{head}\nsrun ./program\n"


def fields(*lines: str, given: Mapping[str, object] = {}) -> dict[str, object]:
    read = read_directives(script(*lines), given)
    assert read.problems == ()
    return {name: default.value for name, default in read.fields.items()}


def problem(*lines: str, given: Mapping[str, object] = {}) -> str:
    (found,) = read_directives(script(*lines), given).problems
    assert found.where == "script"
    return str(found)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--nodes=2", {"nodes": "2"}),
        ("--nodes 2", {"nodes": "2"}),
        ("-N 2", {"nodes": "2"}),
        ("-N2", {"nodes": "2"}),
        ("--nodes=2-2", {"nodes": "2"}),
        ("--ntasks-per-node=16", {"tasks_per_node": "16"}),
        ("-c 4", {"cpus_per_task": "4"}),
        ("--mem=4G", {"memory_per_node": "4G"}),
        ("-t 1-12:00:00", {"walltime": "1-12:00:00"}),
        ("-a0-9%4", {"array": "0-9%4"}),
        ("-J relax", {"name": "relax"}),
        ('--job-name="relax-1"', {"name": "relax-1"}),
        ("-A proj-alpha", {"project": "proj-alpha"}),
        ("-D /data/x", {"working_directory": "/data/x"}),
        ("--requeue", {"rerunnable": True}),
        ("--no-requeue", {"rerunnable": False}),
        ("--gres=gpu:2", {"gpus_per_node": 2}),
        ("--gres=gpu", {"gpus_per_node": 1}),
        ("--gres=gpu:a100:2", {"gpus_per_node": 2, "gpu_type": "a100"}),
        ("--gres=none", {"gpus_per_node": 0}),
        ("--gpus-per-node=a100:4", {"gpus_per_node": 4, "gpu_type": "a100"}),
        ("-G2", {"gpus_per_node": 2}),
        ("--cpus-per-t=4", {"cpus_per_task": "4"}),
        ("-N 2 -t 90 # a comment", {"nodes": "2", "walltime": "90"}),
        ("-HN2", {"nodes": "2"}),
        ("", {}),
    ],
)
def test_an_option_is_read_in_every_way_of_writing_it(line: str, expected: dict[str, object]) -> None:
    assert fields(line) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("-n 32", "-N 2"), {"nodes": "2", "tasks_per_node": 16}),
        (("-n 8",), {"tasks_per_node": 8}),
        (("-n 32", "--ntasks-per-node=8"), {"nodes": 4, "tasks_per_node": "8"}),
        (("-n 32", "--ntasks-per-node=16", "-N2"), {"nodes": "2", "tasks_per_node": "16"}),
        (("-n 4", "-c 2", "--mem-per-cpu=2G"), {"memory_per_node": "16G"}),
        (("--gres=gpu:2", "--mem-per-gpu=10G"), {"gpus_per_node": 2, "memory_per_node": "20G"}),
        (("-N 2", "--gpus=v100:4"), {"nodes": "2", "gpus_per_node": 2, "gpu_type": "v100"}),
        (("-n 4", "--gpus-per-task=1"), {"gpus_per_node": 4}),
        (("--nodes=2", "--nodes=3"), {"nodes": "3"}),
        (("--mem=8G", "--mem-per-cpu=1G"), {"memory_per_node": "8G"}),
    ],
)
def test_counts_of_the_whole_job_become_counts_a_node(
    lines: tuple[str, ...], expected: dict[str, object]
) -> None:
    assert fields(*lines).items() >= expected.items()


@pytest.mark.parametrize(
    ("lines", "given", "expected"),
    [
        (("--nodes=2",), {"nodes": 4}, {}),
        (("-n 32",), {"nodes": 4}, {"tasks_per_node": 8}),
        (("-n 32",), {"tasks_per_node": 8}, {"nodes": 4}),
        (("-n 32", "-N 2"), {"tasks_per_node": 4}, {"nodes": "2"}),
        (("-n 33",), {"nodes": 2, "tasks_per_node": 1}, {}),
        (("--nodes=2-4",), {"nodes": 2}, {}),
        (("--gres=gpu:a100:2",), {"gpus_per_node": 0}, {}),
        (("--gres=gpu:a100:2",), {"gpus_per_node": 1}, {"gpu_type": "a100"}),
        (("--mem-per-cpu=1G",), {"cpus_per_task": 4}, {"memory_per_node": "4G"}),
        (("--mem-per-cpu=1G",), {"memory_per_node": "2G"}, {}),
        (("--exclusive",), {"tasks_per_node": 16}, {}),
    ],
)
def test_a_field_that_was_filled_in_wins_and_the_lines_fit_themselves_to_it(
    lines: tuple[str, ...], given: dict[str, object], expected: dict[str, object]
) -> None:
    assert fields(*lines, given=given) == expected


@pytest.mark.parametrize(
    "line",
    [
        "-n 33 -N 2",
        "-n 1 -N 2",
        "--gpus=3 -N 2",
        "-n 10 --ntasks-per-node=4",
        "-n 0",
        "-n 10 -N 2 --ntasks-per-node=4",
    ],
)
def test_counts_that_do_not_come_out_even_are_refused_with_the_line(line: str) -> None:
    assert "script: line 2: --" in problem(line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--dependency=afterok:1", "tasks of one DAG"),
        ("-w node01", "nodes are not picked by name"),
        ("--begin=now+1hour", "Airflow schedule"),
        ("--signal=B:USR1@300", "in the script itself"),
        ("--exclusive", "Say how many it must give"),
        ("--export=ALL,FOO=1", "Environment"),
        ("--nodes=2-4", "one number of nodes"),
        ("--gres=gpu:1,craynetwork:1", "one kind only"),
        ("--gres=craynetwork:1", "one kind only"),
        ("--gpus-per-node=a:b:2", "type and a number"),
        ("--mem-per-gpu=4G", "ask for GPUs"),
        ("--mem-per-cpu=lots", "such as 500M or 4G"),
        ("-n many", "no whole number"),
        ("--ntask-per-node=4", "Did you mean --ntasks-per-node"),
        ("--colour=blue", "knows no option --colour"),
        ("-Y 3", "knows no option -Y"),
        ("--n=3", "knows no option --n"),
        ("--requeue=1", "takes no value"),
        ("--nodes", "has no value"),
        ("-N", "has no value"),
        ("nodes=2", "belongs to no option"),
        ("hetjob", "nodes of one kind only"),
        ('--job-name="relax', "no closing quotation"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_the_line_and_a_remedy(line: str, says: str) -> None:
    message = problem(line)
    assert message.startswith("script: line 2: ")
    assert says in message


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("--partition=compute", "line 2: --partition=compute is left out: the placement chooses"),
        ("-p compute", "line 2: --partition=compute is left out: the placement chooses"),
        ("-o out.%j", "line 2: --output=out.%j is left out: the output is kept in the run directory"),
        ("--mail-type=END", "line 2: --mail-type=END is left out: Airflow tells"),
        ("--qos=long", "line 2: --qos=long is left out"),
        ("-C ib", "line 2: --constraint=ib is left out"),
        ("--export=ALL", "line 2: --export=ALL is left out"),
        ("--hint=nomultithread", "line 2: --hint=nomultithread is left out: it tunes"),
        ("--nice", "line 2: --nice is left out"),
        ("-n 8", "line 2: --ntasks=8 without --nodes: all tasks go on one node"),
        ("--exclusive -c 4", "line 2: --exclusive is left out: ask for all cores"),
    ],
)
def test_what_is_left_out_is_told_in_a_note_and_is_no_problem(line: str, note: str) -> None:
    assert read_directives(script(line), {}).problems == ()
    assert script_notes(script(line))[0].startswith(note)


def test_lines_after_the_first_command_are_not_read_and_a_note_says_so() -> None:
    text = "#!/bin/bash\n\n# words\n#SBATCH -N 2\n##SBATCH -N 7\necho\n#SBATCH -N 3\n"
    assert read_directives(text, {}).fields["nodes"].value == "2"
    assert script_notes(text) == (
        "line 7: this #SBATCH line stands after the first command, where sbatch does not read it",
    )


def test_lines_of_another_scheduler_are_told_in_a_note() -> None:
    assert script_notes("#!/bin/bash\n#PBS -l nodes=4\n") == (
        "line 2: '#PBS -l nodes=4' is not read: only #SBATCH lines are",
    )


def test_a_default_remembers_its_line() -> None:
    assert read_directives(script("-N 2", "-t 90"), {}).fields["walltime"].line == 3


def test_thousands_of_wrong_lines_end_after_a_few_problems() -> None:
    assert len(read_directives(script(*["--colour"] * 5000), {}).problems) == 20


def test_a_line_of_a_million_letters_is_refused_unread() -> None:
    assert "longer than 4096" in problem("--" + "a" * 1_000_000)


def test_every_option_has_exactly_one_meaning_and_names_a_real_field() -> None:
    for option in OPTIONS.values():
        assert bool(option.field) + bool(option.left_out) + bool(option.refused) == 1, option
        assert option.field in {"", *JobRequest.model_fields}
    assert len(BY_LETTER) == len([option for option in OPTIONS.values() if option.short])


def test_the_first_option_of_a_field_is_the_one_to_name_in_the_form() -> None:
    assert options_for("tasks_per_node")[0] == "--ntasks-per-node"
    assert options_for("cluster") == ()


@settings(deadline=None)
@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_lines_are_read_or_refused_in_single_lines(lines: list[str]) -> None:
    text = script(*lines)
    read = read_directives(text, {})
    for message in (*script_notes(text), *map(str, read.problems)):
        assert message.isprintable()
