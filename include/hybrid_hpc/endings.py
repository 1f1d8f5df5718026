"""How a job ended, in words for the person whose job it is (pure).

The sentences follow a cluster's name: "onprem: failed with exit code 3 on node02 after 12 s".
"""

from __future__ import annotations

import signal as signals
from collections.abc import Callable, Mapping

from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import JobRecord
from hybrid_hpc.units import format_walltime


def ending(life: JobRecord, cancelled_by: str = "") -> str:
    """How this life of a job ended; its state is final. ``cancelled_by``: who wished it, and why."""
    return _SENTENCES[life.state](life, cancelled_by)


def runs_text(count: int) -> str:
    """Says that the scheduler ran it more than once; '' when it did not."""
    return f" (run {count}: the scheduler had started it again)" if count > 1 else ""


def _completed(life: JobRecord, _cancelled_by: str) -> str:
    return f"completed{_where(life)}"


def _failed(life: JobRecord, _cancelled_by: str) -> str:
    if not life.node_names and not life.elapsed_s:
        return "failed before it started: the scheduler did not accept it"
    if life.signal:
        return f"was ended by signal {life.signal} ({_signal_name(life.signal)}){_where(life)}"
    if not life.exit_code:
        return f"failed without an exit code{_where(life)}"
    return f"failed with exit code {exit_code_text(life.exit_code)}{_where(life)}"


def _cancelled(life: JobRecord, cancelled_by: str) -> str:
    by = f" by {cancelled_by}" if cancelled_by else ""
    if life.started_at is None or not life.elapsed_s:
        return f"cancelled{by} before it started"
    return f"cancelled{by}{_where(life)}"


def _timeout(life: JobRecord, _cancelled_by: str) -> str:
    if life.walltime_s is None:
        return f"stopped at its walltime limit{_where(life)}"
    asked = format_walltime(life.walltime_s)
    return f"stopped at its walltime limit of {duration_text(life.walltime_s)} (asked --time {asked})"


def _out_of_memory(life: JobRecord, _cancelled_by: str) -> str:
    asked = f"; it had asked for {memory_text(life.memory_asked_mib)}" if life.memory_asked_mib else ""
    peak = f", and {memory_text(life.max_rss_mib)} was the peak seen" if life.max_rss_mib else ""
    return f"ran out of memory{_where(life)}{asked}{peak}"


def _node_fail(life: JobRecord, _cancelled_by: str) -> str:
    return f"lost its node{_where(life)}: the node failed, not the job"


def _preempted(life: JobRecord, _cancelled_by: str) -> str:
    return f"was pushed off its nodes{_where(life)}: they were taken away for something else"


def _boot_fail(_life: JobRecord, _cancelled_by: str) -> str:
    return "never started: its nodes did not boot"


def _deadline(_life: JobRecord, _cancelled_by: str) -> str:
    return "was taken out of the queue: it could not end before its deadline"


_SENTENCES: Mapping[JobState, Callable[[JobRecord, str], str]] = {
    JobState.COMPLETED: _completed,
    JobState.FAILED: _failed,
    JobState.CANCELLED: _cancelled,
    JobState.TIMEOUT: _timeout,
    JobState.OUT_OF_MEMORY: _out_of_memory,
    JobState.NODE_FAIL: _node_fail,
    JobState.PREEMPTED: _preempted,
    JobState.BOOT_FAIL: _boot_fail,
    JobState.DEADLINE: _deadline,
}


def _where(life: JobRecord) -> str:
    names = life.node_names
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    on = f" on {', '.join(names[:3])}{more}" if names else ""
    return f"{on} after {duration_text(life.elapsed_s)}"


_MEANINGS = {126: "a command could not be executed", 127: "a command was not found"}


def exit_code_text(exit_code: int) -> str:
    """The code and what a shell means by it: ``137 (128 + 9, SIGKILL)``."""
    if exit_code in _MEANINGS:
        return f"{exit_code} ({_MEANINGS[exit_code]})"
    if 128 < exit_code <= 128 + 64:
        return f"{exit_code} (128 + {exit_code - 128}, {_signal_name(exit_code - 128)})"
    return str(exit_code)


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return "a signal without a name"


def duration_text(seconds: float) -> str:
    """``12 s``, ``10 min``, ``1 h 30 min``, ``2 d 3 h``: the two largest units that count."""
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


def memory_text(mib: float) -> str:
    """``512 MiB``, ``3.9 GiB``."""
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"
