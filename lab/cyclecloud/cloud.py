"""The cloud: its nodes and how time moves them on. One event loop calls it, so it needs no lock.

What is asked of it stands beside it: `creation` (nodes that come), `management` (nodes that are there),
`answers` (questions).
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from lab.cyclecloud.config import Config, HeadNode
from lab.cyclecloud.faults import DeclinedError, Faults, Journal, invalid
from lab.cyclecloud.limits import Region, consuming
from lab.cyclecloud.machines import Machines
from lab.cyclecloud.node import Boot, Node, Step, Target
from lab.cyclecloud.store import Operation, Snapshot, Store
from lab.cyclecloud.usage import Life

log = logging.getLogger(__name__)


class Cloud:
    """One CycleCloud cluster. Times are unix seconds of ``clock``.

    Call `advance` before every question and a few times a second between them: it is what moves nodes on.
    """

    def __init__(
        self,
        config: Config,
        machines: Machines,
        *,
        store: Store | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.clock = clock
        self.faults = Faults()
        self.journal = Journal()
        self._outage_until = 0.0
        self._machines = machines
        self._store = store or Store()
        self._saved_at_event = -1
        self.state = _of_known_buckets(self._store.read(), config)
        machines.force_off(self._orphans())
        self._start_head_node()

    def _orphans(self) -> list[str]:
        known = {name for name, node in self.state.nodes.items() if node.vm}
        return [name for name in self._machines.names() if name not in known]

    def _start_head_node(self) -> None:
        """Begin its life, unless it outlived a crash of this server."""
        now, told = self.clock(), self.config.head_node
        began = _head_life(told, now) if told else None
        life = self.state.head_node
        if life is None or began is None or life.model_copy(update={"began_at": now}) != began:
            self._end_head_node()
            self.state.head_node = began

    def _end_head_node(self) -> None:
        if self.state.head_node:
            self.state.lives.append(self.state.head_node.model_copy(update={"ended_at": self.clock()}))
        self.state.head_node = None

    def advance(self) -> None:
        """Take every step that is due for every node, and keep the state when one was taken."""
        for node in list(self.state.nodes.values()):
            while self._step(node):
                pass
        self.keep()

    def close(self) -> None:
        """End every machine, as when the cluster is terminated. Deallocated nodes stay what they are."""
        there = [node for node in self.state.nodes.values() if not node.over]
        for node in there:
            self.end(node, Target.TERMINATED, "System")
        self._machines.force_off([node.name for node in there if node.vm])
        self._end_head_node()
        self.note("ClusterTerminated")
        self.advance()

    def keep(self) -> None:
        """Write the state, when anything happened since the last time."""
        if self.journal.count != self._saved_at_event:
            self._store.write(self.state)
            self._saved_at_event = self.journal.count

    def note(self, what: str, **details: object) -> None:
        """Write down that something happened."""
        log.info("%s", json.dumps(self.journal.note(self.clock(), what, **details)))

    # one node

    def _step(self, node: Node) -> bool:
        if node.forgotten:
            return False
        runs = node.vm is not None and self._machines.runs(node.name)
        step = node.step(self.clock(), vm_runs=runs)
        if step is not None:
            self._happened(step, node)
        return step is not None

    def _happened(self, step: Step, node: Node) -> None:
        ended = step in (Step.TERMINATED, Step.DEALLOCATED, Step.EVICTED)
        self.note(step, node=node.name, message=node.message, reason=node.reason if ended else None)
        effects = {
            Step.FAILED: self._failed,
            Step.VM_GONE: self._vm_gone,
            Step.VM_STUCK: self._vm_stuck,
            Step.EVICTED: self.switch_off,
            Step.BOOT_AGAIN: self.boot,
            Step.TERMINATED: self._terminated,
        }
        if step in effects:
            effects[step](node)

    def _failed(self, node: Node) -> None:
        if node.boot.no_capacity:
            self.state.capacity_failures[node.key] = self.clock()

    def _terminated(self, node: Node) -> None:
        if node.forgotten:
            del self.state.nodes[node.name]

    def _vm_stuck(self, node: Node) -> None:
        self._machines.force_off([node.name], grace_s=0)

    def _vm_gone(self, node: Node) -> None:
        self._machines.forget(node.name)
        life = self.state.running.pop(node.name)
        self.state.lives.append(life.model_copy(update={"ended_at": self.clock()}))

    def boot(self, node: Node) -> None:
        """Begin a boot of a node that has no machine; it gets one, unless Azure has no capacity."""
        boot = Boot(
            began_at=self.clock(),
            takes_s=self.faults.boot_s_of(node),
            fails_with=self.faults.failure_of(node),
            no_capacity=not self.faults.has_capacity(node),
        )
        node.begin(boot, None if boot.no_capacity else str(uuid.uuid4()))
        if node.vm:
            self._machines.start(node.name, boot.takes_s, runs_command=self.faults.registers(node))
            self.state.running[node.name] = _life(node)

    def end(self, node: Node, target: Target, reason: str = "UserInitiated") -> None:
        """Have a node end as ``target``; its machine is switched off."""
        node.leave(target, self.clock(), reason)
        self.note("NodeLeaves", node=node.name, target=target, reason=reason)
        self.switch_off(node)

    def switch_off(self, node: Node) -> None:
        """Switch the machine of a node off, when it has one."""
        if node.vm:
            self._machines.switch_off(node.name)

    # all of it

    def region(self) -> Region:
        """Give the region with its quotas and all nodes that take from them."""
        faulty = self.faults.quota_cores
        quota = self.config.cores if faulty is None else faulty
        quotas = {**self.config.quotas, **self.faults.quotas}
        return Region(self.config.region, quota, quotas, consuming(self.state.nodes.values()))

    def operation(self, action: str, request_id: str | None, nodes: Collection[Node]) -> Operation:
        """Write an accepted request down, with the nodes it is about, and keep the state."""
        operation = Operation(
            id=str(uuid.uuid4()),
            action=action,
            start_time=datetime.fromtimestamp(self.clock(), UTC),
            request_id=request_id,
            node_ids=[node.node_id for node in nodes],
        )
        self.state.operations[operation.id] = operation
        self.note("Operation", action=action, requestId=request_id, nodes=[node.name for node in nodes])
        self.keep()
        return operation

    def operation_of(self, request_id: str) -> Operation | None:
        """Give the operation that a request id led to."""
        return next((op for op in self.state.operations.values() if op.request_id == request_id), None)

    def refuse_repeated(self, request_id: str | None) -> None:
        """Raise DeclinedError 409 when the request id was used before."""
        if request_id and self.operation_of(request_id):
            raise invalid(f"request id {request_id} was used before")

    # faults

    def out_of_service_for(self, seconds: float) -> None:
        """Begin an outage, or with 0 end it."""
        self._outage_until = self.clock() + seconds

    def require_service(self) -> None:
        """Raise DeclinedError 503 during an outage, and 500 as often as a fault says."""
        if self.clock() < self._outage_until:
            raise DeclinedError(503, "CycleCloud is not available at the moment")
        if self._takes_one("error_500"):
            raise DeclinedError(500, "Internal Server Error")

    def loses_answer(self) -> bool:
        """Say whether the answer to a request that was carried out must never come."""
        return self._takes_one("stall_after_effect")

    def _takes_one(self, fault: str) -> bool:
        left = getattr(self.faults, fault)
        if left:
            self.faults = self.faults.model_copy(update={fault: left - 1})
            self.note("Fault", fault=fault, left=left - 1)
        return bool(left)


def _of_known_buckets(state: Snapshot, config: Config) -> Snapshot:
    """Drop the nodes of buckets that the configuration lost: Azure's clients fail on an unknown nodearray."""
    known = {
        name: node for name, node in state.nodes.items() if config.kind(node.nodearray, node.machine_type)
    }
    return state.model_copy(update={"nodes": known})


def _head_life(told: HeadNode, now: float) -> Life:
    return Life(
        node=told.name,
        nodearray="",
        vm_size=told.vm_size,
        cores=told.cores,
        interruptible=False,
        usd_per_hour=told.usd_per_hour,
        began_at=now,
    )


def _life(node: Node) -> Life:
    return Life(
        node=node.name,
        nodearray=node.nodearray,
        vm_size=node.machine_type,
        cores=node.cores,
        interruptible=node.interruptible,
        usd_per_hour=node.usd_per_hour,
        began_at=node.boot.began_at,
    )
