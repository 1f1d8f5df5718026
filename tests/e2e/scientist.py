"""What a scientist does through Airflow's REST API, and what can be seen there afterwards."""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from lab.airflow_api import FINISHED, AirflowApi


class Run(NamedTuple):
    """One DAG run."""

    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        return f"/dags/{quote(self.dag_id)}/dagRuns/{quote(self.run_id, safe='')}"


class Scientist(AirflowApi):
    """The scientist's own login."""

    def start(self, dag_id: str = "hpc_job", /, **conf: object) -> Run:
        """Triggers a run with this conf."""
        run = Run(dag_id, f"e2e-{uuid.uuid4().hex[:12]}")
        self.trigger(*run, conf)
        return run

    def state(self, run: Run) -> str:
        return str(self.run(*run)["state"])

    def has_ended(self, run: Run) -> bool:
        return self.state(run) in FINISHED

    def states(self, run: Run) -> dict[str, str]:
        """State by task id; a mapped task's id has its index: ``sweep.collect[0]``."""
        return {_name(task): task["state"] or "none" for task in self.tasks(*run)}

    def tries(self, run: Run, task_id: str) -> int:
        return max((t["try_number"] for t in self.tasks(*run) if t["task_id"] == task_id), default=0)

    def told(self, run: Run, task_id: str) -> str:
        """The messages of a task's log, all tries; '' when there is none yet."""
        tries = range(1, self.tries(run, task_id) + 1)
        return "\n".join(line for number in tries for line in self._lines(run, task_id, number))

    def result(self, run: Run, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """An XCom's value."""
        path = f"{run.path}/taskInstances/{quote(task_id)}/xcomEntries/{key}"
        return self._call("GET", path, map_index=map_index)["value"]

    def links(self, run: Run, task_id: str) -> dict[str, str]:
        """The addresses on a task's extra buttons, by what stands on them."""
        return dict(self._call("GET", f"{run.path}/taskInstances/{quote(task_id)}/links")["extra_links"])

    def question(self, run: Run, task_id: str = "approve") -> dict[str, Any]:
        """What a person is asked by a task that waits for an answer."""
        return self._call("GET", f"{run.path}/taskInstances/{quote(task_id)}/-1/hitlDetails")

    def answer(self, run: Run, option: str, task_id: str = "approve") -> None:
        """Answers it."""
        path = f"{run.path}/taskInstances/{quote(task_id)}/-1/hitlDetails"
        self._do("PATCH", path, chosen_options=[option])

    def fail_task(self, run: Run, task_id: str) -> None:
        """Marks one task as failed."""
        self._do("PATCH", f"{run.path}/taskInstances/{quote(task_id)}", new_state="failed")

    def clear(self, run: Run) -> None:
        """Clears the whole run."""
        self._do("POST", f"{run.path}/clear", dry_run=False)

    def delete(self, run: Run) -> None:
        """Deletes the run; Airflow refuses one that runs."""
        self._do("DELETE", run.path)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """The runs of a DAG, the newest first."""
        answer = self._call("GET", f"/dags/{quote(dag_id)}/dagRuns", limit=100, order_by="-run_after")
        return list(answer["dag_runs"])

    def _lines(self, run: Run, task_id: str, number: int) -> list[str]:
        try:
            return self.log(*run, task_id, number)
        except httpx.HTTPStatusError:  # nothing was written yet
            return []

    def _do(self, method: str, path: str, **body: object) -> None:
        answer = self._send(method, path, json=body or None)
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)


def _name(task: dict[str, Any]) -> str:
    index = task["map_index"]
    return str(task["task_id"]) + ("" if index < 0 else f"[{index}]")
