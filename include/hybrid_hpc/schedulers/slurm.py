"""Slurm: its commands and how their answers are read. Measured on 22.05.8; nothing newer is asked for.

All commands but `submit_command` run under ``env -i`` with TZ=UTC and SLURM_TIME_FORMAT=%s: what a login
profile sets (SQUEUE_FORMAT, SACCT_FORMAT, SBATCH_PARTITION ...) must not change what we ask or read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.errors import Invalid, NoAccounting, Problem, Unreadable
from hybrid_hpc.schedulers import slurm_history, slurm_nodes, slurm_queue
from hybrid_hpc.schedulers.base import WITHDRAWN, Found, JobRecord, JobRecords, Load, Scheduler, Submission
from hybrid_hpc.schedulers.sections import NONCE, Section, Sections, one_round_trip, read_sections
from hybrid_hpc.schedulers.slurm_script import batch_script
from hybrid_hpc.schedulers.slurm_trouble import (
    NO_ACCOUNTING,
    raise_not_submitted,
    raise_refused,
    raise_trouble,
    raise_unreadable,
    words,
)

# Where a non-interactive shell does not find Slurm, a login shell may: sites set the PATH in a profile.
_FIND_SLURM = 'command -v scontrol >/dev/null 2>&1 && eval "$0"; exec bash -l -c "$0" hh "$@"'
_KEPT = (
    'exec env -i HOME="$HOME" USER="${USER:-$(id -un)}" LOGNAME="${LOGNAME:-$(id -un)}" '
    'SHELL="${SHELL:-/bin/sh}" PATH="$PATH" ${SLURM_CONF:+"SLURM_CONF=$SLURM_CONF"} '
    '${SLURM_JWT:+"SLURM_JWT=$SLURM_JWT"} ${LD_LIBRARY_PATH:+"LD_LIBRARY_PATH=$LD_LIBRARY_PATH"} '
)
_ASKING = _KEPT + 'TZ=UTC SLURM_TIME_FORMAT=%s SLURM_BITSTR_LEN=0 "$@"'
# A job inherits exactly this environment (--export=ALL) and its login shell adds the rest. --export=NONE
# would take 2 s a job (`su -` on the node), and srun in it finds no PATH (measured).
_SUBMITTING = _KEPT + 'HH_SLURM_BIN="$(dirname "$(command -v sbatch)")" "$@"'
# A connection that is lost while a long script is on its way is an end of file to sbatch, which would take
# the part that came. $0 is the number of bytes that must have come; the full stop keeps the last line's end.
_WHOLE = (
    'script=$(cat; echo .); [ "$(printf %s "$script" | wc -c)" -eq "$(($0 + 1))" ] || '
    '{ echo "hybrid-hpc: the script did not arrive whole" >&2; exit 74; }; printf %s "${script%.}" | "$@"'
)
_BEGUN = 75  # what a job ends with, too, that finds another's claim
_NOT_CLAIMED = (73, 74)
# scontrol asks for no name: in a cluster that was built anew, another's held job may have the number.
_RELEASE = (
    'name=$(squeue --noheader --states=all --jobs="$2" --format=%j 2>/dev/null | sort -u); '
    '[ -z "$name" ] || [ "$name" = "$1" ] || '
    '{ echo "hybrid-hpc: job $2 is not $1 any more" >&2; exit 65; }; exec scontrol release "$2"'
)
# Claims the run directory as the job's own script would, by the first rename: from then on it cannot begin,
# whatever the scheduler makes of it meanwhile. A filter of scancel's is applied before it asks, too early.
_WITHDRAW = (
    'claim="$3/claimed"; mine="$claim.withdrawn.$$"; '
    f'mkdir -p "$mine" && echo {WITHDRAWN} >"$mine/native_id" || exit 73; '
    'mv -T "$mine" "$claim" 2>/dev/null || rm -rf "$mine"; owner=$(cat "$claim/native_id") || exit 74; '
    f'[ "$owner" = {WITHDRAWN} ] || exit {_BEGUN}; exec scancel --name="$1" "$2"'
)

_SQUEUE = f"squeue --noheader --all --Format='{slurm_queue.FORMAT}'"
_SACCT = f'sacct --noheader --parsable2 --duplicates --delimiter="{NONCE}" --format={slurm_history.FORMAT}'
# Nodes first: else a job that starts in between is seen to wait beside its own nodes, busy, and gets others.
_LOAD = {
    "clock": "date +%s",
    "nodes": "scontrol --all --details --oneliner show node",
    "jobs": f"{_SQUEUE} --sort=-p,V,i",
}
# Without --starttime sacct looks back to midnight only; a retry looks for its token days later at most.
# 2>&1: a silent accounting must not spoil what the queue knows, so stderr is of squeue alone.
_FIND = {
    "jobs": f'{_SQUEUE} --states=all --user="$(id -u)" --name="$1"',
    "records": f'{_SACCT} --allocations --user="$(id -u)" --name="$1" --starttime=now-30days 2>&1',
}
_HISTORY = {"records": f'{_SACCT} --jobs="$1"'}
_USAGE = {"records": f'{_SACCT} --allusers --starttime="$1" --endtime="$2"'}

_ODD_LINES = 100
_JOB_ID = re.compile(r"([0-9]{1,10})(?:;[\w.-]*)?")
_VERSION = re.compile(r"^slurm\S* ([0-9]+(?:\.[0-9]+)+)", re.MULTILINE)
_STARTS_AT = re.compile(r"Job [0-9]+ to start at ([0-9]{9,12}) ")
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_GONE = (
    "Invalid job id specified",
    "already completing or completed",
    "already finished",
    "no longer pending",
)
_RELEASED = (*_GONE, "Requested partition configuration not available now")  # released, and says why it waits


class Slurm(Scheduler):
    """Slurm with its accounting (slurmdbd); without one, only the queue and exit records tell of ends."""

    name: ClassVar[str] = "slurm"

    @override
    def version_command(self) -> Command:
        return _asking("version", "sbatch", "--version")

    @override
    def read_version(self, answer: Answer) -> str:
        found = _VERSION.search(answer.stdout)
        return found[1] if found else raise_unreadable(answer)

    @override
    def batch_script(self, submission: Submission) -> str:
        return batch_script(submission)

    @override
    def submit_command(self, submission: Submission) -> Command:
        script = batch_script(submission)
        whole = ("sh", "-c", _WHOLE, str(len(script.encode())))
        return Command((*_in(_SUBMITTING), *whole, "sbatch", "--parsable", "--hold"), script, "submit")

    @override
    def read_submit(self, answer: Answer) -> str:
        last = answer.stdout.rstrip().rpartition("\n")[2].strip()  # after what a profile may have printed
        found = _JOB_ID.fullmatch(last)
        whole = answer.ok and answer.stdout.endswith("\n")  # an id that is cut is another job's
        return found[1] if found and whole else raise_not_submitted(answer)

    @override
    def find_command(self, token: str) -> Command:
        return _round_trip("find", _FIND, token)

    @override
    def read_find(self, answer: Answer, token: str) -> list[Found]:
        sections = _sections(answer, _FIND)
        jobs, unreadable = slurm_queue.queued_jobs(_section(sections, "jobs", answer).lines)
        found = slurm_queue.found_jobs(jobs, token)
        records, left_out = _records_if_any(sections, must_know=not found)
        if unreadable or left_out:  # all lines are of this one name: what is missing may be what matters
            raise Unreadable(f"{unreadable + left_out} lines about {token} cannot be read")
        queued = {job.native_id for job in found}
        ended = slurm_history.found_in_history(records, token)
        return found + [job for job in ended if job.native_id not in queued]

    @override
    def release_command(self, native_id: str, token: str) -> Command:
        return _asking("release", "sh", "-c", _RELEASE, "hh", token, _checked_id(native_id))

    @override
    def read_release(self, answer: Answer) -> None:
        if not answer.ok and not any(word in answer.stderr for word in _RELEASED):
            raise_refused(answer, "release the job")

    @override
    def cancel_command(self, native_id: str, token: str) -> Command:
        return _asking("cancel", "scancel", f"--name={token}", _checked_id(native_id))

    @override
    def withdraw_command(self, native_id: str, token: str, run_dir: str) -> Command:
        return _asking("withdraw", "sh", "-c", _WITHDRAW, "hh", token, _checked_id(native_id), run_dir)

    @override
    def read_withdraw(self, answer: Answer) -> bool:
        if answer.exit_status == _BEGUN:
            return False
        if answer.exit_status in _NOT_CLAIMED:
            raise_refused(answer, "withdraw the job")
        self.read_cancel(answer)
        return True

    @override
    def read_cancel(self, answer: Answer) -> None:
        raise_trouble(answer)
        if not answer.ok and words(answer.stderr) and not any(word in answer.stderr for word in _GONE):
            raise_refused(answer, "cancel the job")

    @override
    def load_command(self) -> Command:
        return _round_trip("load", _LOAD)

    @override
    def read_load(self, answer: Answer) -> Load:
        sections = _sections(answer, _LOAD)
        jobs, bad_jobs = slurm_queue.queued_jobs(_section(sections, "jobs", answer).lines)
        nodes, bad_nodes = slurm_nodes.nodes(_section(sections, "nodes", answer).lines)
        _refuse_silence(len(jobs), bad_jobs)
        if not nodes:
            raise Unreadable("Slurm names no node that can be read")
        return Load(_clock(sections["clock"]), tuple(nodes), tuple(jobs), bad_jobs + bad_nodes)

    @override
    def history_command(self, native_ids: Sequence[str]) -> Command:
        ids = ",".join(_checked_id(native_id) for native_id in _some(native_ids))
        return _round_trip("history", _HISTORY, ids)

    @override
    def read_history(self, answer: Answer) -> list[JobRecord]:
        if NO_ACCOUNTING in answer.stderr:
            return []
        sections = _sections(answer, _HISTORY)
        section = _section(sections, "records", answer)
        return list(slurm_history.FoldedRecords(section.lines, sections.nonce))

    @override
    def usage_command(self, since: float, until: float) -> Command:
        return _round_trip("usage", _USAGE, _sacct_time(since), _sacct_time(until))

    @override
    def read_usage(self, answer: Answer) -> JobRecords:
        if NO_ACCOUNTING in answer.stderr:
            raise NoAccounting("the scheduler keeps no accounting, so nobody knows what its jobs used")
        sections = _sections(answer, _USAGE)
        section = _section(sections, "records", answer)
        # The one odd job of a quiet night must not stop the collection for ever.
        return slurm_history.FoldedRecords(section.each_line(), sections.nonce, refuse_from=_ODD_LINES)

    @override
    def start_estimate_command(self, submission: Submission) -> Command:
        return Command((*_in(_ASKING), "sbatch", "--test-only"), batch_script(submission), "estimate")

    @override
    def read_start_estimate(self, answer: Answer) -> float | None:
        raise_trouble(answer)
        found = _STARTS_AT.search(answer.stderr)
        return float(found[1]) if found and answer.ok else None

    @override
    def accounting_command(self) -> Command:
        return _asking("accounting", "sacct", "--noheader", "--allocations", "--starttime=now-1minutes")

    @override
    def read_accounting(self, answer: Answer) -> bool:
        if answer.ok:
            return True
        return False if NO_ACCOUNTING in answer.stderr else raise_unreadable(answer)

    @override
    def admit_nodes_command(self, names: Sequence[str]) -> Command:
        # DOWN goes by itself when slurmd registers (ReturnToService=2). RESUME would make the node IDLE now
        # and DOWN again after SlurmdTimeout, and fails on a node that is up.
        return _update(names, "State=UNDRAIN")

    @override
    def drain_nodes_command(self, names: Sequence[str], reason: str) -> Command:
        return _update(names, "State=DRAIN", _reason(reason))

    @override
    def retire_nodes_command(self, names: Sequence[str], reason: str) -> Command:
        return _update(names, "State=DOWN", _reason(reason))

    @override
    def give_up_nodes_command(self, names: Sequence[str]) -> Command:
        return _update(names, "State=POWER_DOWN_FORCE")

    @override
    def read_nodes_update(self, answer: Answer) -> None:
        if not answer.ok:
            raise_refused(answer, "change the nodes")


def _in(environment: str) -> tuple[str, ...]:
    return ("sh", "-c", _FIND_SLURM, environment)


def _asking(label: str, *argv: str) -> Command:
    return Command((*_in(_ASKING), *argv), label=label)


def _round_trip(label: str, parts: dict[str, str], *arguments: str) -> Command:
    return _asking(label, "bash", "-c", one_round_trip(parts), "hh", *arguments)


def _update(names: Sequence[str], *changes: str) -> Command:
    for name in _some(names):
        if not _NODE_NAME.fullmatch(name):
            raise Invalid([Problem("node", f"{name!r} is no node's name", "Name nodes as Slurm does.")])
    return _asking("nodes", "scontrol", "update", f"NodeName={','.join(names)}", *changes)


def _reason(text: str) -> str:
    """One line: Slurm keeps a line break, and prints it."""
    return "Reason=" + " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _some(names: Sequence[str]) -> Sequence[str]:
    if not names:
        raise Invalid([Problem("names", "is empty", "Slurm would take that for all of them.")])
    return names


def _checked_id(native_id: str) -> str:
    if not re.fullmatch(r"[0-9]{1,10}", native_id):
        raise Invalid([Problem("native_id", f"{native_id!r} is no job id", "Give the number alone.")])
    return native_id


def _sections(answer: Answer, parts: dict[str, str]) -> Sections:
    try:
        return read_sections(answer, tuple(parts))
    except Unreadable:
        raise_trouble(answer)
        raise


def _section(sections: Sections, name: str, answer: Answer) -> Section:
    """The section, when its command did what it was asked for."""
    raise_trouble(answer)
    return sections[name] if sections[name].status == 0 else raise_unreadable(answer)


def _records_if_any(sections: Sections, *, must_know: bool) -> tuple[list[JobRecord], int]:
    """The accounting's rows; none where none is kept, or where it does not answer and need not."""
    section = sections["records"]
    if section.status == 0:
        rows = [line for line in section.lines if sections.nonce in line]  # sacct's warnings are here too
        records = slurm_history.FoldedRecords(rows, sections.nonce)
        return list(records), records.unreadable
    if must_know and NO_ACCOUNTING not in section.text:
        raise_unreadable(Answer(section.status, "", section.text))
    return [], 0


def _sacct_time(seconds: float) -> str:
    """The moment in UTC, which the command's environment makes sacct's own time zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _clock(section: Section) -> float:
    text = section.text.strip()
    if not re.fullmatch(r"[0-9]{9,12}", text):
        raise Unreadable(f"the head node's clock says {text[:40]!r}")
    return float(text)


def _refuse_silence(readable: int, unreadable: int) -> None:
    """When not one line makes sense, 'nothing there' would be a lie."""
    if unreadable and not readable:
        raise Unreadable(f"not one of {unreadable} lines of Slurm's answer can be read")
