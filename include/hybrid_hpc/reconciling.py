"""One reconciliation: a look at every cluster, the comparison, the actions, the alerts, the report.

Nothing here needs to happen once. Every action looks at the ledger's row again, is a compare-and-set there
or a command that the cluster takes twice, and a wish to cancel is written down before it is sent; so two
reconciliations at once do what one does, and what one leaves undone that is killed in the middle the next
one finds. A cluster that does not answer, or an action that fails, is told in the report and hinders no
other.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.commands import Command
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.findings import CONFLICT, UNKNOWN, Action, Finding, InQueue, in_queue
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.ledger.rows import AlertRow
from hybrid_hpc.placement.words import counted, one_line
from hybrid_hpc.reconcile import Run, compare
from hybrid_hpc.reconcile_actions import Actions
from hybrid_hpc.schedulers.base import Load
from hybrid_hpc.seen import keep_snapshot, with_known_nodes
from hybrid_hpc.site import Site
from hybrid_hpc.submission import OWNER_FILE

__all__ = ["Report", "reconcile"]

log = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 60.0
NAMES_A_QUERY = 10_000  # PostgreSQL takes 65,535 parameters
PATHS_A_COMMAND = 500
MOST_KEPT = 1_000  # findings in the ledger, of one reconciliation

Living = Callable[[Collection[Run]], Collection[Run]]


@dataclass(frozen=True, slots=True)
class Report:
    """What one reconciliation found and did."""

    began_at: datetime
    seconds: float
    clusters: int
    open_jobs: int
    findings: tuple[Finding, ...]

    def counts(self) -> dict[str, int]:
        """How many findings there are of each action."""
        found = Counter(finding.action for finding in self.findings)
        return {action.value: found[action] for action in Action}

    def numbers(self) -> str:
        """One line: ``12 open jobs on 2 clusters, 1 finding, 0.8 s``."""
        jobs, clusters = counted(self.open_jobs, "open job"), counted(self.clusters, "cluster")
        found = counted(len(self.findings), "finding")
        return f"{jobs} on {clusters}, {found}, {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class _Look:
    """A cluster as it was seen; ``load`` is None when it did not answer, and ``trouble`` says why."""

    cluster: Cluster
    site: Site | None = None
    load: Load | None = None
    trouble: str = ""
    queue: dict[str, dict[str, InQueue]] = field(default_factory=dict)


async def reconcile(
    clusters: Sequence[Cluster],
    *,
    ledger: Ledger,
    open_site: Callable[[Cluster], Awaitable[Site]],
    living: Living,
    now: Callable[[], datetime] = utc_now,
) -> Report:
    """Looks, compares and acts; the report is in the ledger too.

    ``living`` says which of some (dag_id, run_id) are alive; it may block. Raises `Unavailable` when the
    ledger does not answer, and what ``living`` raises: then nothing was done.
    """
    began_at, began = now(), time.monotonic()
    rows = await asyncio.to_thread(ledger.open_jobs)  # before the queues: see `compare`
    looks = await asyncio.gather(*(_look(cluster, open_site) for cluster in clusters))
    try:
        found = await _compared(looks, rows, ledger, living, now)
        acting = (
            Actions(look.site, ledger, now).carry_out(found[look.cluster.name]) for look in looks if look.site
        )
        acted = await asyncio.gather(*acting)
    finally:
        await asyncio.gather(*(look.site.close() for look in looks if look.site), return_exceptions=True)
    findings = (*_unseen(looks, rows), *(finding for some in acted for finding in some))
    report = Report(began_at, time.monotonic() - began, len(clusters), len(rows), findings)
    await asyncio.to_thread(_keep, report, looks, rows, ledger)
    return report


async def _look(cluster: Cluster, open_site: Callable[[Cluster], Awaitable[Site]]) -> _Look:
    """One round trip. A cluster that does not answer is closed again."""
    site: Site | None = None
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            site = await open_site(cluster)
            answer = await site.head_node.run(site.scheduler.load_command())
        load = await asyncio.to_thread(site.scheduler.read_load, answer)
        return _Look(cluster, site, load, queue=in_queue(load.jobs))
    except TimeoutError:
        trouble = f"no answer within {LOOK_TIMEOUT_S:.0f} s"
    except HybridHpcError as error:
        trouble = one_line(str(error).removeprefix(f"{cluster.name}: "))
    except Exception as error:  # the other clusters answer
        log.exception("%s cannot be looked at", cluster.name)
        trouble = one_line(f"{type(error).__name__}: {error}")
    if site:
        await site.close()
    return _Look(cluster, trouble=trouble)


async def _compared(
    looks: Sequence[_Look],
    rows: Sequence[JobRow],
    ledger: Ledger,
    living: Living,
    now: Callable[[], datetime],
) -> dict[str, list[Finding]]:
    """The findings by cluster, of those that have answered."""
    names = {token for look in looks for token in look.queue} - {row.token for row in rows}
    known = await asyncio.to_thread(_named, ledger, sorted(names))
    strangers = names - {row.token for row in known}
    ours = await asyncio.gather(*(_ours(look, strangers, ledger) for look in looks))
    runs = {(row.dag_id, row.run_id) for row in (*rows, *known) if not row.settled}
    alive = await asyncio.to_thread(living, runs)
    moment = now()
    return {
        look.cluster.name: compare(look.cluster.name, rows, known, alive, look.load, moment, mine)
        for look, mine in zip(looks, ours, strict=True)
        if look.load
    }


def _named(ledger: Ledger, names: Sequence[str]) -> list[JobRow]:
    parts = (names[start : start + NAMES_A_QUERY] for start in range(0, len(names), NAMES_A_QUERY))
    return [row for part in parts for row in ledger.jobs_named(part)]


async def _ours(look: _Look, strangers: Collection[str], ledger: Ledger) -> set[str]:
    """Which of the names that the ledger does not know have a run directory that names this ledger."""
    names = sorted(name for name in look.queue if name in strangers)
    if not names or not look.site:
        return set()
    try:
        installation = await asyncio.to_thread(ledger.installation)
        parts = (names[start : start + PATHS_A_COMMAND] for start in range(0, len(names), PATHS_A_COMMAND))
        return {name for part in parts for name in await _marked(look.site, part, installation)}
    except HybridHpcError as error:  # without an answer they are somebody else's: nothing is cancelled
        log.warning("%s: whose %d jobs are is not known: %s", look.cluster.name, len(names), error)
        return set()


async def _marked(site: Site, names: Sequence[str], installation: str) -> set[str]:
    storage = await site.head_node.storage()
    paths = [posixpath.join(storage, name, OWNER_FILE) for name in names]
    answer = await site.head_node.run(
        Command(("grep", "-slxF", "-e", installation, "--", *paths), label="whose")
    )
    said = set(answer.stdout.splitlines())
    return {name for name, path in zip(names, paths, strict=True) if path in said}


def _unseen(looks: Sequence[_Look], rows: Sequence[JobRow]) -> list[Finding]:
    """Clusters that did not answer, and those of open jobs that clusters.yaml does not name any more."""
    jobs = Counter(row.cluster for row in rows)
    silent = {look.cluster.name: f"it does not answer: {look.trouble}" for look in looks if not look.load}
    named = {look.cluster.name for look in looks}
    gone = {name: "clusters.yaml does not name it any more" for name in sorted(jobs) if name not in named}
    return [
        Finding(name, Action.REPORT, f"{why}; {counted(jobs[name], 'open job')} there could not be looked at")
        for name, why in (silent | gone).items()
    ]


def _keep(report: Report, looks: Sequence[_Look], rows: Sequence[JobRow], ledger: Ledger) -> None:
    """Alerts, report and snapshots. What was done stands without them, so one that fails fails nothing."""
    try:
        _tell(report, looks, rows, ledger)
        _tidy(looks, ledger)
        ledger.save_reconciliation(
            report.began_at,
            seconds=round(report.seconds, 3),
            open_jobs=report.open_jobs,
            findings=[finding.as_json() for finding in report.findings[:MOST_KEPT]],
        )
        for look in looks:
            if look.load:
                keep_snapshot(with_known_nodes(look.load, look.cluster, ledger), look.cluster, ledger)
    except HybridHpcError as error:
        log.warning("the report is not in the ledger: %s", error)


def _tidy(looks: Sequence[_Look], ledger: Ledger) -> None:
    """Requests for nodes at which no poll looks any more, and wishes that are nobody's."""
    for look in looks:
        if look.cluster.elastic:
            ledger.settle_requests(look.cluster.name)
    ledger.forget_node_wishes()


