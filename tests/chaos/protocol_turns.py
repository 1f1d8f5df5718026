"""Several processes in one: each goes on by turns that a test chooses, and may die between any two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, cast

from hybrid_hpc.errors import HybridHpcError
from tests.unit.submission_fakes import Killed

if TYPE_CHECKING:
    from tests.chaos.protocol_world import Link


class Turn:
    """Awaited, it ends a turn; with ``seconds`` the process goes on only after them."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __await__(self) -> Generator[float, None, None]:
        yield self.seconds


class Loop:
    """As much of an event loop as `asyncio.to_thread` and `asyncio.sleep` need: a turn each."""

    def run_in_executor(self, _executor: None, call: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
        async def called() -> Any:
            await Turn()
            return call()

        return called()

    def create_future(self) -> _Waking:
        return _Waking()

    def call_later(self, delay_s: float, _call: object, waking: _Waking, _result: object) -> _Waking:
        waking.turn = Turn(delay_s)
        return waking


class _Waking:
    turn: Turn

    def __await__(self) -> Generator[float, None, None]:
        return self.turn.__await__()

    def cancel(self) -> None:
        """Nothing is left to cancel: a process that is killed never wakes."""


class Process:
    """A process at work. ``error`` is how it failed; killed, it has neither error nor result."""

    def __init__(self, what: str, steps: Coroutine[Any, Any, Any], link: Link) -> None:
        self.what = what
        self.link = link
        self.alive = True
        self.error: HybridHpcError | None = None
        self.result: Any = None
        self._steps = steps
        self._cluster = link.world.cluster
        self._wakes_at = 0.0

    def turn(self) -> None:
        """Goes on to its next await; a process that sleeps is waited for."""
        self._cluster.time = max(self._cluster.time, self._wakes_at)
        asyncio._set_running_loop(cast(asyncio.AbstractEventLoop, Loop()))
        try:
            self._wakes_at = self._cluster.time + float(self._steps.send(None) or 0.0)
        except StopIteration as end:
            self.alive, self.result = False, end.value
        except HybridHpcError as error:
            self.alive, self.error = False, error
        except Killed:
            self.alive = False
        except BaseException:
            self.alive = False
            raise
        finally:
            asyncio._set_running_loop(None)

    def go(self, turns: int = 3000) -> None:
        """As many turns as it takes, or that many."""
        while self.alive and turns:
            self.turn()
            turns -= 1

    def kill(self) -> None:
        """Ends it as SIGKILL would."""
        self.alive = False
        self._steps.close()
