"""The three tasks of a job that run on a worker: choose a cluster, submit, collect."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseBranchOperator, BaseOperator, Context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)

from hybrid_hpc.budgets import load_budgets
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import (
    AccessDenied,
    BudgetSpent,
    HybridHpcError,
    Invalid,
    SubmissionRefused,
    Unavailable,
)
from hybrid_hpc.jobs import JobKey
from hybrid_hpc.request import JobRequest, read_request
from hybrid_hpc_airflow.job_link import JobPageLink
from hybrid_hpc_airflow.keys import job_key
from hybrid_hpc_airflow.patience import come_again
from hybrid_hpc_airflow.states import task_states

if TYPE_CHECKING:
    from hybrid_hpc.collecting import Collected
    from hybrid_hpc.ledger import DecisionRow, JobRow, Ledger
    from hybrid_hpc.placement import ClusterView

# Waiting helps, or a person must act who has nothing to do with the job: neither is the job's failure.
COMES_AGAIN = (Unavailable, AccessDenied)


class PlacementOperator(BaseBranchOperator):
    """Chooses the cluster for one job and returns the id of that cluster's task group.

    ``request`` holds the fields of `hybrid_hpc.request.JobRequest`; left out, the DAG run's params are
    taken. ``branches`` maps a cluster's name to the id of its task group; ``approval`` is the id of the task
    that asks a person, '' where no budget needs one. The decision goes to the ledger, with what it reserves
    of a budget, to the log (as a table), to the XCom ``decision`` and to the run's note. A retry reads the
    decision back: it never flips clusters.

    Raises `AirflowFailException` for a request that is wrong or fits nowhere. When no cluster answers, it
    comes again until one does.
    """

    template_fields = ("request",)
    ui_color = "#fdf3d8"

    def __init__(
        self,
        *,
        branches: Mapping[str, str],
        request: Mapping[str, Any] | None = None,
        group: str = "",
        approval: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.branches = dict(branches)
        self.approval = approval
        self.request = request
        self.group = group

    def choose_branch(self, context: Context) -> str | list[str]:
        """The id of the chosen cluster's task group, after that of the approval where one is needed."""
        try:
            made = self._choose(context)
        except Invalid as error:
            raise AirflowFailException(f"this job cannot be placed.\n{error}") from error
        except COMES_AGAIN as error:
            come_again(context, error, "no decision yet")
        except HybridHpcError as error:
            raise AirflowException(f"no decision yet, trying again: {error}") from error
        chosen = self.branches[made.cluster]
        return [self.approval, chosen] if self.approval and made.decision.get("over_budget") else chosen

    def _choose(self, context: Context) -> DecisionRow:
        from hybrid_hpc_airflow.connections import open_ledger

        key = job_key(context, self.group)
        ledger = open_ledger()
        made = ledger.decision(key)
        if made:
            self.log.info("decided before, at %s: %s", made.decided_at, made.sentence)
            return made
        request = read_request(self._values(context))
        for note in request.notes:
            self.log.info(note)
        return self._publish(context, self._place(context, key, request, ledger))

    def _values(self, context: Context) -> Mapping[str, Any]:
        """What was asked for, strictly: Airflow lets unknown keys of a trigger's conf pass."""
        if self.request is not None:
            return self.request
        return dict(context["params"]) | dict(context["dag_run"].conf or {})

    def _place(self, context: Context, key: JobKey, request: JobRequest, ledger: Ledger) -> DecisionRow:
        """The placement that stands: another try of this task may have been first."""
        from hybrid_hpc.placing import place

        who = _who(context)
        views = asyncio.run(self._survey(request, ledger, who))
        policy, budgets = load_clusters().policy, load_budgets()
        return place(key, request, views, policy, budgets=budgets, ledger=ledger, submitted_by=who)

    async def _survey(self, request: JobRequest, ledger: Ledger, who: str) -> list[ClusterView]:
        from hybrid_hpc.learnt import as_learnt
        from hybrid_hpc.site import survey
        from hybrid_hpc_airflow.connections import open_site

        site_file = load_clusters()
        clusters = [as_learnt(site_file.cluster(name), ledger) for name in self.branches]
        return await survey(clusters, request, open_site, who)

    def _publish(self, context: Context, stands: DecisionRow) -> DecisionRow:
        from hybrid_hpc_airflow.notes import write_note

        self.log.info(stands.sentence)
        context["ti"].xcom_push(key="decision", value=dict(stands.decision))
        write_note(stands.key.dag_id, stands.key.run_id, stands.sentence)
        return stands


