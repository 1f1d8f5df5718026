"""The circuit breaker before one way to a cluster: after failures in a row, nobody connects for a while.

A way is a head node, or the CycleCloud of a cluster. Its state is in the ledger, so that the workers, the
triggerer and the reconcile DAG share it: an outage costs a try a minute however many wait, and a login that
is refused is not repeated until the account is locked. A ledger that does not answer keeps nobody out: then
each process goes by what it has seen itself. No job is ever failed by a breaker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from hybrid_hpc import telemetry
from hybrid_hpc.breaker_rules import Row, State, is_failure, opening, why
from hybrid_hpc.errors import AccessDenied, ConnectionLost, HybridHpcError, Shut

log = logging.getLogger(__name__)

ALERT = "breaker"
FRESH_S = 2.0  # so old may be what was read in the ledger
LEDGER_TIMEOUT_S = 3.0
LEDGER_AGAIN_S = 15.0  # a ledger that does not answer must not slow down every command
TURN_AGAIN_S = 0.05
TURN_S = 2.0  # a slow answer to one process must not keep the others waiting for longer
SILENT_S = 15.0  # a call that was given up after so long without an answer has failed
T = TypeVar("T")


class Store(Protocol):
    """What this module needs of the ledger."""

    def breaker(self, target: str) -> Row | None:
        """None: closed, and nothing has failed since the last success."""

    def claim_probe(self, target: str, due: datetime, again_at: datetime) -> bool:
        """True for one caller."""

    def note_failure(
        self, target: str, why: str, next_state: Callable[[int, datetime | None], dict[str, Any]]
    ) -> Row:
        """Counts it; ``next_state(failures, opened_at)`` gives what else changes."""

    def close_breaker(self, target: str) -> bool:
        """Forgets all failures."""

    def turn(self, target: str) -> AbstractContextManager[bool]:
        """True for one caller at a time."""

    def raise_alert(self, subject: str, kind: str, sentence: str, *, cluster: str = "") -> object:
        """Raised now unless it stands already."""

    def clear_alert(self, subject: str, kind: str) -> bool:
        """Ends it."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Breaker:
    """``way`` is '' for the head node. Without a ``store`` it knows only what this process has seen.

    ``insists``: a person asks, so every call is let through; what becomes of it is counted all the same.
    """

    def __init__(
        self,
        cluster: str,
        way: str = "",
        store: Store | None = None,
        *,
        insists: bool = False,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.cluster = cluster
        self.target = f"{cluster} {way}".rstrip()
        self.now = now
        self._prefix = "" if way else f"{cluster}: "  # CycleCloud's errors are told beside its name
        self._store = store
        self._insists = insists
        self._state = State()
        self._let_in = False  # a login of this process was accepted
        self._looked_at = self._counted_at = self._silent_until = float("-inf")

    async def enter(self) -> None:
        """Before a connection is made. Raises `Shut` while the way is open-circuited and no try is due."""
        state = await self._look()
        if state.opened_at is None or self._insists:
            return
        if state.due(self.now()):
            if await self._claim(state):
                return
            state = await self._look(at_most_s=0)
            if state.opened_at is None:
                return
        raise self._shut(state)

    async def shut(self) -> Shut | None:
        """What a call would be told now; None while the way is closed."""
        state = await self._look()
        return None if state.opened_at is None else self._shut(state)

    @contextlib.asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """A call that logs in by itself: let through or not, and counted."""
        async with self._turn():
            await self.enter()
            connected_at = self.now()
            async with self.heard(lambda: connected_at):
                yield

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Until a login was accepted here, one process tries at a time: many would lock the account."""
        turn = None if self._let_in else await self._taken_turn()
        if turn:
            self._looked_at = float("-inf")  # whoever had the turn before us may have been refused
        try:
            yield
        finally:
            if turn:
                await asyncio.to_thread(turn.close)

    async def _taken_turn(self) -> ExitStack | None:
        """What to close when the turn is over; None without one, after a short wait."""
        until = time.monotonic() + TURN_S
        while (turn := await self._ask(self._free_turn)) and not turn[0] and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(TURN_AGAIN_S)
        return turn[0] if turn else None

    def _free_turn(self, store: Store) -> tuple[ExitStack | None]:
        with ExitStack() as stack:
            return (stack.pop_all() if stack.enter_context(store.turn(self.target)) else None,)

    @contextlib.asynccontextmanager
    async def heard(self, connected_at: Callable[[], datetime]) -> AsyncIterator[None]:
        """Counts what becomes of a call over a connection that was made at that moment."""
        began = time.monotonic()
        try:
            yield
        except asyncio.CancelledError:
            if time.monotonic() - began >= SILENT_S:
                self._count_soon(ConnectionLost(f"no answer within {SILENT_S:.0f} s"))
            raise
        except HybridHpcError as error:
            if is_failure(error):
                await self.failed(error, began)
            else:
                await self._succeeded(connected_at())
            raise
        await self._succeeded(connected_at())

    async def failed(self, error: HybridHpcError, began: float) -> None:
        """Counts a failure of a call that ``began`` at that `time.monotonic`.

        Calls that were under way together fail together, which is one failure.
        """
        denied = isinstance(error, AccessDenied)
        if error.shut or (began < self._counted_at and not denied):
            return
        self._counted_at = time.monotonic()
        self._let_in = self._let_in and not denied
        noted = await self._ask(lambda store: self._note(store, error))
        if noted is None:
            failures = self._state.failures + 1
            changes = opening(failures, self._state.opened_at, denied=denied, now=self.now())
            noted = replace(self._state, failures=failures, why=why(error, self._prefix), **changes)
        self._remember(noted)
        if noted.opened_at:
            error.shut = self._shut(noted)

    async def _succeeded(self, connected_at: datetime) -> None:
        self._let_in = True
        state = await self._look()
        if state.failures:
            state = await self._look(at_most_s=0)
        if not state.failures or (state.opened_at and connected_at < state.opened_at):
            return  # an old connection says nothing about whether a new one would be let in
        log.info("%s answers again", self.target)
        await self._ask(self._close)
        self._remember(State())

    def _close(self, store: Store) -> bool:
        store.clear_alert(self.target, ALERT)  # before the row: dying in between must not leave it for ever
        return store.close_breaker(self.target)

    def _note(self, store: Store, error: HybridHpcError) -> State:
        now, denied = self.now(), isinstance(error, AccessDenied)
        row = store.note_failure(
            self.target,
            why(error, self._prefix),
            lambda failures, opened_at: opening(failures, opened_at, denied=denied, now=now),
        )
        state = State.of(row)
        if state.opened_at:
            said = state.alert(self.target, self.cluster, now)
            log.warning("%s", said)
            store.raise_alert(self.target, ALERT, said, cluster=self.cluster)
        return state

    def _count_soon(self, error: HybridHpcError) -> None:
        """In a thread that nobody waits for: whoever gave the call up has no more time."""
        if self._store and time.monotonic() >= self._silent_until:
            asyncio.get_running_loop().run_in_executor(None, self._note_or_not, self._store, error)

    def _note_or_not(self, store: Store, error: HybridHpcError) -> None:
        with contextlib.suppress(HybridHpcError):
            self._remember(self._note(store, error))

    def _shut(self, state: State) -> Shut:
        now = self.now()
        wait_s = max((state.probe_at - now).total_seconds() if state.probe_at else 0.0, 1.0)
        lasting = state.lasting(now)
        said = f"{self._prefix}not tried again for {wait_s:.0f} s: it {lasting}"
        return Shut(said, lasting=lasting, retry_after_s=wait_s)

    async def _look(self, at_most_s: float = FRESH_S) -> State:
        if time.monotonic() - self._looked_at >= at_most_s:
            seen = await self._ask(lambda store: State.of(store.breaker(self.target)))
            self._remember(seen or self._state)
        return self._state

    async def _claim(self, state: State) -> bool:
        """Whether this call is the one that may try; also without a ledger, for this process alone."""
        again_at = self.now() + state.pause
        due = state.probe_at
        if due and await self._ask(lambda store: store.claim_probe(self.target, due, again_at)) is False:
            return False
        self._remember(replace(state, probe_at=again_at))
        return True

    def _remember(self, state: State) -> None:
        self._state, self._looked_at = state, time.monotonic()
        telemetry.stand("hybrid_hpc.breaker.open", float(state.opened_at is not None), target=self.target)

    async def _ask(self, question: Callable[[Store], T]) -> T | None:
        """None when there is no ledger or when it does not answer."""
        store = self._store
        if store is None or time.monotonic() < self._silent_until:
            return None
        try:
            async with asyncio.timeout(LEDGER_TIMEOUT_S):
                return await asyncio.to_thread(question, store)
        except Exception as error:  # noqa: BLE001  it must never take the place of the call's own failure
            self._silent_until = time.monotonic() + LEDGER_AGAIN_S
            log.warning("%s: the breaker in the ledger cannot be asked: %s", self.target, error)
            return None
