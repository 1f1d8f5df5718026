"""Every option that sbatch knows (22.05 to 25.05), and what a job request makes of it. Data only.

An option either gives the default of a field, or is left out with a note (it means one site only, or we
decide it), or is refused (leaving it out would change what the job computes or what it runs on).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Takes(StrEnum):
    """Whether an option has a value."""

    VALUE = "value"
    MAYBE = "maybe"  # only joined on: --nice or --nice=10
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of sbatch.

    ``field``: the field of a job request it speaks about. ``left_out``: why it is left out, in words.
    ``refused``: what to do instead of it.
    """

    name: str
    short: str = ""
    takes: Takes = Takes.VALUE
    field: str = ""
    left_out: str = ""
    refused: str = ""


_PLACEMENT = "the placement chooses the partition and the site"
_OUTPUT = "the output is kept in the run directory and shown in the task's log"
_MAIL = "Airflow tells how the job ends"
_TUNING = "it tunes the job to the hardware of one site"
_SITE = "it means something at one site only"
_TALK = "it changes what sbatch prints, not the job"
_QUEUE = "the queue's order and the submission are not the job's to decide"

_FIELDS = (
    "account A project, array a array, chdir D working_directory, cpus-per-task c cpus_per_task, "
    "gpus-per-node - gpus_per_node, gres - gpus_per_node, gpus G gpus_per_node, "
    "gpus-per-task - gpus_per_node, job-name J name, mem - memory_per_node, mem-per-cpu - memory_per_node, "
    "mem-per-gpu - memory_per_node, nodes N nodes, "
    "ntasks-per-node - tasks_per_node, ntasks n tasks_per_node, time t walltime"
)

# Options with a value, then ? for a value that may be missing, ! for none; a second word is the letter.
_LEFT_OUT = {
    _PLACEMENT: "partition p, qos q, constraint C, cluster-constraint, clusters M, prefer, reservation, "
    "exclude x, batch, licenses L",
    _OUTPUT: "output o, error e, open-mode",
    _MAIL: "mail-type, mail-user",
    _TUNING: "distribution m, hint, cores-per-socket, sockets-per-node, threads-per-core, "
    "extra-node-info B, ntasks-per-core, ntasks-per-socket, mem-bind, cpu-freq, gpu-bind, gpu-freq, "
    "gres-flags, tres-bind, core-spec S, thread-spec, contiguous !, switches, network, spread-job !, "
    "use-min-nodes !, segment, acctg-freq, profile, resv-ports ?, stepmgr !, overcommit O!, "
    "oversubscribe s!, share !, propagate ?, power, consolidate-segments !, oom-kill-step ?",
    _SITE: "comment, wckey, mcs-label, extra, uid, gid, tmp, delay-boot, reboot !, get-user-env ?",
    _TALK: "parsable !, quiet Q!, verbose v!, help h!, usage !, version V!, test-only !, wait W!, "
    "ignore-pbs !",
    _QUEUE: "nice ?, priority, hold H!, immediate I?, no-kill k?, kill-on-invalid-dep, time-min, "
    "wait-all-nodes",
    "a deadline needs a time zone: give it in the field Deadline": "deadline",
}

_REFUSED = {
    "Make the jobs tasks of one DAG: Airflow runs them in order, also across clusters.": "dependency d",
    "Take the line out: nodes are not picked by name, because the cluster is not known yet.": "nodelist w, "
    "nodefile F",
    "Let an Airflow schedule start the job at that time.": "begin b",
    "Send the signal in the script itself, with `timeout --signal=…` before your program.": "signal",
    "Read the file in the script itself: `program < file`.": "input i",
    "Start the container in the script itself, such as `apptainer exec image.sif program`.": "container, "
    "container-id",
    "Stage the data in the script itself.": "bb, bbf",
    "Write `export NAME=value` lines in the script, or fill in the field Environment.": "export-file",
    "Put the commands into the script itself.": "wrap",
    "Write --ntasks-per-node, --cpus-per-task and --gpus-per-node instead.": "gpus-per-socket, "
    "ntasks-per-gpu, cpus-per-gpu, mincpus, tres-per-task",
}

_TAKES = {"": Takes.VALUE, "?": Takes.MAYBE, "!": Takes.NOTHING}


def _named(text: str) -> Iterator[tuple[str, str, Takes]]:
    """Name, letter and value of every option of a list such as ``'hold H!, nice ?'``."""
    for entry in text.split(", "):
        name, _, rest = entry.partition(" ")
        letter = rest.rstrip("?!")
        yield name, letter, _TAKES[rest[len(letter) :]]


def _all() -> Iterator[Option]:
    for entry in _FIELDS.split(", "):
        name, letter, field = entry.split()
        yield Option(name, letter.strip("-"), field=field)
    yield Option("requeue", takes=Takes.NOTHING, field="rerunnable")
    yield Option("no-requeue", takes=Takes.NOTHING, field="rerunnable")
    yield Option("export", left_out="the job starts with a clean environment, see the field Environment")
    yield Option("exclusive", takes=Takes.MAYBE, left_out="ask for all cores of a node to have it alone")
    for why, names in _LEFT_OUT.items():
        yield from (Option(name, letter, takes, left_out=why) for name, letter, takes in _named(names))
    for remedy, names in _REFUSED.items():
        yield from (Option(name, letter, takes, refused=remedy) for name, letter, takes in _named(names))


OPTIONS: dict[str, Option] = {option.name: option for option in _all()}
BY_LETTER: dict[str, Option] = {option.short: option for option in OPTIONS.values() if option.short}


def options_for(field: str) -> tuple[str, ...]:
    """The options that speak about a field of a job request: ``('--nodes',)``; () when none does."""
    return tuple(f"--{option.name}" for option in OPTIONS.values() if option.field == field)
