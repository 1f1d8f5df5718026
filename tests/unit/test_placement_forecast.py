"""The forecast and its answers from memory, against the plainest way to find the same."""

from __future__ import annotations

from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from hybrid_hpc.placement.calendar import Calendar, Room, occupied
from hybrid_hpc.placement.fits import Shape
from hybrid_hpc.placement.forecast import forecast
from hybrid_hpc.placement.starts import StartIndex
from hybrid_hpc.placement.waves import Waves, end_of_waves
from hybrid_hpc.schedulers.base import Load, NodeStatus, QueuedJob
from tests.unit.placement_world import cluster, job, load, node, partition, running

CAPACITY = Room(8, 80, 2)
PARTITION = partition("batch", nodes=4, cores=8, memory_mib=80, gpus=2)
CLUSTER = cluster("onprem", PARTITION)

rooms = st.builds(Room, st.integers(1, 9), st.integers(0, 90), st.integers(0, 3))
fitting_rooms = st.builds(Room, st.integers(1, 8), st.integers(0, 80), st.integers(0, 2))
ends = st.integers(1, 20).map(float)
calendars = st.builds(
    occupied,
    st.just(CAPACITY),
    st.lists(st.tuples(ends, fitting_rooms), max_size=4),
    st.sampled_from([0.0, 0.0, 5.0]),
)


@st.composite
def reserved(draw: st.DrawFn) -> Calendar:
    """A calendar with gaps: jobs laid on it where there is room."""
    calendar = draw(calendars)
    for room, length_s in draw(st.lists(st.tuples(fitting_rooms, ends), max_size=3)):
        begin = calendar.first_fit(room, length_s, draw(ends))
        calendar.reserve(begin, begin + length_s, room)
    return calendar


def free(calendar: Calendar, room: Room, begin: float, end: float) -> bool:
    """Looked up piece by piece."""
    bounds = [*(piece[0] for piece in calendar.pieces), inf]
    return all(
        Room(*piece[1:]).holds(room)
        for piece, (from_s, to_s) in zip(calendar.pieces, pairwise(bounds), strict=True)
        if from_s < end and to_s > begin
    )


def moments(found: list[Calendar]) -> list[float]:
    return sorted({piece[0] for calendar in found for piece in calendar.pieces})


@given(reserved(), rooms, ends, ends)
def test_a_first_fit_is_free_throughout_and_nothing_before_it_is(
    calendar: Calendar, room: Room, length_s: float, after_s: float
) -> None:
    found = calendar.first_fit(room, length_s, after_s)
    if found < inf:
        assert found >= after_s
        assert free(calendar, room, found, found + length_s)
    earlier = [at for at in {after_s, *moments([calendar])} if after_s <= at < found]
    assert not any(free(calendar, room, at, at + length_s) for at in earlier)


@given(reserved())
def test_a_calendar_begins_now_ascends_and_never_has_less_than_nothing(calendar: Calendar) -> None:
    assert calendar.pieces[0][0] == 0
    assert all(before[0] < after[0] for before, after in pairwise(calendar.pieces))
    assert all(amount >= 0 for piece in calendar.pieces for amount in piece)
    assert Room(*calendar.pieces[-1][1:]) == CAPACITY


@given(st.lists(reserved(), min_size=1, max_size=4), rooms, st.integers(1, 4), ends)
def test_the_earliest_start_is_the_first_moment_at_which_enough_nodes_are_free_together(
    found: list[Calendar], room: Room, count: int, length_s: float
) -> None:
    starts = StartIndex(found).starts(room)
    capable = sum(CAPACITY.holds(room) for _ in found)
    assert (len(starts.lasting) if starts else 0) == capable
    if starts and count <= capable:
        plainly = next(
            at
            for at in moments(found)
            if sum(free(calendar, room, at, at + length_s) for calendar in found) >= count
        )
        assert starts.earliest(count, length_s) == plainly


@given(
    st.lists(reserved(), min_size=1, max_size=3), fitting_rooms, st.integers(1, 30), st.integers(1, 30), ends
)
def test_an_array_never_ends_before_its_room_allows_nor_after_one_task_at_a_time(
    found: list[Calendar], room: Room, tasks: int, at_once: int, length_s: float
) -> None:
    starts = StartIndex(found).starts(room)
    assert starts is not None
    begin = starts.earliest(1, length_s)
    shape = Shape(1, room, "", int(length_s), tasks, min(at_once, tasks))
    end = Waves(found).end(shape, begin)
    most = min(shape.at_once, len(found) * CAPACITY.times(room))
    assert end >= begin + -(-tasks // most) * int(length_s)
    all_free = max(piece[0] for calendar in found for piece in calendar.pieces)
    assert end <= all_free + tasks * int(length_s)


def test_tasks_of_several_nodes_wait_for_the_nodes_of_a_second_one_when_that_is_sooner() -> None:
    shape = Shape(2, Room(1, 0, 0), "", 100, 4, 4)
    assert end_of_waves([0, 0, 50, 50], shape, 0.0) == 250
    assert end_of_waves([0, 0, 500, 500], shape, 0.0) == 400


@st.composite
def loads(draw: st.DrawFn) -> Load:
    statuses = draw(st.lists(st.sampled_from(NodeStatus), min_size=4, max_size=4))
    found = [node(f"batch-{n}", PARTITION, status) for n, status in enumerate(statuses)]
    jobs: list[QueuedJob] = []
    for number in range(draw(st.integers(0, 4))):
        names = draw(
            st.lists(st.sampled_from([each.name for each in found]), min_size=1, max_size=3, unique=True)
        )
        cores = draw(st.integers(1, 8)) * len(names)
        jobs.append(running(f"r{number}", *names, cores=cores, ends_in_s=float(draw(st.integers(-50, 5000)))))
    for number in range(draw(st.integers(0, 6))):
        count = draw(st.integers(1, 5))
        wishes = {
            "nodes": count,
            "cores": count * draw(st.integers(1, 9)),
            "walltime_s": draw(st.integers(1, 5000)),
        }
        tasks = draw(st.integers(1, 5))
        jobs.append(job(f"p{number}", **wishes, array_tasks=tasks, priority=draw(st.integers(0, 2))))
    return load(found, *jobs)


@given(loads(), st.integers(0, 4))
def test_the_queue_never_takes_more_than_there_is(found: Load, creatable: int) -> None:
    laid = forecast(found, CLUSTER, {"batch": creatable})["batch"]
    for calendar in laid.calendars:
        assert all(amount >= 0 for piece in calendar.pieces for amount in piece)
        assert calendar.pieces[-1][1] == PARTITION.cores
    off = sum(each.status is NodeStatus.OFF for each in found.nodes)
    usable = sum(each.status in (NodeStatus.UP, NodeStatus.BOOTING) for each in found.nodes)
    assert len(laid.calendars) == usable + min(off, creatable)
    assert len(laid.beyond_quota) == max(0, off - creatable)
