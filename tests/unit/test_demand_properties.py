"""What holds of scaling out and in for every queue and every state of the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.demand import nodes_to_release
from hybrid_hpc.placement.calendar import Room
from hybrid_hpc.placement.waiting import need_of, partitions_of, room_of, waits_for_nodes
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus, QueuedJob
from tests.unit.demand_world import nodes_to_ask
from tests.unit.placement_world import CLOCK, azure, cluster, job, load, node, nodes, partition, running

TWO = cluster(
    "azure",
    *(
        partition(name, nodes=count, cores=cores, memory_mib=cores * 10, nodearray=name, vm_size=name.upper())
        for name, count, cores in (("a", 5, 8), ("b", 4, 4))
    ),
    elastic=azure().elastic,
)


@st.composite
def elastic_nodes(draw: st.DrawFn) -> list[NodeState]:
    found = []
    for each in nodes(TWO):
        status = draw(st.sampled_from([NodeStatus.OFF, NodeStatus.OFF, *NodeStatus]))
        runs = status in (NodeStatus.UP, NodeStatus.DRAINING)
        cores = draw(st.integers(0, each.cores)) if runs and draw(st.booleans()) else 0
        found.append(replace(each, status=status, cores_busy=cores, memory_busy_mib=cores * 10))
    return found


waiting = st.builds(
    lambda number, partition, count, cores, memory, tasks, priority, reason: job(
        str(number),
        partition=partition,
        nodes=count,
        cores=cores * count,
        memory_per_node_mib=memory,
        array_tasks=tasks,
        priority=priority,
        reason=reason,
    ),
    st.integers(1, 999),
    st.sampled_from(["a", "b", "a,b", "b,a", "c"]),
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(0, 90),
    st.integers(0, 4),
    st.integers(0, 2),
    st.sampled_from(["Resources", "Resources", "Priority", "None", "Dependency"]),
)
queues = st.lists(waiting, max_size=6)
quotas = st.fixed_dictionaries({}, optional={"a": st.integers(0, 6), "b": st.integers(0, 6)})


@settings(max_examples=300)
@given(elastic_nodes(), queues, quotas, st.sets(st.sampled_from([each.name for each in nodes(TWO)])))
def test_only_nodes_that_are_off_are_asked_for_each_once_within_the_quota(
    found: list[NodeState], queue: list[QueuedJob], creatable: dict[str, int], existing: set[str]
) -> None:
    asks = nodes_to_ask(load(found, *queue), TWO, existing, creatable)
    names = [name for ask in asks for name in ask.names]
    off_now = {each.name for each in found if each.status is NodeStatus.OFF}
    assert len(names) == len(set(names))
    assert set(names) <= off_now - existing
    for ask in asks:
        assert 0 < len(ask.names) <= creatable.get(ask.partition, 99)
        assert all(name.startswith(ask.partition) for name in ask.names)
        assert set(ask.for_jobs) <= {each.native_id for each in queue if waits_for_nodes(each)}
        assert ask.for_jobs


@settings(max_examples=300)
@given(elastic_nodes(), queues, quotas)
def test_asking_again_with_the_nodes_on_their_way_asks_for_nothing(
    found: list[NodeState], queue: list[QueuedJob], creatable: dict[str, int]
) -> None:
    asks = nodes_to_ask(load(found, *queue), TWO, (), creatable)
    names = {name for ask in asks for name in ask.names}
    left = {
        key: most - sum(len(ask.names) for ask in asks if ask.partition == key)
        for key, most in creatable.items()
    }
    assert nodes_to_ask(load(found, *queue), TWO, names, left) == []
    boots = [replace(each, status=NodeStatus.BOOTING) if each.name in names else each for each in found]
    assert nodes_to_ask(load(boots, *queue), TWO, names, left) == []


def room_for(queue: list[QueuedJob], free: dict[str, Room], where: dict[str, tuple[str, ...]]) -> bool:
    """Whether all tasks fit at once, found by trying every way to place them."""
    if not queue:
        return True
    first, rest = queue[0], queue[1:]
    wants = room_of(need_of(first))
    for name in partitions_of(first):
        able = [each for each, room in free.items() if name in where[each] and room.holds(wants)]
        for chosen in combinations(able, first.nodes):
            left = {each: _less(room, wants) if each in chosen else room for each, room in free.items()}
            if room_for(rest, left, where):
                return True
    return False


def _less(room: Room, wants: Room) -> Room:
    return Room(*(have - taken for have, taken in zip(room, wants, strict=True)))


def tasks_of(queue: list[QueuedJob]) -> Iterator[QueuedJob]:
    for each in queue:
        if waits_for_nodes(each) and fits_alone(each):
            yield from [each] * each.array_tasks


def fits_alone(each: QueuedJob) -> bool:
    wants = room_of(need_of(each))
    return any(
        Room(part.cores, part.memory_mib, part.gpus).holds(wants)
        for name in partitions_of(each)
        if (part := TWO.partitions.get(name))
    )


@settings(max_examples=100)
@given(elastic_nodes(), st.lists(waiting.filter(lambda each: each.nodes * each.array_tasks <= 2), max_size=2))
def test_enough_is_asked_for_that_every_job_that_fits_could_start(
    found: list[NodeState], queue: list[QueuedJob]
) -> None:
    """With off nodes to spare: at least four in each partition, for at most four whole nodes of work."""
    spare = [node(f"{name}-9{n}", TWO.partitions[name], NodeStatus.OFF) for name in "ab" for n in range(4)]
    names = {name for ask in nodes_to_ask(load([*found, *spare], *queue), TWO) for name in ask.names}
    there = [
        each
        for each in [*found, *spare]
        if each.status in (NodeStatus.UP, NodeStatus.BOOTING) or each.name in names
    ]
    free = {
        each.name: Room(each.cores - each.cores_busy, each.memory_mib - each.memory_busy_mib, 0)
        for each in there
    }
    assert room_for(list(tasks_of(queue)), free, {each.name: each.partitions for each in there})


@settings(max_examples=300)
@given(elastic_nodes(), queues, st.data())
def test_a_node_with_a_job_is_never_let_go_nor_one_that_is_asked_for(
    found: list[NodeState], queue: list[QueuedJob], data: st.DataObject
) -> None:
    up = [each.name for each in found if each.status is NodeStatus.UP]
    names = data.draw(st.sets(st.sampled_from(up))) if up else set()
    jobs = [running(f"r{name}", name, partition=name[0]) for name in names]
    seen: Load = load(found, *queue, *jobs)
    going = set(nodes_to_release(seen, TWO, {each.name: CLOCK - 900 for each in found}))
    assert not going & names
    assert going <= {each.name for each in found if each.status is NodeStatus.UP and not each.cores_busy}
    assert not going & {name for ask in nodes_to_ask(seen, TWO) for name in ask.names}


@settings(max_examples=200)
@given(elastic_nodes(), queues)
def test_letting_go_makes_no_new_demand(found: list[NodeState], queue: list[QueuedJob]) -> None:
    """Else a node would be let go and asked for again, for ever."""
    seen = load(found, *queue)
    going = nodes_to_release(seen, TWO, {each.name: CLOCK - 900 for each in found})
    gone = [replace(each, status=NodeStatus.OFF) if each.name in going else each for each in found]
    before = {name for ask in nodes_to_ask(seen, TWO) for name in ask.names}
    after = {name for ask in nodes_to_ask(load(gone, *queue), TWO) for name in ask.names}
    assert len(after) == len(before)
