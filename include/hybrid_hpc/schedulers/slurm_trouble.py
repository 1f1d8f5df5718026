"""What Slurm says when something is wrong, sorted by whether waiting helps.

Slurm may exit 0 and put an error on stderr, so what it says counts, not the exit status alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from hybrid_hpc.commands import Answer
from hybrid_hpc.errors import (
    ConnectionLost,
    Refused,
    SubmissionRefused,
    Unavailable,
    Unreachable,
    Unreadable,
)

# The daemon was not reached or turned the call away: nothing happened.
_NOT_TAKEN = re.compile(
    r"Unable to contact slurm controller|Rate limit exceeded|backup controller in standby mode|"
    r"Unable to process configuration file|temporarily unable to (?:accept|handle)",
    re.IGNORECASE,
)
# The daemon may have done it: its answer is what is missing.
_IN_DOUBT = re.compile(
    r"Socket timed out|Zero Bytes were transmitted or received|Unexpected message received|"
    r"Connection (?:refused|timed out|reset)|Transport endpoint is not connected|"
    r"Communication connection failure|Message (?:receive|send) failure|Broken pipe|"
    r"Protocol authentication error|Munge \w+ failed|Resource temporarily unavailable|"
    r"Problem talking to the database|failed to open persistent connection|Unable to connect to database",
    re.IGNORECASE,
)
# What a login profile prints on stderr is no word of Slurm's, whatever it says about connections.
_SAYS = re.compile(
    r"^(?:slurm_\w+ error|(?:sbatch|squeue|sacct|scancel|scontrol): |allocation failure|Unexpected message)"
    r".*",
    re.MULTILINE,
)
NO_ACCOUNTING = "accounting storage is disabled"
_NOT_FOUND = 127  # what a shell exits with when there is no such command

_PREFIX = re.compile(
    r"^(?:\w+: )?(?:error|fatal): |^\w+ error: |^(?:Batch job submission failed|allocation failure): "
)

# Slurm's words -> what they mean to the person whose job it is, and what to do.
_REFUSALS: Mapping[str, str] = {
    "Invalid account or account/partition combination": "this user or project may not use that partition; "
    "choose another project",
    "Invalid partition name": "there is no such partition; clusters.yaml names one that Slurm does not have",
    "Requested node configuration is not available": "no node of the partition can hold this job; ask for "
    "fewer cores, less memory or fewer GPUs per node",
    "Requested time limit is invalid": "the walltime is longer than the partition allows; ask for less",
    "Requested partition configuration not available": "the partition does not take jobs of this shape at "
    "the moment",
    "Invalid qos specification": "the quality of service is not known there or not allowed for this project",
    "Invalid job array specification": "the array has a higher index than the cluster takes; use fewer tasks",
    "Job violates accounting/QOS policy": "a limit of the cluster is reached (jobs submitted, size or time "
    "of one user or project); wait for jobs to end, or ask for less",
    "Memory specification can not be satisfied": "no node has that much memory; ask for less per node",
    "CPU count per node can not be satisfied": "no node has that many cores; ask for fewer per node",
    "Node count specification invalid": "the partition has fewer nodes; ask for fewer",
    "Invalid generic resource": "the partition has no such GPU; leave the type out or choose another",
    "Invalid feature specification": "no node has the feature that clusters.yaml asks for",
    "Access/permission denied": "this user may not submit there",
    "group not permitted to use this partition": "this user's group may not use that partition",
    "Invalid license": "the cluster has no such licence; clusters.yaml asks for it",
    "Requested reservation is invalid": "there is no such reservation; clusters.yaml asks for it",
    "unrecognized option": "clusters.yaml has a directive that this version of Slurm does not know",
    "I/O error writing script/output to file": "the scheduler could not store the job; its disk may be full",
}


def raise_trouble(answer: Answer) -> None:
    """Raises `Unavailable` when stderr says that a daemon did not answer; else returns."""
    said = _said(answer)
    if _NOT_TAKEN.search(said) or _IN_DOUBT.search(said):
        raise Unavailable(f"Slurm does not answer: {words(said)}")


def _said(answer: Answer) -> str:
    return "\n".join(_SAYS.findall(answer.stderr))


def raise_unreadable(answer: Answer) -> NoReturn:
    """For an answer without what was asked for: the daemon's trouble first, else `Unreadable`."""
    raise_trouble(answer)
    if answer.exit_status == _NOT_FOUND:
        raise Unavailable(f"Slurm's commands are not found on the head node: {words(answer.stderr)}")
    said = words(answer.stderr or answer.stdout[-500:])
    raise Unreadable(f"Slurm's answer makes no sense (exit status {answer.exit_status}): {said!r}")


def raise_not_submitted(answer: Answer) -> NoReturn:
    """For an answer of sbatch without a job id.

    `Unreachable`: surely not submitted. `ConnectionLost`: perhaps submitted. `SubmissionRefused`: not
    taken, with the reason. `Unreadable`: none of these, so perhaps submitted too.
    """
    said = _said(answer)
    if _IN_DOUBT.search(said):
        raise ConnectionLost(f"Slurm did not say whether it took the job: {words(said)}")
    if _NOT_TAKEN.search(said):
        raise Unreachable(f"Slurm does not answer: {words(said)}")
    if answer.exit_status == _NOT_FOUND:
        raise SubmissionRefused(f"sbatch is not found on the head node: {words(answer.stderr)}")
    if answer.exit_status == 0 or not said:
        raise Unreadable(f"sbatch left no job id and no reason (exit status {answer.exit_status})")
    raise SubmissionRefused(refusal(words(said)))


def raise_refused(answer: Answer, what: str) -> NoReturn:
    """For a change that Slurm did not make: the daemon's trouble first, else `Refused`."""
    raise_trouble(answer)
    raise Refused(f"Slurm does not {what}: {words(answer.stderr or answer.stdout[-500:])}")


def refusal(said: str) -> str:
    """A sentence for a person, with Slurm's own words at its end."""
    meant = [meaning for word, meaning in _REFUSALS.items() if word.lower() in said.lower()]
    return f"{meant[0]} (Slurm: {said})" if meant else f"Slurm does not take the job: {said}"


def words(text: str) -> str:
    """Slurm's messages without their prefixes, each once, on one line of at most 500 characters."""
    lines = (_without_prefix(line.strip()) for line in text.split("\n"))
    return "; ".join(dict.fromkeys(line for line in lines if line))[:500]


def _without_prefix(line: str) -> str:
    shorter = _PREFIX.sub("", line)
    return line if shorter == line else _without_prefix(shorter)
