"""How the server is told to misbehave, and the errors that it answers with."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lab.cyclecloud.config import Kind
from lab.cyclecloud.limits import Limit
from lab.cyclecloud.node import Node

BOOT_FAILED = "Node software installation failure: the cluster-init script exited with status 1"


class DeclinedError(Exception):
    """A request that is not served: the HTTP status and a plain text, as CycleCloud answers."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


def invalid(text: str) -> DeclinedError:
    """Give the error that CycleCloud answers for whatever is wrong in a body."""
    return DeclinedError(409, text)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class AtMost(_Asked):
    """So many nodes more are added for a set; ``message`` is the answer's, instead of the server's own."""

    count: int = Field(ge=0)
    message: str = ""


class Notice(_Asked):
    """These VMs are told that they will vanish in so many seconds."""

    names: list[str]
    in_s: float = Field(30, ge=0)


class Faults(_Asked):
    """What goes wrong from now on; a request replaces the fields that it names, and no others.

    Names are those of nodes, of nodearrays, or ``nodearray/VM size``. ``boot_s`` for all nodes or by name;
    ``boot_fail`` names with their StatusMessage (or a plain list of names); ``never_register`` VMs that come
    up and run nothing; ``no_capacity`` nodearrays or VM sizes for which Azure has no machine; ``add_at_most``
    of them, or of a node that a set asks for by its name; ``quota_cores`` of the region; ``quotas`` by
    family, before those of the configuration. Of the next requests ``error_500`` are answered with 500 and
    not done, and ``stall_after_effect`` that change something are done and never answered.
    ``reject_logins``: the password was changed.
    """

    boot_s: float | dict[str, float] | None = None
    boot_fail: dict[str, str] = {}
    never_register: list[str] = []
    no_capacity: list[str] = []
    add_at_most: dict[str, AtMost] = {}
    quota_cores: int | None = Field(None, ge=0)
    quotas: dict[str, Annotated[int, Field(ge=0)]] = {}
    error_500: int = Field(0, ge=0)
    stall_after_effect: int = Field(0, ge=0)
    reject_logins: bool = False

    @field_validator("boot_fail", mode="before")
    @classmethod
    def _with_message(cls, value: object) -> object:
        return dict.fromkeys(value, BOOT_FAILED) if isinstance(value, list) else value

    @field_validator("add_at_most", mode="before")
    @classmethod
    def _with_count(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: {"count": most} if isinstance(most, int) else most for name, most in value.items()}

    def boot_s_of(self, node: Node) -> float:
        """Give the boot time of a node, in seconds."""
        wanted = _first(self.boot_s, node) if isinstance(self.boot_s, Mapping) else self.boot_s
        return node.usual_boot_s if wanted is None else max(wanted, 0.0)

    def failure_of(self, node: Node) -> str:
        """Give the message with which the boot of a node fails, '' when it does not."""
        return _first(self.boot_fail, node) or ""

    def registers(self, node: Node) -> bool:
        """Say whether the VM of a node runs its command."""
        return not {*self.never_register, *self.boot_fail} & {*node.names}

    def has_capacity(self, node: Node) -> bool:
        """Say whether Azure has a machine for a node."""
        return not {*self.no_capacity} & {node.key, node.nodearray}

    def room(self, kind: Kind, name: str | None = None) -> Limit | None:
        """Give how many nodes a set gets at most, that of one ``name`` too; None when no fault says so."""
        names = (name or "", kind.key, kind.array.name)
        most = next((self.add_at_most[each] for each in names if each in self.add_at_most), None)
        return Limit(most.count, f"Azure gives {most.count} at the moment", most.message) if most else None


FoundT = TypeVar("FoundT")


def _first(by_name: Mapping[str, FoundT], node: Node) -> FoundT | None:
    return next((by_name[name] for name in node.names if name in by_name), None)


class FaultRequest(Faults):
    """Body of POST /lab/faults: `Faults`, and three that happen at once.

    ``outage_s`` every answer outside /lab is 503 for so long (0 ends it); ``evict`` these VMs vanish;
    ``evict_notice`` these will.
    """

    outage_s: float | None = Field(None, ge=0)
    evict: list[str] = []
    evict_notice: Notice | None = None


class Journal:
    """What happened, numbered from 1; the oldest are forgotten. For GET /lab/log and the server's log."""

    def __init__(self, size: int = 10_000) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=size)
        self.count = 0

    def note(self, at: float, what: str, **details: object) -> dict[str, Any]:
        """Write an event down and give it; ``at`` is unix seconds."""
        self.count += 1
        given = {key: value for key, value in details.items() if value not in (None, "")}
        self._events.append({"n": self.count, "at": round(at, 3), "what": what, **given})
        return self._events[-1]

    def after(self, number: int) -> list[dict[str, Any]]:
        """Give the events with a number above ``number``, oldest first."""
        return [event for event in self._events if event["n"] > number]