def _tell(report: Report, looks: Sequence[_Look], rows: Sequence[JobRow], ledger: Ledger) -> None:
    raised = [finding for finding in report.findings if finding.alert]
    for finding in raised:
        said = f"job {finding.native_id} ({finding.name}): {finding.why}"
        log.error("%s: %s", finding.cluster, said)
        ledger.raise_alert(finding.token, finding.alert, said, cluster=finding.cluster)
    stand = {(finding.token, finding.alert) for finding in raised}
    seen = {look.cluster.name: look for look in looks if look.load and not look.load.unreadable}
    open_rows = {row.token: row for row in rows}
    for alert in ledger.alerts((UNKNOWN, CONFLICT)):
        fresh = alert.seen_at >= report.began_at  # somebody else has raised it meanwhile
        if not fresh and (alert.subject, alert.kind) not in stand and _is_over(alert, open_rows, seen):
            ledger.clear_alert(alert.subject, alert.kind)


def _is_over(alert: AlertRow, open_rows: dict[str, JobRow], seen: dict[str, _Look]) -> bool:
    look = seen.get(alert.cluster)
    if alert.kind == CONFLICT:
        return look is not None
    row = open_rows.get(alert.subject)
    if row is None or row.unknown_since is None:  # settled, or seen again
        return True
    return look is not None and str(row.native_id) in look.queue.get(alert.subject, {})
