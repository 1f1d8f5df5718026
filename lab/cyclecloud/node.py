"""One node's life, as a state that moves on with time. No I/O: who calls `step` does what it tells.

::

    Acquiring ─► Preparing ─► Ready ─► Terminating ─► gone      (or Stopping ─► Deallocated)
        └───────────┴──► Failed          its VM vanished ──────► gone
                                         Waiting for eviction ─► gone
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from lab.cyclecloud.model import NodeView

ACQUIRING_SHARE = 0.3  # of the boot time; the rest is Preparing
ALLOCATION_FAILED_STAYS_S = 10.0  # then CycleCloud terminates the node by itself
POWER_OFF_GRACE_S = 10.0
NO_CAPACITY = "AllocationFailed: no capacity for {size} in this region at the moment"
EVICTION_NOTICE = "The spot instance is waiting for eviction"
DIED_BOOTING = "The virtual machine stopped while it was being prepared"


class Status(StrEnum):
    """What the user sees."""

    ACQUIRING = "Acquiring"
    PREPARING = "Preparing"
    READY = "Ready"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    TERMINATED = "Terminated"
    STOPPING = "Stopping"
    DEALLOCATED = "Deallocated"
    RESTARTING = "Restarting"
    REIMAGING = "Reimaging"
    EVICTING = "Waiting for eviction"


class Target(StrEnum):
    """What the node is meant to become."""

    STARTED = "Started"
    TERMINATED = "Terminated"
    DEALLOCATED = "Deallocated"


class Step(StrEnum):
    """What has just happened to a node; the names are those of CycleCloud's events, where it has one."""

    ACQUIRED = "NodeCreated"
    STARTED = "NodeStarted"
    FAILED = "NodeFailed"
    VM_GONE = "VMDeleted"
    VM_STUCK = "VMStuck"  # it has to be ended by force
    EVICTED = "NodeLeaves"
    BOOT_AGAIN = "NodeRestarted"
    DEALLOCATED = "NodeDeallocated"
    TERMINATED = "NodeTerminated"


_STATES = {
    Status.ACQUIRING: "Allocation",
    Status.READY: "Started",
    Status.TERMINATING: "TerminationPreparation",
}
_ENDS = {Target.TERMINATED: Status.TERMINATED, Target.DEALLOCATED: Status.DEALLOCATED}


class Boot(BaseModel):
    """A boot under way or done: when it began (unix seconds), how long it takes, and how it will end."""

    began_at: float
    takes_s: float
    fails_with: str = ""
    no_capacity: bool = False


class HealthReport(BaseModel):
    """What somebody told Azure about the machine of a node; ``at`` is unix seconds."""

    category: str
    description: str
    at: float


