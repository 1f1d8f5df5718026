"""After failures in a row nobody connects for a while, and one caller finds out when it is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_hpc import breaker as breaker_module
from hybrid_hpc.breaker import Breaker
from hybrid_hpc.breaker_rules import (
    AGAIN,
    DENIED,
    DENIED_AGAIN,
    OPENS_AFTER,
    UNANSWERED,
    State,
    is_failure,
    opening,
)
from hybrid_hpc.errors import (
    AccessDenied,
    ConnectionLost,
    HybridHpcError,
    Refused,
    Shut,
    Unreachable,
    Unreadable,
)
from hybrid_hpc.ledger import Ledger
from lab.postgres import Postgres
from tests.unit.ledger_databases import NOW, empty

pytest_plugins = ["tests.unit.ledger_fixtures"]

DOWN = "onprem: no SSH connection: refused"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Way:
    """A way to a cluster that is up, down or shuts the door; and a breaker before it for every process."""

    def __init__(self, ledger: Ledger | None, clock: Clock) -> None:
        self.ledger, self.clock = ledger, clock
        self.error: HybridHpcError | None = None
        self.tries = 0

    def process(self, way: str = "", *, insists: bool = False) -> Breaker:
        return Breaker("onprem", way, self.ledger, insists=insists, now=self.clock)

    async def call(self, breaker: Breaker) -> HybridHpcError | None:
        """What a call ends with; None: an answer."""
        try:
            async with breaker.passage():
                self.tries += 1
                if self.error:
                    raise type(self.error)(str(self.error))
        except HybridHpcError as error:
            return error
        return None

    async def calls(self, breaker: Breaker, count: int) -> list[HybridHpcError | None]:
        return [await self.call(breaker) for _ in range(count)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def way(ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Way:
    monkeypatch.setattr(breaker_module, "FRESH_S", 0.0)
    return Way(ledger, clock)


@given(st.integers(1, 50), st.booleans(), st.booleans())
def test_it_opens_at_the_fifth_failure_or_at_once_when_denied_and_never_before(
    failures: int, denied: bool, was_open: bool
) -> None:
    became = opening(failures, NOW if was_open else None, denied=denied, now=NOW + AGAIN)
    opened = was_open or "opened_at" in became
    assert opened == (was_open or denied or failures >= OPENS_AFTER)
    if not was_open and opened:
        assert became["probe_at"] - (NOW + AGAIN) == (DENIED_AGAIN if denied else AGAIN)


@given(st.lists(st.sampled_from(["lost", "denied"]), min_size=1, max_size=20))
def test_of_refused_logins_no_two_come_within_five_minutes_whatever_happens_in_between(
    story: list[str],
) -> None:
    """A caller who comes whenever it may: the moments of its tries are those of the breaker."""
    now, state, denied_at = NOW, State(), []
    for event in story:
        if state.opened_at:
            assert state.probe_at
            now = max(now, state.probe_at)
            state = State(state.failures, state.why, state.opened_at, now + state.pause)
        denied = event == "denied"
        denied_at += [now] if denied else []
        changes = opening(state.failures + 1, state.opened_at, denied=denied, now=now)
        why = f"{DENIED if denied else UNANSWERED}: x"
        state = State(
            state.failures + 1,
            why,
            changes.get("opened_at", state.opened_at),
            changes.get("probe_at", state.probe_at),
        )
    gaps = [later - earlier for earlier, later in pairwise(denied_at)]
    assert all(gap >= DENIED_AGAIN for gap in gaps)


def test_only_what_says_something_about_the_way_is_a_failure_of_it() -> None:
    assert all(map(is_failure, (Unreachable("x"), ConnectionLost("x"), AccessDenied("x"))))
    assert not any(map(is_failure, (Refused("no such file"), Unreadable("x"))))


async def test_four_failures_and_an_answer_leave_nothing_behind(way: Way, ledger: Ledger) -> None:
    process = way.process()
    way.error = Unreachable(DOWN)
    await way.calls(process, OPENS_AFTER - 1)
    way.error = None
    assert await way.call(process) is None
    assert ledger.breakers() == []
    way.error = Unreachable(DOWN)
    await way.calls(process, OPENS_AFTER - 1)
    assert ledger.alerts() == []


async def test_five_failures_in_a_row_keep_every_process_away_with_a_sentence_and_an_alert(
    way: Way, ledger: Ledger
) -> None:
    way.error = Unreachable(DOWN)
    for _ in range(OPENS_AFTER):
        await way.call(way.process())  # each in a process of its own
    shut = await way.call(way.process())
    assert isinstance(shut, Shut)
    assert str(shut) == (
        "onprem: not tried again for 60 s: it has not answered since 01:30 UTC: no SSH connection: refused"
    )
    assert (way.tries, shut.retry_after_s) == (OPENS_AFTER, 60)
    (alert,) = ledger.alerts(["breaker"])
    assert (alert.subject, alert.cluster) == ("onprem", "onprem")
    assert alert.sentence.startswith(
        "onprem has not answered since 01:30 UTC: no SSH connection: refused. It"
    )


async def test_a_refused_login_keeps_everybody_away_at_once_and_tells_an_administrator(
    way: Way, ledger: Ledger
) -> None:
    way.error = AccessDenied("https://cc answers 401 Unauthorized")
    await way.call(way.process("CycleCloud"))
    shut = await way.call(way.process("CycleCloud"))
    assert str(shut).startswith("not tried again for 300 s: it has not let us in since 01:30 UTC: https://cc")
    way.error = None
    assert await way.call(way.process()) is None  # its head node is another way
    (alert,) = ledger.alerts(["breaker"])
    assert alert.subject == "onprem CycleCloud"
    assert "An administrator must look: `python -m hybrid_hpc doctor onprem`" in alert.sentence


async def test_when_it_is_due_one_caller_tries_and_its_answer_lets_all_through(
    way: Way, clock: Clock, ledger: Ledger
) -> None:
    way.error = Unreachable(DOWN)
    await way.calls(way.process(), OPENS_AFTER)
    clock.pass_(59)
    assert isinstance(await way.call(way.process()), Shut)
    clock.pass_(1)
    assert type(await way.call(way.process())) is Unreachable  # the try
    assert isinstance(await way.call(way.process()), Shut)
    clock.pass_(60)
    way.error = None
    assert await way.calls(way.process(), 2) == [None, None]
    assert (ledger.breakers(), ledger.alerts()) == ([], [])
    assert way.tries == OPENS_AFTER + 3


async def test_what_is_told_stays_the_same_from_try_to_try(way: Way, clock: Clock) -> None:
    way.error = Unreachable(DOWN)
    told = set()
    process = way.process()
    await way.calls(process, OPENS_AFTER)
    for _ in range(40):
        error = await way.call(process)
        assert error
        assert error.shut
        told.add(error.shut.lasting)
        clock.pass_(10)
    assert told == {"has not answered since 01:30 UTC: no SSH connection: refused"}


async def test_calls_that_fail_together_are_one_failure(way: Way, ledger: Ledger) -> None:
    """One pulled cable must not count once for every command that was under way."""
    process, pulled = way.process(), asyncio.Barrier(10)

    async def call() -> None:
        async with process.heard(way.clock):
            await pulled.wait()
            raise ConnectionLost("onprem: the cable")

    await asyncio.gather(*(call() for _ in range(10)), return_exceptions=True)
    assert [row.failures for row in ledger.breakers()] == [1]


async def test_an_old_connection_that_still_answers_does_not_open_the_door_to_new_logins(
    way: Way, clock: Clock, ledger: Ledger
) -> None:
    way.error = AccessDenied("onprem: Permission denied")
    connected_at = clock.now
    clock.pass_(10)
    await way.call(way.process())
    async with way.process().heard(lambda: connected_at):
        pass
    assert isinstance(await way.call(way.process()), Shut)
    assert len(ledger.breakers()) == 1


async def test_a_person_who_asks_is_let_through_and_closes_it_when_there_is_an_answer(
    way: Way, clock: Clock, ledger: Ledger
) -> None:
    way.error = AccessDenied("onprem: Permission denied")
    await way.call(way.process())
    way.error = None
    clock.pass_(5)
    assert await way.call(way.process(insists=True)) is None
    assert await way.call(way.process()) is None
    assert ledger.alerts() == []


async def test_a_call_that_was_given_up_without_an_answer_counts(
    way: Way, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_module, "SILENT_S", 0.05)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit, way.process().passage():
            limit.reschedule(asyncio.get_running_loop().time() + 0.1)
            await asyncio.Event().wait()
    until = time.monotonic() + 10
    while not ledger.breakers():
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


class Broken:
    """A ledger that does not answer."""

    asked = 0

    def __getattr__(self, name: str) -> object:
        self.asked += 1
        raise RuntimeError("gone")


@pytest.mark.parametrize("ledger", [None, Broken()], ids=["none", "broken"])
async def test_without_a_ledger_each_process_goes_by_what_it_has_seen(clock: Clock, ledger: Ledger) -> None:
    way = Way(ledger, clock)
    process, other = way.process(), way.process()
    way.error = AccessDenied("onprem: Permission denied")
    ended = await way.calls(process, 20)
    assert [type(error) for error in ended] == [AccessDenied, *[Shut] * 19]
    assert type(await way.call(other)) is AccessDenied
    clock.pass_(300)
    way.error = None
    assert await way.calls(process, 2) == [None, None]


async def test_a_ledger_that_hangs_is_not_waited_for_at_every_call(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_module, "LEDGER_TIMEOUT_S", 0.1)
    monkeypatch.setattr(breaker_module, "FRESH_S", 0.0)

    class Hanging:
        def breaker(self, _: str) -> None:
            time.sleep(0.5)

    process = Breaker("onprem", "", Hanging(), now=clock)  # type: ignore[arg-type]
    began = time.monotonic()
    for _ in range(50):
        async with process.passage():
            pass
    assert time.monotonic() - began < 0.4


async def test_answers_on_a_clean_way_write_nothing_and_seldom_ask_the_ledger(clock: Clock) -> None:
    class Counting:
        asked = 0

        def breaker(self, _: str) -> None:
            self.asked += 1

    counting = Counting()  # it cannot write
    process = Breaker("onprem", "", counting, now=clock)  # type: ignore[arg-type]
    for _ in range(200):
        async with process.passage():
            pass
    assert counting.asked <= 2


@pytest.fixture
def postgres(ledger_server: Postgres) -> Iterator[Ledger]:
    made = Ledger(empty(ledger_server))
    made.migrate()
    yield made
    made.close()


async def test_of_many_processes_that_come_at_once_when_it_is_due_one_tries(
    postgres: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_module, "FRESH_S", 0.0)
    way = Way(postgres, clock)
    way.error = Unreachable(DOWN)
    await way.calls(way.process(), OPENS_AFTER)
    for due in range(1, 6):
        clock.pass_(60)
        ended = await asyncio.gather(*(way.call(way.process()) for _ in range(8)))
        assert sorted(type(error).__name__ for error in ended) == [*["Shut"] * 7, "Unreachable"]
        assert way.tries == OPENS_AFTER + due


async def test_failures_at_once_are_all_counted_and_open_it_once(postgres: Ledger, clock: Clock) -> None:
    way = Way(postgres, clock)
    await asyncio.gather(*(way.process().failed(Unreachable(DOWN), time.monotonic()) for _ in range(8)))
    (row,) = postgres.breakers()
    assert (row.failures, row.opened_at) == (8, NOW)
    assert len(postgres.alerts()) == 1
