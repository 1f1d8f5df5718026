"""A user ended a wait: the wish to cancel is recorded, then carried out by a task that outlives the trigger.

Airflow cuts ``on_kill`` off after about a second, and calls it too when a triggerer that was stalled finds
its triggers reassigned: then the task is still deferred, or has succeeded elsewhere, and nobody wished
anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache

from asgiref.sync import sync_to_async

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ownership import cancel
from hybrid_hpc.site import Site
from hybrid_hpc_airflow import connections
from hybrid_hpc_airflow.states import task_states

log = logging.getLogger(__name__)

NOT_A_WISH = frozenset({"deferred", "success"})  # it waits elsewhere; its wait is over
CONNECTIONS_AT_ONCE = 2  # beside the watch's own: a hundred runs may be marked failed in one go
AGAIN_S = 5.0
AGAIN_CAP_S = 60.0
TRIES = 30  # half an hour; from then on hpc_reconcile alone repeats it
# Tasks that must outlive the trigger that began them: nothing else would keep them from being collected.
_OUTLIVING: set[asyncio.Task[None]] = set()


async def cancel_if_wished(
    dag_id: str, run_id: str, map_index: int, task_id: str, find: Callable[[], Awaitable[JobRow]]
) -> None:
    """Cancels the job that ``find`` gives, unless the task's state says that nobody wished it."""
    work = _cancel_if_wished(dag_id, run_id, map_index, task_id, find)
    task = asyncio.get_running_loop().create_task(work)
    _OUTLIVING.add(task)
    task.add_done_callback(_OUTLIVING.discard)
    await asyncio.shield(task)


async def _cancel_if_wished(
    dag_id: str, run_id: str, map_index: int, task_id: str, find: Callable[[], Awaitable[JobRow]]
) -> None:
    states = await sync_to_async(task_states)(dag_id, run_id, map_index, [task_id])
    state = states.get(task_id, "cleared")
    if state in NOT_A_WISH:
        log.info("the task is %s: nothing is cancelled", state)
        return
    row, ledger = await find(), await connections.open_ledger_async()
    why = f"the waiting task became {state}"
    wished = await asyncio.to_thread(ledger.request_cancel, row.token, by="a user", why=why)
    log.info("cancel of job %s %s", row.token, "wished" if wished else "was wished before")
    await _tell_until_heard(row, ledger)


async def _tell_until_heard(row: JobRow, ledger: Ledger) -> None:
    for attempt in range(TRIES):
        try:
            async with ssh_turn():
                await _tell(row, ledger)
        except HybridHpcError as error:
            pause_s = min(AGAIN_S * 2**attempt, AGAIN_CAP_S)
            log.warning("%s: not cancelled yet, again in %.0f s: %s", row.token, pause_s, error)
            await asyncio.sleep(pause_s)
        else:
            return


async def _tell(row: JobRow, ledger: Ledger) -> None:
    fresh = await asyncio.to_thread(ledger.job, row.token)
    if fresh is None or fresh.settled or fresh.cancel_sent_at:  # the cluster's watch was quicker
        return
    async with opened(await connections.open_site(load_clusters().cluster(row.cluster))) as site:
        await cancel(fresh, scheduler=site.scheduler, head_node=site.head_node, ledger=ledger)


@cache
def ssh_turn() -> asyncio.Semaphore:
    """One for the triggerer's only event loop, made where that loop runs."""
    return asyncio.Semaphore(CONNECTIONS_AT_ONCE)


@asynccontextmanager
async def opened(site: Site) -> AsyncIterator[Site]:
    """A site, closed in the end."""
    try:
        yield site
    finally:
        await site.close()