class SubmitOperator(BaseOperator):
    """Submits the decided job on this cluster's head node, exactly once; its result is the native id.

    ``moved``: the job is one that has moved on, and `hybrid_hpc_airflow.moving.MoveOperator` has decided.

    It does not cancel anything when it is stopped: a deploy stops workers too. It only goes no further, so
    that a job whose run was failed meanwhile is not released. The next try adopts the job; one that nobody
    wants any more is cancelled by ``collect`` or by the reconcile DAG.
    """

    ui_color = "#e6f1f2"
    operator_extra_links = (JobPageLink(),)

    def __init__(self, *, cluster: str, group: str = "", moved: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cluster = cluster
        self.group = group
        self.moved = moved
        self._stop: Callable[[], object] | None = None

    def execute(self, context: Context) -> str:
        """The native id.

        Raises `AirflowFailException` when the scheduler refuses the job, `AirflowSkipException` when it was
        placed elsewhere: in a mapped group Airflow 3.3 runs the branches that were not chosen, too.
        """
        try:
            row = asyncio.run(self._submit(job_key(context, self.group)))
        except (Invalid, SubmissionRefused) as error:
            raise AirflowFailException(f"{self.cluster} does not take this job: {error}") from error
        except BudgetSpent as error:
            raise AirflowFailException(str(error)) from error
        except COMES_AGAIN as error:
            come_again(context, error, "not submitted yet")
        except HybridHpcError as error:
            raise AirflowException(f"not submitted yet, trying again: {error}") from error
        except asyncio.CancelledError:
            raise AirflowException("stopped before it was done: the next try goes on from there") from None
        self.log.info("%s: job %s, named %s, in %s", row.cluster, row.native_id, row.token, row.run_dir)
        return str(row.native_id)

    def on_kill(self) -> None:
        """Goes no further: after TERM Airflow lets a task run on for seconds, enough to release the job."""
        if self._stop:
            self._stop()

    async def _submit(self, key: JobKey) -> JobRow:
        from hybrid_hpc.asking_ahead import ask_ahead
        from hybrid_hpc.placing import budget_of
        from hybrid_hpc.submission import Job, submit
        from hybrid_hpc_airflow.connections import open_ledger_async, open_site

        self._stop = partial(asyncio.get_running_loop().call_soon_threadsafe, _this_task().cancel)
        ledger = await open_ledger_async()
        decided = ledger.latest_decision if self.moved else ledger.first_decision
        decision = await asyncio.to_thread(decided, key)
        if decision is None:
            raise AirflowFailException("the ledger holds no decision for this run: clear choose_cluster")
        if decision.cluster != self.cluster or bool(decision.move) != self.moved:
            raise AirflowSkipException(f"the job was placed on {decision.cluster}")
        await asyncio.to_thread(_require_approval, decision, ledger)
        cluster = load_clusters().cluster(self.cluster)
        site = await open_site(cluster)
        try:
            job = Job.of(key, decision, cluster, within=budget_of(decision, cluster, load_budgets()))
            row = await submit(job, scheduler=site.scheduler, head_node=site.head_node, ledger=ledger)
            if nodes := await ask_ahead(site, ledger):
                self.log.info("%s: asked for %s", self.cluster, ", ".join(sorted(nodes)))
            return row
        finally:
            await site.close()


class CollectOperator(BaseOperator):
    """Settles the job: output, files, accounting record; fails the run when the job did not succeed.

    It runs whatever happened before it (trigger rule ``all_done``), and is skipped when ``chooser``, the
    task that chooses the cluster, was. A job that has not ended when it runs is cancelled when somebody
    wished it, else waited for. So is one of which nothing says how it ended: it is neither a success nor a
    failure until there is evidence, or until a person marks this task. ``submitters`` are the tasks of
    which one has submitted it. Its result is
    ``{token, cluster, native_id, state, exit_code, sentence, files, core_h, cost_usd}``.
    """

    ui_color = "#e5f2e3"
    operator_extra_links = (JobPageLink(),)

    def __init__(self, *, chooser: str, submitters: Sequence[str], group: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", "all_done")
        super().__init__(**kwargs)
        self.chooser = chooser
        self.submitters = tuple(submitters)
        self.group = group

    def execute(self, context: Context) -> dict[str, Any]:
        """What the job left. Raises `AirflowFailException`, in words, when it did not complete."""
        key = job_key(context, self.group)
        states = task_states(key.dag_id, key.run_id, key.map_index, [self.chooser, *self.submitters])
        if states.get(self.chooser) == "skipped":
            raise AirflowSkipException("no job was asked for")
        submitted = "success" in [states.get(task_id) for task_id in self.submitters]
        try:
            collected = asyncio.run(self._collect(key, submitted=submitted))
        except COMES_AGAIN as error:
            come_again(context, error, "not settled yet (mark this task as failed or successful to end it)")
        except HybridHpcError as error:
            raise AirflowException(f"not settled yet, trying again: {error}") from error
        self.log.info("output of the job (its end)\n%s", collected.tail or "(none)")
        for line in collected.lines():
            self.log.info(line)
        if not collected.succeeded:
            raise AirflowFailException(collected.failure())
        return collected.summary()

    async def _collect(self, key: JobKey, *, submitted: bool) -> Collected:
        from hybrid_hpc_airflow.connections import open_ledger_async

        ledger = await open_ledger_async()
        try:
            return await self._collect_job(key, ledger, submitted=submitted)
        finally:
            await asyncio.to_thread(ledger.close_reservations, key)

    async def _collect_job(self, key: JobKey, ledger: Ledger, *, submitted: bool) -> Collected:
        from hybrid_hpc.collecting import collect
        from hybrid_hpc_airflow.connections import open_site

        row = await asyncio.to_thread(ledger.latest_job, key.dag_id, key.run_id, key.group, key.map_index)
        # A settled job that this try has not submitted is that of a try before the run was cleared.
        if row is None or row.native_id is None or (row.settled and not submitted):
            raise AirflowFailException("no job was submitted: the log of the failed task above says why")
        site = await open_site(load_clusters().cluster(row.cluster))
        try:
            return await collect(row, site=site, ledger=ledger, results=results_folder() / row.token)
        finally:
            await site.close()


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task  # noqa: S101  narrows for the type checker: a coroutine runs in one
    return task


def _require_approval(decision: DecisionRow, ledger: Ledger) -> None:
    """A task that asks may be marked as successful; only what the ledger has counts."""
    approval = ledger.approval(decision.id)
    if approval and not approval.approved:
        raise AirflowFailException(
            f"nobody has approved it, and {approval.why}: clear choose_cluster to ask anew"
        )


def results_folder() -> Path:
    """Where output files that were brought back are kept: ``HYBRID_HPC_RESULTS``, else below AIRFLOW_HOME."""
    home = os.environ.get("AIRFLOW_HOME", "~/airflow")
    return Path(os.environ.get("HYBRID_HPC_RESULTS", f"{home}/results")).expanduser()


def _who(context: Context) -> str:
    """Who asked for the run: the user who triggered it, else the DAG's owner."""
    return context["dag_run"].triggering_user_name or context["ti"].task.owner