class Node(BaseModel):
    """A node record; the first block never changes."""

    name: str
    node_id: str
    nodearray: str
    machine_type: str
    family: str = ""
    cores: int
    memory_gib: float
    region: str
    private_ip: str
    usual_boot_s: float
    usd_per_hour: float | None = None
    interruptible: bool = False
    placement_group_id: str | None = None
    request_id: str | None = None
    attributes: dict[str, Any] = {}

    boot: Boot
    vm: str | None = None  # the instance id while there is a machine
    status: Status = Status.ACQUIRING
    target: Target = Target.STARTED
    message: str = ""
    reason: str = "UserInitiated"
    removed: bool = False  # forget the record at its end, Fixed or not
    phase_at: float = 0.0  # when it failed or was told to end
    evicted_at: float = 0.0  # when its notice ends
    reports: list[HealthReport] = []

    @property
    def key(self) -> str:
        """Its bucket: ``nodearray/VM size``."""
        return f"{self.nodearray}/{self.machine_type}"

    @property
    def names(self) -> tuple[str, str, str]:
        """What faults may call it by, the closest first."""
        return self.name, self.key, self.nodearray

    @property
    def over(self) -> bool:
        """True when the node rests in an end state and holds nothing."""
        return self.status == _ENDS.get(self.target)

    @property
    def leaving(self) -> bool:
        """True while its machine is being switched off."""
        off = (Status.TERMINATING, Status.STOPPING, Status.RESTARTING, Status.REIMAGING)
        return self.status in off

    @property
    def forgotten(self) -> bool:
        """True when the record goes too: always after a termination, unless the node is Fixed."""
        gone = self.status is Status.TERMINATED
        return gone and (self.removed or not self.attributes.get("Fixed"))

    def begin(self, boot: Boot, vm: str | None) -> None:
        """Start its life, the first or another one."""
        self.boot, self.vm = boot, vm
        self.status, self.target, self.message = Status.ACQUIRING, Target.STARTED, ""

    def leave(self, target: Target, now: float, reason: str) -> None:
        """Be told to end as ``target``."""
        stopping = Status.STOPPING if target is Target.DEALLOCATED else Status.TERMINATING
        self.status, self.target = stopping, target
        self.phase_at, self.reason = now, reason

    def warn(self, evicted_at: float) -> None:
        """Be told of an eviction, at ``evicted_at``."""
        self.status, self.message, self.evicted_at = Status.EVICTING, EVICTION_NOTICE, evicted_at

    def again(self, status: Status, now: float) -> None:
        """Be told to boot once more, as soon as the machine of now is off."""
        self.status, self.target, self.phase_at = status, Target.STARTED, now

    def step(self, now: float, *, vm_runs: bool) -> Step | None:
        """Take the next step that is due at ``now``; None when nothing is."""
        if self.vm and not vm_runs:
            return self._lost_vm(now)
        if self.leaving:
            return self._switched_off(now)
        if self.status in (Status.ACQUIRING, Status.PREPARING):
            return self._boots(now)
        return self._evicted(now) if self.status is Status.EVICTING else self._given_up(now)

    def _lost_vm(self, now: float) -> Step:
        self.vm = None
        if self.status in (Status.ACQUIRING, Status.PREPARING):
            self._fail(DIED_BOOTING, now)
        elif not self.leaving:
            self.leave(Target.TERMINATED, now, "VMDisappeared")
        return Step.VM_GONE

    def _evicted(self, now: float) -> Step | None:
        if now < self.evicted_at:
            return None
        self.leave(Target.TERMINATED, now, "SpotEvicted")
        return Step.EVICTED

    def _switched_off(self, now: float) -> Step | None:
        if self.vm:
            return self._stuck(now)
        if self.target is Target.STARTED:
            return Step.BOOT_AGAIN
        self.status = _ENDS[self.target]
        return Step.DEALLOCATED if self.target is Target.DEALLOCATED else Step.TERMINATED

    def _stuck(self, now: float) -> Step | None:
        if now < self.phase_at + POWER_OFF_GRACE_S:
            return None
        self.phase_at = now
        return Step.VM_STUCK

    def _boots(self, now: float) -> Step | None:
        passed = now - self.boot.began_at
        if self.status is Status.ACQUIRING and passed >= self.boot.takes_s * ACQUIRING_SHARE:
            return self._acquired(now)
        if self.status is Status.PREPARING and passed >= self.boot.takes_s:
            return self._prepared(now)
        return None

    def _acquired(self, now: float) -> Step:
        if self.boot.no_capacity:
            return self._fail(NO_CAPACITY.format(size=self.machine_type), now)
        self.status = Status.PREPARING
        return Step.ACQUIRED

    def _prepared(self, now: float) -> Step:
        if self.boot.fails_with:
            return self._fail(self.boot.fails_with, now)
        self.status = Status.READY
        return Step.STARTED

    def _fail(self, message: str, now: float) -> Step:
        self.status, self.message, self.phase_at = Status.FAILED, message, now
        return Step.FAILED

    def _given_up(self, now: float) -> Step | None:
        failed = self.status is Status.FAILED and self.boot.no_capacity
        if not failed or now < self.phase_at + ALLOCATION_FAILED_STAYS_S:
            return None
        self.leave(Target.TERMINATED, now, "AllocationFailed")
        return self._switched_off(now)

    def view(self) -> NodeView:
        """Give the node as CycleCloud shows it; attributes of the request never hide its own."""
        own = {
            "Name": self.name,
            "NodeId": self.node_id,
            "Template": self.nodearray,
            "MachineType": self.machine_type,
            "Status": self.status,
            "State": _STATES.get(self.status, self.status),
            "TargetState": self.target,
            "StatusMessage": self.message,
            "PlacementGroupId": self.placement_group_id,
            "Interruptible": self.interruptible,
            "CoreCount": self.cores,
            "Memory": self.memory_gib,
            "Region": self.region,
            "RequestId": self.request_id,
            **self._machine(),
        }
        given = {key: value for key, value in self.attributes.items() if key not in own}
        known = {key: value for key, value in own.items() if value not in (None, "")}
        return {"KeepAlive": False, "Configuration": {}} | given | known

    def _machine(self) -> dict[str, str | None]:
        there = self.vm is not None and self.status is not Status.ACQUIRING
        machine = {"InstanceId": self.vm, "PrivateIp": self.private_ip, "Hostname": self.name}
        return {key: value if there else None for key, value in machine.items()}
