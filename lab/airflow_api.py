"""Airflow's REST API, as much of it as the demo and the tests use."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

UI = "/api/v2"
PARTS = ("scheduler", "triggerer", "dag_processor")
JOB_TYPES = {"scheduler": "SchedulerJob", "triggerer": "TriggererJob", "dag-processor": "DagProcessorJob"}
FINISHED = ("success", "failed")
# A change of a run may deadlock with the scheduler's own; the database undoes it, and Airflow 3.3 says 500.
REPEATED = ("GET", "PATCH", "DELETE")
PAUSES_S = (0.5, 1.0, 2.0)


class AirflowApi:
    """One user's way to the API; the token is fetched at the first call that needs it.

    Methods raise httpx.HTTPError: no answer, or an answer that is an error.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._login = {"username": user, "password": password}
        self._client = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def heartbeats(self) -> dict[str, datetime | None]:
        """When each component last gave a sign of life: scheduler, triggerer, dag_processor."""
        health = self._client.get(f"{UI}/monitor/health").raise_for_status().json()
        return {part: moment(health[part].get(f"latest_{part}_heartbeat")) for part in PARTS}

    def beating(self, since: datetime) -> dict[str, int]:
        """How many schedulers, triggerers and dag-processors gave a sign of life since then."""
        jobs = self._call("GET", "/jobs", job_state="running", limit=100)["jobs"]
        beats = [(job["job_type"], moment(job["latest_heartbeat"])) for job in jobs]
        return {
            kind: sum(name == job_type and beat is not None and beat >= since for name, beat in beats)
            for kind, job_type in JOB_TYPES.items()
        }

    def answers(self) -> bool:
        """Say whether the server is there."""
        try:
            return self._client.get(f"{UI}/version").is_success
        except httpx.TransportError:
            return False

    def warm_up(self) -> None:
        """Let the server build what its first task would wait seconds for: the API that tasks talk to."""
        self._client.get("/execution/health", timeout=120)

    def parsed_at(self, dag_id: str) -> datetime | None:
        """When the DAG was last read from its file; None when it is not known (yet)."""
        answer = self._call("GET", f"/dags/{quote(dag_id)}", missing_is_fine=True)
        return moment(answer.get("last_parsed_time"))

    def import_errors(self, since: datetime) -> dict[str, str]:
        """DAG files that could not be read since then, and why."""
        errors = self._call("GET", "/importErrors")["import_errors"]
        recent = [error for error in errors if datetime.fromisoformat(error["timestamp"]) >= since]
        return {error["filename"]: error["stack_trace"] for error in recent}

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, object]) -> None:
        """Start a run. The run id is the caller's, so that asking twice is starting once."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        answer = self._send("POST", f"/dags/{quote(dag_id)}/dagRuns", json=body)
        if answer.status_code != httpx.codes.CONFLICT:
            _checked(answer)

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """The run: ``state``, ``note``, ``conf``, times."""
        return self._call("GET", _run_path(dag_id, run_id))

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's task instances: ``task_id``, ``state``, ``try_number``, times."""
        found = self._call("GET", f"{_run_path(dag_id, run_id)}/taskInstances", limit=100)["task_instances"]
        return list(found)

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[str]:
        """The messages of a task's log, an exception's own words after the message that tells of it."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        lines = self._call("GET", path)["content"]
        return [message for line in lines for message in _messages(line)]

    def fail(self, dag_id: str, run_id: str) -> None:
        """Mark the run failed, as its user does in the UI to cancel it."""
        _checked(self._send("PATCH", _run_path(dag_id, run_id), json={"state": "failed"}))

    def _call(self, method: str, path: str, *, missing_is_fine: bool = False, **query: Any) -> dict[str, Any]:
        answer = self._send(method, path, params=query)
        if missing_is_fine and answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        found: dict[str, Any] = _checked(answer).json()
        return found

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        if "Authorization" not in self._client.headers:
            self._log_in()
        answer = self._client.request(method, UI + path, **options)
        for pause_s in PAUSES_S if method in REPEATED else ():
            if answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
                break
            time.sleep(pause_s)
            answer = self._client.request(method, UI + path, **options)
        return answer

    def _log_in(self) -> None:
        answer = _checked(self._client.post("/auth/token", json=self._login))
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def moment(text: str | None) -> datetime | None:
    """Read a time as the API writes it."""
    return datetime.fromisoformat(text) if text else None


def _messages(line: Mapping[str, Any]) -> list[str]:
    errors = line.get("error_detail") or []
    return [str(line.get("event", "")), *(str(error.get("exc_value", "")) for error in errors)]


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _checked(answer: httpx.Response) -> httpx.Response:
    """Raise with the API's own words: a bare status code says nothing to a person."""
    if answer.is_error:
        what = f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:500]}"
        raise httpx.HTTPStatusError(what, request=answer.request, response=answer)
    return answer
