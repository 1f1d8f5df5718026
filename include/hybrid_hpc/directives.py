"""What a script's ``#SBATCH`` lines say about a job, as defaults for the fields of its request.

A field that was filled in wins over the script's line, the script's line over the built-in default.
Lines are combined with what was filled in: ``--ntasks=32`` in the script and 2 nodes in the form are 16
tasks on each node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from hybrid_hpc.errors import Problem
from hybrid_hpc.problems import WrongValueError, shown
from hybrid_hpc.sbatch_lines import Directive, read_lines, script_notes
from hybrid_hpc.units import format_memory, parse_memory

__all__ = ["Default", "ScriptDefaults", "read_directives", "script_notes"]

_PLAIN = ("account", "array", "chdir", "cpus-per-task", "job-name", "mem", "time")
_SHAPE = {"nodes", "tasks_per_node"}
_GPU_OPTIONS = ("gpus-per-node", "gres", "gpus", "gpus-per-task")


@dataclass(frozen=True, slots=True)
class Default:
    """A field's value from the script, and the line it comes from."""

    field: str
    value: object
    line: int


@dataclass(frozen=True, slots=True)
class ScriptDefaults:
    """Defaults by field, for fields that were not given, and what is wrong with the script's lines."""

    fields: Mapping[str, Default]
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class _Reading:
    """The options by name, what was given, and the defaults found so far."""

    said: Mapping[str, Directive]
    given: Mapping[str, object]
    found: dict[str, Default] = field(default_factory=dict)

    def known(self, name: str) -> bool:
        return name in self.given or name in self.found

    def count(self, name: str, otherwise: int = 1) -> int:
        """The number that a field will have; ``otherwise`` when it has none (or none that is right)."""
        found = self.found[name].value if name in self.found else ""
        text = str(self.given.get(name, found))
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise

    def keep(self, default: Default) -> None:
        if default.field not in self.given and default.value != "":
            self.found.setdefault(default.field, default)


_Rule = Callable[[_Reading], Iterator[Default]]


def read_directives(script: str, given: Mapping[str, object]) -> ScriptDefaults:
    """The script's defaults for the fields that ``given`` does not hold.

    Problems (an unknown option, one that cannot be honoured, counts that do not come out even) name the
    line and stand at the field ``script``.
    """
    lines = read_lines(script)
    reading = _Reading(lines.said, given)
    problems = list(lines.problems)
    for rule in _RULES:
        try:
            for default in rule(reading):
                reading.keep(default)
        except WrongValueError as wrong:
            problems.append(Problem("script", wrong.what, wrong.remedy))
    return ScriptDefaults(reading.found, tuple(problems))


def _default(name: str, value: object, directive: Directive) -> Default:
    return Default(name, value, directive.line)


def _wrong(directive: Directive, what: str, remedy: str) -> WrongValueError:
    return WrongValueError(f"{directive} {what}", remedy)


