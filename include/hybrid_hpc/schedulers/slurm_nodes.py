"""Slurm's nodes: lines of ``scontrol --all --details --oneliner show node``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hybrid_hpc.schedulers.base import NodeState, NodeStatus
from hybrid_hpc.schedulers.slurm_words import given, moment

_FIELD = re.compile(r"(?:^| )(\w+)=(\S*)")
_REASON = re.compile(r" Reason=(.*?) \[[^\[\]]*@[^\[\]]*\]")
_GPUS = re.compile(r"gpu:(?:([A-Za-z][\w.-]*):)?([0-9]+)")
_SUFFIXES = {
    "*": "NOT_RESPONDING",
    "~": "POWERED_DOWN",
    "#": "POWERING_UP",
    "%": "POWERING_DOWN",
    "$": "MAINT",
}

_TAKES_JOBS = frozenset({"IDLE", "MIXED", "ALLOCATED", "COMPLETING"})
_CLOSED = frozenset({"DRAIN", "DRAINING", "DRAINED", "MAINT", "RESERVED", "MAINTENANCE"})
_DRAINED = frozenset({"DRAIN", "DRAINING", "DRAINED", "FAIL", "FAILING"})
_BROKEN = frozenset({"DOWN", "ERROR", "FAIL", "FAILING", "INVAL", "INVALID_REG", "UNKNOWN", "FUTURE"})
_COMING = frozenset({"POWERING_UP", "POWER_UP", "REBOOT_ISSUED"})
_GONE = frozenset({"POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "POWER"})


def nodes(lines: Sequence[str]) -> tuple[list[NodeState], int]:
    """The nodes in the order of the lines, and how many lines could not be read."""
    found: list[NodeState] = []
    unreadable = 0
    for line in lines:
        try:
            found.append(_node(line))
        except (KeyError, ValueError, OverflowError):
            unreadable += 1
    return found, unreadable


def _node(line: str) -> NodeState:
    fields = _fields(line)
    cores = int(fields.get("CPUEfctv", fields["CPUTot"]))
    gpus, gpu_type = _gpus(fields.get("Gres", ""))
    busy_gpus, _ = _gpus(fields.get("GresUsed", ""))
    reason = _REASON.search(line)
    return NodeState(
        name=fields["NodeName"],
        partitions=tuple(name for name in given(fields.get("Partitions", "")).split(",") if name),
        status=node_status(fields["State"]),
        cores=cores,
        cores_busy=int(fields["CPUAlloc"]),
        memory_mib=int(fields["RealMemory"]),
        memory_busy_mib=int(fields["AllocMem"]),
        gpus=gpus,
        gpus_busy=busy_gpus,
        gpu_type=gpu_type,
        reason=reason[1] if reason else "",
        state_word=fields["State"],
        last_busy=moment(fields.get("LastBusyTime", "")),
        drained=bool(_DRAINED.intersection(_state_words(fields["State"]))),
    )


def _fields(line: str) -> dict[str, str]:
    """Keys with values without spaces; the first of each counts, so a reason cannot overrule a field."""
    fields: dict[str, str] = {}
    for key, value in _FIELD.findall(line):
        fields.setdefault(key, value)
    if not fields.get("NodeName"):
        raise ValueError("no node")
    return fields


def _gpus(gres: str) -> tuple[int, str]:
    """``gpu:a100:4(S:0-1),gpu:v100:2`` -> all of them, and the first one's type."""
    found: list[tuple[str, str]] = _GPUS.findall(gres)
    return sum(int(count) for _, count in found), found[0][0] if found else ""


def node_status(state: str) -> NodeStatus:
    """``MIXED+CLOUD+NOT_RESPONDING+POWERING_UP`` -> what the node is good for."""
    base, *flags = _state_words(state)
    all_words = {base, *flags}
    if all_words & _BROKEN or base not in _TAKES_JOBS | _CLOSED:
        return NodeStatus.DOWN
    if all_words & _CLOSED:
        return NodeStatus.DRAINING
    return _power_status(base, all_words)


def _power_status(base: str, words: set[str]) -> NodeStatus:
    if words & _COMING:
        return NodeStatus.BOOTING
    if words & _GONE:  # with a job on it already: Slurm is about to start it
        return NodeStatus.OFF if base == "IDLE" or "POWERING_DOWN" in words else NodeStatus.BOOTING
    return NodeStatus.DOWN if "NOT_RESPONDING" in words else NodeStatus.UP


def _state_words(state: str) -> list[str]:
    """The words of a state; the suffix letters of older versions (``IDLE~+CLOUD``) as words."""
    words: list[str] = []
    for word in state.split("+"):
        plain = word.rstrip("*~#%$@^!-")
        words.append(plain)
        words.extend(_SUFFIXES[letter] for letter in word[len(plain) :] if letter in _SUFFIXES)
    return words