def _whole(directive: Directive, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _wrong(directive, "is no whole number", f"Write digits only, not {shown(text)}.")
    return int(text)


def _share(directive: Directive, total: int, parts: int, of: str) -> int:
    """``total`` over ``parts``, when that comes out even."""
    if parts < 1 or total % parts or not total:
        remedy = "Write --nodes and --ntasks-per-node (or --gpus-per-node), the same on every node."
        raise _wrong(directive, f"does not divide evenly over {parts} {of}", remedy)
    return total // parts


def _plain(reading: _Reading) -> Iterator[Default]:
    for name in _PLAIN:
        if name in reading.said:
            directive = reading.said[name]
            yield _default(directive.option.field, directive.value, directive)


def _rerunnable(reading: _Reading) -> Iterator[Default]:
    found = [reading.said[name] for name in ("requeue", "no-requeue") if name in reading.said]
    if found:
        last = max(found, key=lambda directive: directive.line)
        yield _default("rerunnable", last.option.name == "requeue", last)


def _nodes(reading: _Reading) -> Iterator[Default]:
    directive = reading.said.get("nodes")
    if directive is None or "nodes" in reading.given:
        return
    low, dash, high = directive.value.partition("-")
    if dash and low != high:
        raise _wrong(directive, "is a range", "Write one number of nodes, such as --nodes=2.")
    yield _default("nodes", low, directive)


def _tasks(reading: _Reading) -> Iterator[Default]:
    if "ntasks-per-node" in reading.said:
        directive = reading.said["ntasks-per-node"]
        yield _default("tasks_per_node", directive.value, directive)
    if "ntasks" in reading.said and not reading.given.keys() >= _SHAPE:
        yield from _all_tasks(reading, reading.said["ntasks"])


def _all_tasks(reading: _Reading, directive: Directive) -> Iterator[Default]:
    """``--ntasks`` counts the whole job; requests count a node."""
    total = _whole(directive, directive.value)
    per_node = reading.count("tasks_per_node")
    if not reading.known("tasks_per_node"):
        yield _default("tasks_per_node", _share(directive, total, reading.count("nodes"), "nodes"), directive)
    elif not reading.known("nodes"):
        yield _default("nodes", _share(directive, total, per_node, "tasks per node"), directive)
    elif reading.count("nodes") * per_node != total and not _SHAPE & reading.given.keys():
        what = f"contradicts {reading.count('nodes')} nodes with {per_node} tasks each"
        raise _wrong(directive, what, "Take out --ntasks or --ntasks-per-node.")


def _alone(reading: _Reading) -> Iterator[Default]:
    """Without a shape of its own, an exclusive job would get one core of the node it wants whole."""
    directive = reading.said.get("exclusive")
    if directive and not (reading.known("tasks_per_node") or reading.known("cpus_per_task")):
        what = "cannot be honoured: how many cores a whole node has depends on the cluster"
        raise _wrong(directive, what, "Say how many it must give, with --ntasks-per-node or --cpus-per-task.")
    return iter(())


def _gpus(reading: _Reading) -> Iterator[Default]:
    directive = next((reading.said[name] for name in _GPU_OPTIONS if name in reading.said), None)
    if directive is None:
        return
    gpu_type, count = _gpu_count(directive)
    if "gpus_per_node" not in reading.given:
        yield _default("gpus_per_node", _gpus_per_node(reading, directive, count), directive)
    if gpu_type and reading.count("gpus_per_node", otherwise=0):
        yield _default("gpu_type", gpu_type, directive)


def _gpus_per_node(reading: _Reading, directive: Directive, count: int) -> int:
    if directive.option.name == "gpus":
        return _share(directive, count, reading.count("nodes"), "nodes") if count else 0
    return count * reading.count("tasks_per_node") if directive.option.name == "gpus-per-task" else count


def _gpu_count(directive: Directive) -> tuple[str, int]:
    """Type ('' for any) and number, from ``2``, ``a100:2``, and for --gres ``gpu:a100:2``."""
    if directive.value in {"", "none"}:
        return "", 0
    parts = directive.value.split(":")
    if directive.option.name == "gres" and (parts.pop(0) != "gpu" or "," in directive.value):
        remedy = "Ask for GPUs of one kind only: --gres=gpu:2 or --gres=gpu:a100:2."
        raise _wrong(directive, "cannot be honoured", remedy)
    number = _whole(directive, parts.pop()) if parts and parts[-1].isdigit() else 1
    if len(parts) > 1:
        raise _wrong(directive, "is no number of GPUs", "Write a number, or a type and a number: a100:2.")
    return "".join(parts), number


def _memory(reading: _Reading) -> Iterator[Default]:
    if reading.known("memory_per_node"):
        return
    per_core = reading.count("tasks_per_node") * reading.count("cpus_per_task")
    gpus = reading.count("gpus_per_node", otherwise=0)
    for name, times in (("mem-per-cpu", per_core), ("mem-per-gpu", gpus)):
        if name in reading.said:
            directive = reading.said[name]
            yield _default("memory_per_node", _times(directive, times), directive)


def _times(directive: Directive, times: int) -> str:
    if not times:
        raise _wrong(directive, "has no GPU to count", "Write --mem, or ask for GPUs.")
    try:
        return format_memory(parse_memory(directive.value) * times)
    except WrongValueError as wrong:
        raise _wrong(directive, f"cannot be read: {wrong.what}", wrong.remedy) from None


_RULES: tuple[_Rule, ...] = (_plain, _rerunnable, _nodes, _tasks, _alone, _gpus, _memory)
